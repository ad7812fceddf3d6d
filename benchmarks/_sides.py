"""Two checkouts side by side: this one, and one of another commit with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds of wall and processor time, its children's included, and its peak memory in MB."""

    wall: float
    processor: float
    peak: float


@dataclass(frozen=True)
class Side:
    """A checkout, and the interpreter that runs its code."""

    name: str
    checkout: Path
    python: Path

    def run(self, environment: dict[str, str], *arguments: str) -> Cost:
        """Run one command of its command line in a process of its own."""
        # A file and not a pipe: a process that fills a pipe nobody reads would stop.
        with tempfile.TemporaryFile("w+") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(self.python), "-m", "forecast_platform.cli", *arguments],
                cwd=self.checkout,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            if status:
                output.seek(0)
                raise SystemExit(f"{self.name}: {' '.join(arguments)} failed:\n{output.read()[-3000:]}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def commit(self) -> str:
        """The checkout's commit, with a + where its files are not as committed."""
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=self.checkout, capture_output=True, text=True, check=True
        )
        return described.stdout.strip()


def both(baseline: Path) -> tuple[Side, Side]:
    """The baseline and this checkout. Raises SystemExit where the baseline has no environment."""
    python = baseline.resolve() / ".venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{python} does not exist: run `python3 tasks.py test -k nothing_matches` in {baseline} first")
    sides = Side("before", baseline.resolve(), python), Side("now", HERE, Path(sys.executable))
    for side in sides:
        # Else a process whose environment forbids to write bytecode compiles each module anew, seconds of its time: of
        # the libraries too, of which some hold templates that are no Python.
        compile_all = [str(side.python), "-m", "compileall", "-q"]
        subprocess.run([*compile_all, "forecast_platform"], cwd=side.checkout, check=True)
        libraries = [*compile_all, "-j", "0", *map(str, side.python.parents[1].glob("lib/python*/site-packages"))]
        subprocess.run(libraries, check=False, stdout=subprocess.DEVNULL)
    return sides
