"""A forked process is as one that an interpreter was started for: its arguments, variables, folder, end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_platform_tests.forked import Forked, Forks
from forecast_platform_tests.waiting import PATIENCE, until

TELL = """
import json, os, signal, sys
known = {name: os.environ.get(name) for name in ("GIVEN", "KEPT")}
interrupted = signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(json.dumps([sys.argv, known, os.getcwd(), sys.stdin.read(), interrupted, os.getsid(0) == os.getpid()]))
sys.exit(3)
"""


@pytest.fixture(scope="module")
def forks() -> Forks:
    return Forks(("json", "no_such_module"))


@pytest.fixture
def start(forks: Forks, tmp_path: Path) -> Iterator:
    (tmp_path / "in").write_text("from the file")
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as told:

        def _start(*program: str, **more: object) -> Forked:
            files = (given.fileno(), told.fileno(), told.fileno())
            return forks.start(program, env={"GIVEN": "here"}, cwd=tmp_path, files=files, **more)

        yield _start


def test_a_program_has_what_it_is_given_and_nothing_else(
    start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "of the caller")
    (tmp_path / "tell.py").write_text(TELL)
    programs = {
        (str(tmp_path / "tell.py"), "one"): [str(tmp_path / "tell.py"), "one"],
        ("-c", TELL, "one"): ["-c", "one"],
        ("-m", "tell", "one"): [str(tmp_path / "tell.py"), "one"],
    }
    for number, (program, arguments) in enumerate(programs.items()):
        (tmp_path / "out").write_text("")
        assert start(*program, session=bool(number)).wait(PATIENCE) == 3
        told = json.loads((tmp_path / "out").read_text().strip("\0"))
        left = "" if number else "from the file"
        assert told == [arguments, {"GIVEN": "here", "KEPT": None}, str(tmp_path), left, True, bool(number)]


def test_how_it_ends_is_told(start, tmp_path: Path) -> None:
    assert start("-c", "").wait(PATIENCE) == 0
    assert start("-c", "raise SystemExit('a reason')").wait(PATIENCE) == 1
    assert "a reason" in (tmp_path / "out").read_text()
    waiting = start("-c", "import time; print('begun', flush=True); time.sleep(600)")
    until(lambda: "begun" in (tmp_path / "out").read_text())
    assert waiting.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.01)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(PATIENCE) == -signal.SIGINT
    killed = start("-c", "import time; time.sleep(600)")
    killed.kill()
    assert (killed.wait(PATIENCE), killed.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    killed.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(killed.pid, 0)
    led = start("-c", "import time; time.sleep(600)", session=True)
    os.killpg(led.pid, signal.SIGKILL)  # from the moment that it is told of
    assert led.wait(PATIENCE) == -signal.SIGKILL
