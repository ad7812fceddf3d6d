"""A trading desk's hundred series, made up: correlated prices over thirteen years, in groups of ten."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import yaml

FIRST, LAST = dt.date(2013, 1, 2), dt.date(2025, 12, 30)
"""Span of the prices: five years of lookback and eight of forecasts."""

START, END = dt.date(2018, 1, 1), dt.date(2025, 12, 31)
"""First and last forecast date."""

MODELS = ("naive", "random_walk", "xgboost")
GROUPS = ("softs", "grains", "oilseeds", "livestock", "dairy", "crude", "products", "gas", "metals", "bullion")
GROUP_SIZE = 10


def series_names(count: int) -> list[str]:
    """Names of the first `count` series, at most 100."""
    return [f"{GROUPS[number // GROUP_SIZE].capitalize()}{number % GROUP_SIZE}" for number in range(count)]


def groups_of(names: Sequence[str], size: int = GROUP_SIZE) -> dict[str, list[str]]:
    """The series in groups of `size`; none where one group holds them all."""
    if len(names) <= size:
        return {}
    return {GROUPS[first // size]: list(names[first : first + size]) for first in range(0, len(names), size)}


def write_desk(
    folder: Path, names: Sequence[str], *, span: tuple[dt.date, dt.date] = (FIRST, LAST), last: dt.date | None = None
) -> Path:
    """Landing files of these series over `span`, cut at `last`; a series' prices are the same whatever the others are.

    A common factor gives each pair of series a correlation of about a half; moves are Student t with five degrees.
    """
    from forecast_platform.sources.calendars import sessions

    days = sessions("XNYS", *span)
    kept = days <= np.datetime64(last or span[1], "D")
    market = folder / "market"
    market.mkdir(parents=True, exist_ok=True)
    common = np.random.default_rng(11).standard_t(5, len(days)) * 0.008
    for name in names:
        rng = np.random.default_rng([17, *name.encode()])
        close = (40 + 60 * rng.random()) * np.exp(np.cumsum(common + rng.standard_t(5, len(days)) * 0.008))
        rows = [f"{day},{price:.4f}" for day, price in zip(days[kept], close[kept], strict=True)]
        (market / f"{name.lower()}.csv").write_text("\n".join(["date,close", *rows]) + "\n")
    return folder


def desk_settings(root: Path, names: Sequence[str], **changes: Any) -> dict[str, Any]:
    """The settings of a desk under `root`, as plain values: for `build`, or a YAML file (`write_settings`)."""
    return {
        "source": "landing",
        "landing": str(root / "landing"),
        "warehouse": str(root / "warehouse"),
        "models": list(MODELS),
        "series": [{"name": name, "regions": []} for name in names],
        "groups": groups_of(names),
        "start_date": START.isoformat(),
        "end_date": END.isoformat(),
        "min_free_gb": 0.0,
        "workers": 2,
        **changes,
    }


def write_settings(root: Path, names: Sequence[str], **changes: Any) -> Path:
    """The desk's settings as a YAML file for FORECAST_PLATFORM_CONFIG."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "desk.yaml"
    path.write_text(yaml.safe_dump(desk_settings(root, names, **changes), sort_keys=False))
    return path


def ticked(root: Path, names: Sequence[str], at: dt.datetime) -> dict[str, list[tuple[float, float, int, str]]]:
    """Evaluate each schedule and sensor of the desk twice as of `at`, without starting what they request.

    Returns for each, by name: wall and processor seconds, runs requested and the message, of the first look and of the
    second. The instance is that of DAGSTER_HOME.
    """
    import time

    from dagster import DagsterInstance, build_schedule_context, build_sensor_context

    from forecast_platform.definitions import build_definitions
    from forecast_platform.host.home import prepare_home
    from forecast_platform.settings import build

    settings = build(**desk_settings(root, names, end_date=None)).with_clock(lambda: at)
    prepare_home(settings)
    repository = build_definitions(settings).get_repository_def()
    found: dict[str, list[tuple[float, float, int, str]]] = {}
    with DagsterInstance.get() as instance:
        for _ in range(2):
            for one in [*repository.schedule_defs, *repository.sensor_defs]:
                if one.name in ("weekly_maintenance", "daily_page_after_score"):
                    continue
                wall, processor = time.perf_counter(), time.process_time()
                if one in repository.schedule_defs:
                    with build_schedule_context(instance, at, repository_def=repository) as context:
                        data = one.evaluate_tick(context)
                else:
                    with build_sensor_context(instance, repository_def=repository, sensor_name=one.name) as context:
                        data = one.evaluate_tick(context)
                spent = time.perf_counter() - wall, time.process_time() - processor
                found.setdefault(one.name, []).append((*spent, len(data.run_requests or ()), data.skip_message or ""))
    return found


def noon(day: dt.date) -> dt.datetime:
    """Noon of a day in the platform's default zone, after the deadline of its daily run."""
    return dt.datetime.combine(day, dt.time(12), ZoneInfo("America/Los_Angeles"))
