import subprocess
import sys

CODE = """
import gc
from forecast_platform.host.garbage import collect_seldom

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
