"""What commands show once new forecasts are there: the forecasts, how they are read, and the page of the day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from forecast_platform.cli.terminal import say
from forecast_platform.runs.operations import Operations

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from forecast_platform.read import Forecast, Reader
    from forecast_platform.work.platform import Platform

SHOWN = 4
"""Series of which infer prints the forecast itself; of more, where to look."""


def show_forecasts(operations: Operations, models_of: Mapping[str, Sequence[str]], day: dt.date) -> None:
    """Print what was forecast, of each series by the champion (else the first of its models), and how it is read."""
    from forecast_platform.read import NoForecastError, Reader

    reader = Reader(operations.settings, operations.platform.warehouse)
    hint: list[str] = []
    series = [name for name in operations.settings.series_names if name in models_of]
    for name in series[:SHOWN]:
        models = models_of[name]
        champion, version = reader.champion(name)
        follows = champion in models and version == operations.version
        try:
            found = reader.latest(
                name, None if follows else models[0], on=day, version=operations.version, max_age=None
            )
        except NoForecastError:
            continue  # what failed was told
        if found.forecast_date == day:
            say(f"\n{found}")
            # A series that failed is no example.
            hint = hint or _how_to_read(reader, found, follows)
    if len(series) > SHOWN:
        say(f"\nforecasts of {len(series)} series: the daily page shows them together")
    for line in ["", *hint]:
        say(line)


def _how_to_read(reader: Reader, found: Forecast, follows: bool) -> list[str]:
    """The call that reads what was shown: what is old by now is refused unless it is asked for as such."""
    from forecast_platform.read import StaleForecastError
    from forecast_platform.read.freshness import freshness, require_fresh
    from forecast_platform.read.tables import Key

    settings, key = reader.settings, Key(found.series, found.model, found.version)
    arguments = [repr(found.series)]
    if not follows:
        arguments.append(repr(found.model))
        arguments += [] if found.version == settings.model_version else [f"version={found.version!r}"]
    newest = max(reader.tables.dates(key)) == found.forecast_date
    arguments += [] if newest else [f"on='{found.forecast_date}'"]
    on = None if newest else found.forecast_date
    fresh = freshness(settings, settings.series_named(found.series), found.last_observed_date, on)
    lines = []
    try:
        dates = found.forecast_date, found.last_observed_date
        require_fresh(settings, fresh, str(key), *dates, strict=True, max_age=0)
    except StaleForecastError as error:
        lines += [f"by now:     {str(error).split('; ')[0]}"] if newest else []
        arguments.append("max_age=None")
    return [
        *lines,
        f"read it:    from forecast_platform.read import Reader; Reader().latest({', '.join(arguments)})",
    ]


def renew_page(platform: Platform, instance: DagsterInstance | None = None, *, only_where_it_is: bool = False) -> None:
    """Write the daily page anew, as the asset graph does after a day's forecasts: one that stayed would show prices
    that a newer forecast has replaced, or a champion that is none any more.

    instance: the Dagster instance in DAGSTER_HOME, where it is open already.
    """
    if only_where_it_is and not (platform.settings.reports / "daily.html").exists():
        return
    from forecast_platform.housekeeping.health import health
    from forecast_platform.pages.daily_page import daily_page

    written = daily_page(platform, partial(health, instance=instance))
    for one in written.said:
        say(str(one))
    say(f"look at it: {written.file.with_name('daily.html')}; or forecast-platform up, then {written.address}")
