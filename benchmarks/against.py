"""Time and memory of whole commands against another commit, side by side: before, now, before, now, ...

    python benchmarks/against.py --baseline CHECKOUT --landing FOLDER [--repeat 5] [--only naive xgboost infer]

`--baseline` is a checkout of the other commit with its own .venv (`python3 tasks.py test -k nothing_matches` makes it),
`--landing` holds market/coffee.csv, market/sugar.csv, macro.csv and weather.csv. Each side trains with its own code
first, which is not timed; every measured command runs in a new process on a copy of that warehouse. Prints medians of
wall and processor seconds (children included), their ratios, and whether the targets are met:

- `backfill` of naive and of xgboost over 2018 to 2022, scoring apart;
- the same command again when nothing has changed, against the first run;
- `infer` of a day that is new in the source, all models, two series;
- the peak memory of each process.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import daily_run
from _sides import Cost, Side, both

TARGETS = {"naive": 0.5, "xgboost": 0.6, "infer": 0.6}
RERUN_TARGET, PEAK_TARGET = 0.25, 800
DAY = dt.date(2022, 12, 21)

Costs = dict[tuple[str, str], list[Cost]]
"""By command and side."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True, help="checkout of the commit to compare with")
    parser.add_argument("--landing", type=Path, required=True, help="landing folder")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each command and side")
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), default=list(TARGETS), help="what to measure")
    parser.add_argument("--start-date", default="2018-01-01")
    parser.add_argument("--end-date", default="2022-12-31")
    options = parser.parse_args()
    sides = both(options.baseline)
    print(f"before: {sides[0].commit()}; now: {sides[1].commit()}; {os.cpu_count()} cores, median of {options.repeat}")
    costs: Costs = {}
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        work = Path(folder)
        for what in options.only:
            prepare, measure = (_prepare_infer, _infer) if what == "infer" else (_prepare_backfill, _backfill)
            for side in sides:
                prepare(side, work / side.name / what, options, what)
            for number in range(options.repeat):
                for side in sides:
                    measure(side, work / side.name / what, options, what, _adding(costs, side.name))
                print(f"{what}: {number + 1} of {options.repeat} done", flush=True)
    _report(costs, options.only)


def _adding(costs: Costs, side: str) -> Callable[[str, Cost], None]:
    def add(command: str, cost: Cost) -> None:
        costs.setdefault((command, side), []).append(cost)
        print(
            f"  {command} {side}: {cost.wall:.1f} s wall, {cost.processor:.1f} s processor, {cost.peak:.0f} MB",
            flush=True,
        )

    return add


def _settings(warehouse: Path, options: argparse.Namespace) -> dict[str, str]:
    return {
        "DAGSTER_HOME": str(warehouse / "_dagster"),
        "FORECAST_PLATFORM_WAREHOUSE": str(warehouse),
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(options.landing.resolve()),
    }


def _span(options: argparse.Namespace, model: str) -> list[str]:
    span = ["--start-date", options.start_date, "--end-date", options.end_date]
    return ["--commodity", "Coffee", "--models", model, *span]


def _prepare_backfill(side: Side, folder: Path, options: argparse.Namespace, model: str) -> None:
    side.run(_settings(folder / "trained", options), "train", *_span(options, model))


def _backfill(
    side: Side, folder: Path, options: argparse.Namespace, model: str, add: Callable[[str, Cost], None]
) -> None:
    environment = _settings(_copy(folder), options)
    for command in (f"backfill {model}", f"unchanged {model}"):
        add(command, side.run(environment, "backfill", *_span(options, model), "--no-score"))


def _daily_environment(folder: Path, warehouse: Path) -> dict[str, str]:
    return daily_run._environment(folder / "landing", warehouse, DAY + dt.timedelta(days=40))


def _prepare_infer(side: Side, folder: Path, options: argparse.Namespace, _: str) -> None:
    day = DAY - dt.timedelta(days=1)
    daily_run._cut(options.landing, folder / "landing", day)
    environment = _daily_environment(folder, folder / "trained")
    side.run(environment, "backfill", "--train", "--start-date", str(day), "--end-date", str(day))
    daily_run._cut(options.landing, folder / "landing", DAY)


def _infer(side: Side, folder: Path, _: argparse.Namespace, __: str, add: Callable[[str, Cost], None]) -> None:
    add("infer", side.run(_daily_environment(folder, _copy(folder)), "infer", "--date", str(DAY)))


def _copy(folder: Path) -> Path:
    """The trained warehouse again, as it was; its Dagster instance lies in it."""
    warehouse = folder / "warehouse"
    shutil.rmtree(warehouse, ignore_errors=True)
    shutil.copytree(folder / "trained", warehouse)
    return warehouse


def _median(costs: Costs, command: str, side: str) -> Cost:
    found = costs[command, side]
    return Cost(*(statistics.median(getattr(cost, name) for cost in found) for name in ("wall", "processor", "peak")))


def _report(costs: Costs, only: list[str]) -> None:
    print(f"\n{'command':<20}{'processor s':>18}{'ratio':>7}{'wall s':>18}{'ratio':>7}   target")
    for what in only:
        command = what if what == "infer" else f"backfill {what}"
        before, now = (_median(costs, command, side) for side in ("before", "now"))
        _line(command, before, now, TARGETS[what])
        if what != "infer":
            again = _median(costs, f"unchanged {what}", "now")
            _line(f"unchanged {what}", before, again, RERUN_TARGET, "of the first run before")
            _line(f"unchanged {what}", now, again, RERUN_TARGET, "of the first run now")
    peaks = {command: max(cost.peak for cost in found) for (command, side), found in costs.items() if side == "now"}
    for command, peak in peaks.items():
        was = max(cost.peak for cost in costs[command, "before"])
        verdict = "met" if peak <= PEAK_TARGET else "MISSED"
        print(f"peak memory, {command}: {was:.0f} MB before, {peak:.0f} MB now; at most {PEAK_TARGET}: {verdict}")


def _line(command: str, before: Cost, now: Cost, target: float, what: str = "") -> None:
    processor, wall = now.processor / before.processor, now.wall / before.wall
    verdict = "met" if max(processor, wall) <= target else "MISSED"
    print(
        f"{command:<20}{before.processor:>9.1f}{now.processor:>9.1f}{processor:>7.2f}"
        f"{before.wall:>9.1f}{now.wall:>9.1f}{wall:>7.2f}   {target} {what} {verdict}"
    )


if __name__ == "__main__":
    main()
