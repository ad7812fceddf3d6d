"""Checks of distributions/<model> and point_forecasts/<model>, in one step that reads the paths once."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from dagster import AssetCheckExecutionContext, AssetCheckKey, AssetCheckResult, AssetChecksDefinition
from dagster import multi_asset_check as multi_check

from forecast_platform.forecasting.history import Dates
from forecast_platform.forecasting.horizon import DEFAULT, day_column, in_words
from forecast_platform.graph.checks import point_rules, rules
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.reading import (
    Points,
    agreement,
    ended_on,
    forecast_dates,
    paths_on,
    sampled_dates,
    stored_paths,
    stored_points,
    surroundings,
)
from forecast_platform.graph.checks.report import Examined, examined_by, recorded, spec
from forecast_platform.graph.keys import Keys
from forecast_platform.host.finding import Finding
from forecast_platform.settings import Settings
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa

VALID, LEAKAGE, PLAUSIBLE, AGREES, ON_TIME = (
    "complete_and_finite",
    "no_leakage",
    "plausible_paths",
    "agrees_with_paths",
    "on_time",
)
"""Two rules each: a check costs Dagster three events, which in a daily run of all models is more than its work."""

NEWEST_DATES = 92
"""Dates that a check which is run by itself looks at."""


def forecasts_checks(model: str, keys: Keys, horizon: int = DEFAULT) -> AssetChecksDefinition:
    """All checks of one model's paths and point forecasts in a group."""
    paths, points = keys.distributions(model), keys.point_forecasts(model)

    @multi_check(
        name=keys.step(f"check_forecasts_{model}"),
        specs=[
            spec(
                paths,
                VALID,
                f"Exactly n_paths paths of {horizon} days a date, without NaN, infinity or null.",
                blocking=True,
            ),
            spec(
                paths,
                LEAKAGE,
                "Every forecast knows only days before its own, and its model only days before its window.",
                blocking=True,
            ),
            spec(
                paths,
                PLAUSIBLE,
                f"Paths begin at the last known close; the spread of {day_column(horizon)} is within a factor of five "
                "of recent volatility.",
            ),
            spec(
                points,
                AGREES,
                f"{in_words(horizon)} a date, bounds and median in order; on a sample of dates, statistics are those "
                "of the stored paths.",
            ),
            spec(
                points,
                ON_TIME,
                "Today's forecast exists by its deadline, and no date is missing from the first forecast on.",
            ),
        ],
        can_subset=True,
        required_resource_keys={"platform"},
    )
    def check_forecasts(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        asked = examined_by(context, keys)
        chosen = context.selected_asset_check_keys
        found: dict[AssetCheckKey, list[Finding]] = {key: [] for key in chosen}
        for series in asked.series:
            target = asked.target(series, model)
            there = forecast_dates(asked.platform, target)
            dates = list(there[-NEWEST_DATES:].astype(dt.date)) if asked.keys is None else asked.keys[series]
            stored = stored_points(asked.platform, target, dates) if dates else None
            sampled, of_paths = None, dict[str, list[Finding]]()
            if any(key.asset_key == paths for key in chosen):
                keep = sampled_dates(stored, asked.platform.horizon)
                sampled, of_paths = examine_paths(asked, target, dates, keep)
            groups = {points: examine_points(asked.platform, target, stored, there, sampled), paths: of_paths}
            for asset, verdicts in groups.items():
                for name, findings in verdicts.items():
                    if AssetCheckKey(asset, name) in found:
                        found[AssetCheckKey(asset, name)] += findings
        yield from recorded(context, asked, found)

    return check_forecasts


def examine_paths(
    asked: Examined, target: Target, dates: list[dt.date], keep: Dates
) -> tuple["pa.Table | None", dict[str, list[Finding]]]:
    """The paths on the dates of `keep`, [n], of one series and model, None where there are no `dates`; and the verdicts
    of each check's rules on those of `dates`."""
    platform = asked.platform
    if not dates:
        return None, {name: [target.good(dates=0)] for name in (VALID, LEAKAGE, PLAUSIBLE)}
    n_paths = platform.settings.n_paths
    stored, keys, kept = stored_paths(platform, target, dates, keep)
    days, last = keys["forecast_date"], keys["last_observed_date"]
    windows = np.array(platform.frequency.starts(min(dates), max(dates)), "datetime64[D]")
    starts = windows[np.searchsorted(windows, days, side="right") - 1]
    wanted = np.array([] if asked.keys is None else dates, "datetime64[D]")
    whole = stored.of(stored.sound & np.isin(stored.dates, days))
    last_close, trading, recent = surroundings(
        platform, target.series, whole.dates, last[np.searchsorted(days, whole.dates)]
    )
    return kept, {
        VALID: [
            rules.path_shape(target, stored, n_paths, wanted),
            rules.finite_paths(target, stored),
        ],
        LEAKAGE: [
            rules.no_leak(target, days, keys["data_cutoff_date"], last, keys["has_data_leakage"]),
            rules.training_cutoff(target, days, keys["training_cutoff_date"], starts),
        ],
        PLAUSIBLE: [
            rules.starts_from_last_close(target, whole, last_close, trading),
            rules.spread_bounds(target, whole.dates, whole.last_deviation, recent),
        ],
    }


def examine_points(
    platform: Platform, target: Target, points: Points | None, there: Dates, paths: "pa.Table | None" = None
) -> dict[str, list[Finding]]:
    """The verdicts of each check's rules on point forecasts.

    points: those looked at, None where there are no dates. there: every date that has some, [n] ascending. paths: those
    on `sampled_dates`, which are read where they are not given.
    """
    settings = platform.settings
    # None where the newest close lies a weekend or more before the first forecast date, which is forecast all the same.
    expected = expected_dates(platform, target.series) or [settings.start_date]
    timely = [
        point_rules.fresh(
            target,
            there[-1].astype(dt.date) if len(there) else None,
            settings.now(),
            deadline(settings),
            ended_on(settings, target.series),
            _source_late(platform, target.series),
        ),
        point_rules.date_gaps(target, there, expected[-1]),
    ]
    if points is None:
        return {ON_TIME: timely, AGREES: [target.good(dates=0)]}
    if paths is None:
        paths = paths_on(platform, target, sampled_dates(points, platform.horizon))
    sampled, stored, from_paths = agreement(platform, points, paths)
    agreeing = [point_rules.ordered_quantiles(target, points["forecast_date"], points, platform.horizon)]
    if len(sampled):
        agreeing.append(point_rules.agrees_with_paths(target, sampled, stored, from_paths))
    return {ON_TIME: timely, AGREES: agreeing}


def deadline(settings: Settings) -> dt.datetime:
    """Until when today's forecast is to be there: when late data are no longer waited for."""
    start = dt.datetime.combine(settings.today(), settings.daily_time, ZoneInfo(settings.timezone))
    return start + dt.timedelta(hours=settings.data_deadline_hours)


def _source_late(platform: Platform, series: str) -> str | None:
    """Why today cannot be forecast, where the source is too far behind."""
    settings = platform.settings
    table = platform.series_table(series)
    finding = rules.stale_source(
        series,
        table.last_observed,
        table.sessions,
        settings.today(),
        settings.publication_lag_days.market,
        settings.max_staleness_days,
        None,
    )
    return finding.found if finding.severity == "error" else None
