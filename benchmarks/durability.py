"""What it costs a backfill that each commit is on disk and recorded before the next step; the target is 5 %.

    python benchmarks/durability.py [--rounds 5]

Commits left to the operating system and commits written through, in turns; the least of each counts, since other work
on the machine only adds:

- the command `backfill` of two models over nine months of days at 2,000 paths, as users run it, in its own process;
- the same forecasts, point forecasts, metadata and scores by one thread of this process, without start or Dagster: what
  a step would cost that did nothing but this, and the time that was spent writing through by itself.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.scoring import score
from forecast_platform.warehouse.journal import Journal
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import MODELS, days, settings_for, trained, write_landing

SPAN = days("2017-07-01", "2018-03-29")
LEFT, THROUGH = "left to the system", "written through"
WITHOUT = "import os; os.fsync = lambda *_: None; "
"""A command without any record would look for damage where none is."""
RUN = "import sys; from forecast_platform.cli.main import main; sys.exit(main(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    inside = [0.0]
    real = Journal.settle

    def settle(*given: Any) -> None:
        began = time.perf_counter()
        real(*given)
        inside[0] += time.perf_counter() - began

    def in_process(name: str, work: Path) -> None:
        Journal.settle = settle if name == THROUGH else lambda *_: None  # type: ignore[method-assign]
        _forecasts(work)

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        write_landing(base / "landing")
        trained(base, n_paths=2000)
        _compare("the command", base, options.rounds, _command)
        took = _compare("one thread", base, options.rounds, in_process)
    print(f"inside the writing through: {inside[0]:.2f} s, {100 * inside[0] / took:.1f} % of its rounds")


def _compare(what: str, base: Path, rounds: int, run: Callable[[str, Path], None]) -> float:
    """Print both ways' seconds; returns those of all rounds that were written through."""
    found: dict[str, list[float]] = {LEFT: [], THROUGH: []}
    for number in range(rounds):
        for name in sorted(found, reverse=bool(number % 2)):
            work = base.with_name("work")
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(base, work)
            os.sync()  # the copy's own files are not what is measured
            started = time.perf_counter()
            run(name, work)
            found[name].append(time.perf_counter() - started)
    for name, seconds in found.items():
        print(f"{what}, {name}: least {min(seconds):.2f} s of {', '.join(f'{one:.2f}' for one in seconds)}")
    share = min(found[THROUGH]) / min(found[LEFT]) - 1
    print(f"{what}, {len(SPAN)} dates, {len(MODELS)} models: {100 * share:+.1f} %", flush=True)
    if what == "the command":
        print(f"target 5 %: {'met' if share <= 0.05 else 'MISSED'}")
    return sum(found[THROUGH])


def _command(name: str, work: Path) -> None:
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(work / "dagster"),
        "FORECAST_PLATFORM_WAREHOUSE": str(work / "warehouse"),
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(work / "landing"),
        "FORECAST_PLATFORM_MODELS": ",".join(MODELS),
        "FORECAST_PLATFORM_LOOKBACK_YEARS": "3",
        "FORECAST_PLATFORM_START_DATE": "2017-07-01",
    }
    code = RUN if name == THROUGH else WITHOUT + RUN
    span = ["--start-date", str(SPAN[0]), "--end-date", str(SPAN[-1])]
    arguments = ["backfill", "--commodity", "Alpha", *span]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"backfill failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _forecasts(work: Path) -> None:
    platform = Platform.from_settings(settings_for(work, n_paths=2000, workers=1))
    for model in platform.settings.models:
        assert not forecast(platform, "Alpha", model, SPAN).failed
    write_actuals(platform, "Alpha", SPAN)
    for model in platform.settings.models:
        score(platform, "Alpha", model, [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])


if __name__ == "__main__":
    main()
