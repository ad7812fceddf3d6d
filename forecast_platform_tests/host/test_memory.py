import os
import platform
import subprocess
import sys

import pytest

CODE = """
import gc
from forecast_platform.host.memory import collect_seldom

found = [0]
gc.callbacks.append(lambda phase, _: found.__setitem__(0, found[0] + (phase == "start")))
kept = [[number] for number in range(40_000)]
before = found[0]
collect_seldom()
frozen = gc.get_freeze_count()
kept += [[number] for number in range(40_000)]
assert frozen >= 40_000, frozen
assert before > 10 and found[0] == before, found
for _ in range(60_000):
    ring = []
    ring.append(ring)
assert found[0] > before, "never would be too seldom"
collect_seldom()
assert gc.get_freeze_count() == frozen
"""


def test_what_lives_is_looked_at_once_and_garbage_is_still_found() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


OTHER = {"ARROW_DEFAULT_MEMORY_POOL": "mimalloc", "_RJEM_MALLOC_CONF": "narenas:1"}

ALLOCATORS = """
import os, sys
from forecast_platform.definitions import defs
assert not {"pyarrow", "deltalake"} & set(sys.modules), "the allocators are chosen before they are loaded"
from forecast_platform.host.memory import lean_allocators
lean_allocators()
import pyarrow as pa
print(pa.default_memory_pool().backend_name, os.environ["_RJEM_MALLOC_CONF"])
"""


def test_arrow_uses_the_systems_memory_where_the_environment_does_not_say_otherwise() -> None:
    for chosen, expected in (({}, "system dirty_decay_ms:200"), (OTHER, "mimalloc narenas:1")):
        kept = {name: value for name, value in os.environ.items() if name not in OTHER}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ALLOCATORS], capture_output=True, text=True, env={**kept, **chosen}
        )
        assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


ARENAS = """
import ctypes, os, sys, threading
from forecast_platform.host.memory import lean_allocators
if sys.argv[1] == "lean":
    os.cpu_count = lambda: 2
    before = os.environ.get("MALLOC_ARENA_MAX")
    lean_allocators()
    assert os.environ["MALLOC_ARENA_MAX"] == (before or "2"), "processes that are started have as few"
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(6)
def work():
    together.wait()
    libc.malloc(50_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
for one in threads: one.start()
for one in threads: one.join()
file = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
@pytest.mark.parametrize(("how", "variable", "arenas"), [("lean", None, 2), ("lean", "3", 3), ("plain", None, 7)])
def test_threads_share_the_arenas_of_two_cores(how: str, variable: str | None, arenas: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if variable:
        environment["MALLOC_ARENA_MAX"] = variable
    done = subprocess.run([sys.executable, "-c", ARENAS, how], capture_output=True, text=True, env=environment)
    assert done.stdout.count("<heap nr=") == arenas, done.stderr


GIVEN_BACK = """
import re
import numpy as np
import pyarrow
from pathlib import Path
from forecast_platform.host.memory import give_back_memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

arrays = [np.ones(10_000) for _ in range(2_000)]
arrays = [arrays[-1]]
before = resident()
give_back_memory()
assert resident() < before - 100, (before, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
@pytest.mark.parametrize("pool", ["system", "mimalloc"])
def test_what_lies_below_something_in_use_is_given_back(pool: str) -> None:
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": pool}
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
