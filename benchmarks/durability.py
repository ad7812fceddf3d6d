"""What it costs a backfill that each commit is on disk and recorded before the next step; the target is 5 %.

    python benchmarks/durability.py [--rounds 5]

The same nine months of forecasts, point forecasts, metadata, actuals and scores (two models, 2,000 paths), with commits
left to the operating system and with commits written through, in turns; the least of each counts, since other work on
the machine only adds. The time that was spent writing through is also measured by itself.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.scoring import score, write_actuals
from forecast_platform.warehouse.journal import Journal
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for, trained, write_landing

SPAN = days("2017-07-01", "2018-03-29")


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

    found: dict[str, list[float]] = {"left to the system": [], "written through": []}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        write_landing(base / "landing")
        trained(base)
        for _ in range(options.rounds):
            for name, seconds in found.items():
                Journal.settle = settle if name == "written through" else lambda *_: None  # type: ignore[method-assign]
                seconds.append(_backfill(base, Path(folder) / "work"))
    least = {name: min(seconds) for name, seconds in found.items()}
    for name, seconds in found.items():
        print(f"{name}: least {least[name]:.2f} s of {', '.join(f'{one:.2f}' for one in seconds)}")
    part = inside[0] / sum(found["written through"])
    print(f"inside the writing through: {inside[0]:.2f} s, {100 * part:.1f} % of its rounds")
    share = least["written through"] / least["left to the system"] - 1
    print(f"{len(SPAN)} dates, 2 models: {100 * share:+.1f} %; target 5 %: {'met' if share <= 0.05 else 'MISSED'}")


def _backfill(base: Path, work: Path) -> float:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)
    platform = Platform.from_settings(settings_for(work, n_paths=2000, workers=1))
    started = time.perf_counter()
    for model in platform.settings.models:
        assert not forecast(platform, "Alpha", model, SPAN).failed
    write_actuals(platform, "Alpha", SPAN)
    for model in platform.settings.models:
        score(platform, "Alpha", model, [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
