"""Checks of unified_data, over each series' whole history: it is small, and what is wrong in it spoils everything."""

from collections.abc import Iterator

import numpy as np
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    multi_asset_check,
)

from forecast_platform.graph.checks import meaning_rules, rules
from forecast_platform.graph.checks.reading import dates_of, ended_on
from forecast_platform.graph.checks.report import Examined, examined_by, recorded, spec
from forecast_platform.graph.keys import Keys
from forecast_platform.host.finding import Finding
from forecast_platform.sources.base import WEATHER_COLUMNS
from forecast_platform.warehouse.schemas import UNIFIED_DATA

DUPLICATES, GAPS, JUMPS, STALE, COVARIATES, CALENDAR, PLAUSIBLE, POSSIBLE = (
    "no_duplicate_keys",
    "no_missing_days",
    "no_price_jumps",
    "source_on_time",
    "covariates_covered",
    "calendar_fits",
    "closes_plausible",
    "weather_possible",
)


def unified_data_checks(keys: Keys) -> AssetChecksDefinition:
    """All checks of a group's unified_data, in one step that reads each series once."""
    key = keys.unified_data

    @multi_asset_check(
        name=keys.step("check_unified_data"),
        specs=[
            spec(key, DUPLICATES, "One row a day and series.", blocking=True),
            spec(key, GAPS, "No calendar day between the first and the last is missing.", blocking=True),
            spec(key, JUMPS, "No jump of 20 % that reverts, no move beyond 8 robust deviations, in new days."),
            spec(key, STALE, "The last exchange session due has arrived."),
            spec(key, COVARIATES, "Covariates are known for most of the last year and still arrive."),
            spec(key, CALENDAR, "Closes lie on the exchange's sessions: daily, of these days, not a day off."),
            spec(key, PLAUSIBLE, "No new close is a power of ten off, an exact 0, or stands still for a week."),
            spec(key, POSSIBLE, "Every weather value is within what has ever been possible."),
        ],
        can_subset=True,
        required_resource_keys={"platform"},
    )
    def check_unified_data(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        asked = examined_by(context, keys)
        found: dict[AssetCheckKey, list[Finding]] = {}
        for series in asked.series:
            for name, finding in examine(asked, series).items():
                found.setdefault(AssetCheckKey(key, name), []).append(finding)
        chosen = context.selected_asset_check_keys
        yield from recorded(context, asked, {one: findings for one, findings in found.items() if one in chosen})

    return check_unified_data


def examine(asked: Examined, series: str) -> dict[str, Finding]:
    """The verdict of each rule on one series."""
    platform = asked.platform
    settings = platform.settings
    rows = platform.warehouse.read(UNIFIED_DATA, where={"commodity": series}).sort_by("date")
    dates = dates_of(rows, "date")
    found = {DUPLICATES: rules.duplicate_days(series, dates), GAPS: rules.missing_days(series, dates)}
    if len(dates) == 0:
        return found
    seen = rows["is_observed"].to_numpy(zero_copy_only=False).astype(bool)
    first = min(asked.keys[series]) if asked.keys else dates[-1].astype("O")
    own, closes = dates[seen], rows["close"].to_numpy()[seen]
    table = platform.series_table(series)
    # A series that was added just now is no news but for its newest session; what is odd in its years is for `doctor`.
    since = own[-1] if first == settings.lookback_end and len(own) else np.datetime64(first, "D")
    if first == settings.lookback_end:
        first = settings.history_start
    found[JUMPS] = rules.price_jumps(
        series,
        own,
        closes,
        rows["is_roll_day"].to_numpy(zero_copy_only=False).astype(bool)[seen],
        since,
        table.series.confirmed,
    )
    found[STALE] = rules.stale_source(
        series,
        table.last_observed,
        table.sessions,
        settings.today(),
        settings.publication_lag_days.market,
        settings.max_staleness_days,
        ended_on(settings, series),
    )
    found[CALENDAR] = meaning_rules.calendar_fits(
        series, own - np.timedelta64(settings.publication_lag_days.market, "D"), table.sessions, table.series.calendar
    )
    found[PLAUSIBLE] = meaning_rules.closes_plausible(
        series, own, closes, table.series.confirmed, np.datetime64(first, "D"), since
    )
    numbers = {
        name: rows[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in rows.column_names
        if name in WEATHER_COLUMNS or name in table.series.covariates
    }
    known = {name: values for name, values in numbers.items() if np.isfinite(values).any()}
    found[POSSIBLE] = meaning_rules.weather_possible(
        series, dates, {name: values for name, values in known.items() if name in WEATHER_COLUMNS}
    )
    wanted = dict.fromkeys([*table.series.covariates, *(name for name in WEATHER_COLUMNS if name in known)])
    found[COVARIATES] = rules.covariate_coverage(series, dates, known, rows["filled_columns"].to_pylist(), list(wanted))
    return found
