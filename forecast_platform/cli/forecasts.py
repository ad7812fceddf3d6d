"""What each command does and prints."""

from __future__ import annotations

import argparse
import datetime as dt
import errno
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from forecast_platform.cli.dates import print_coverage, undamaged
from forecast_platform.cli.newest import renew_page, show_forecasts
from forecast_platform.cli.terminal import say
from forecast_platform.runs.missing_models import missing_text
from forecast_platform.runs.operations import Operations, UsageError
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import require_horizon
from forecast_platform.work.platform import NoDataError

if TYPE_CHECKING:
    import pandas as pd

QUICK_YEARS = 9
"""Years that the quickstart scores of a single series; of several each has its share, for the time that it takes."""

QUICK_MODELS = ("naive", "random_walk", "xgboost")
"""Models of the quickstart: one of each kind, for years of dates rather than for many models."""


def _operations(settings: Settings, options: argparse.Namespace) -> Operations:
    version = options.model_version_tag or settings.model_version
    operations = Operations(settings, say, version, overwrite=getattr(options, "overwrite", False))
    operations.begin()
    return operations


def last_forecastable(operations: Operations, series: Sequence[str]) -> dt.date:
    """The day after the last observed close of the series that has the newest.

    Raises NoDataError where none of them has data.
    """
    newest = []
    for name in series:
        try:
            newest.append(operations.platform.series_table(name).last_observed)
        except NoDataError as error:
            say(str(error))
    if not newest:
        raise NoDataError("no series has data: look at the source (setting FORECAST_PLATFORM_SOURCE)")
    settings = operations.settings
    ends = max(settings.end_of(name) or settings.today() for name in series)
    return min(max(newest) + dt.timedelta(days=1), ends, settings.today())


def _summary(operations: Operations, started: float, good: bool) -> bool:
    failed = [title for title, done, _ in operations.finished if not done.success]
    runs = len(operations.finished)
    say(
        f"\n{runs} run{'' if runs == 1 else 's'} in {time.perf_counter() - started:.1f} s: "
        + (f"FAILED: {', '.join(failed)}" if failed else "all succeeded" if good else "not everything is there")
    )
    return good


def train(settings: Settings, options: argparse.Namespace) -> bool:
    """Fit the chosen models on the windows of a span.

    Raises UsageError for windows of another frequency than the settings', NoDataError where no series has data.
    """
    started = time.perf_counter()
    if options.train_frequency and options.train_frequency != settings.train_frequency:
        raise UsageError(
            f"--train-frequency {options.train_frequency}: the partitions are made of {settings.train_frequency} "
            f"windows; set FORECAST_PLATFORM_TRAIN_FREQUENCY={options.train_frequency} for every command and the UI"
        )
    operations, series, models, (first, last), good = _ingested(settings, options)
    good &= operations.train(series, models, operations.windows(first, last))
    return _summary(operations, started, good)


def backfill(settings: Settings, options: argparse.Namespace) -> bool:
    """Forecast a span with trained models, write actuals, score. Raises NoDataError where no series has data."""
    started = time.perf_counter()
    operations, series, models, (first, last), good = _ingested(settings, options)
    operations.check_span(first, last)
    windows = operations.windows(first, last)
    if not _models_there(operations, series, models, windows, options.train):
        return False
    good &= operations.forecast(series, models, first, last)
    if not options.no_score:
        good &= operations.score(series, models, windows)
    # A span that ends before the newest day leaves the page as it is.
    if series and last >= last_forecastable(operations, series):
        renew_page(operations.platform, operations.launcher.instance)
    # As `coverage` tells it: no years before the first forecast are missed.
    print_coverage(operations, series, models, in_use=True)
    return _summary(operations, started, good)


def _ingested(
    settings: Settings, options: argparse.Namespace
) -> tuple[Operations, list[str], list[str], tuple[dt.date, dt.date], bool]:
    """What a command over a span works on, once its data are there: the series whose data are good, the models, the
    span, and whether every series' data are."""
    operations = _operations(settings, options)
    series, models = (
        operations.chosen_series(options.commodity, options.group),
        operations.chosen_models(options.models),
    )
    _check_span(operations, options)
    series, good = operations.ingest(series)
    first = options.start_date or settings.start_date
    last = options.end_date or last_forecastable(operations, series)
    return operations, series, models, (first, last), good


def accepting(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings with the days of --accept confirmed for the chosen series. Raises UsageError, SettingsError."""
    if not options.accept:
        return settings
    if not options.commodity:
        raise UsageError("--accept: name the series whose closes are right, such as --commodity Coffee")
    chosen = {settings.series_named(name).name for name in options.commodity}
    series = tuple(
        one.model_copy(update={"confirmed": (*one.confirmed, *options.accept)}) if one.name in chosen else one
        for one in settings.series
    )
    return settings.model_copy(update={"series": series})


def infer(settings: Settings, options: argparse.Namespace) -> bool:
    """Forecast one date, all series of a group in one run.

    Raises NoDataError where no series' data allow a forecast of the date.
    """
    started = time.perf_counter()
    operations = _operations(settings, options)
    series = operations.chosen_series(options.commodity, options.group)
    operations.chosen_models(options.models)
    if options.date:
        operations.check_span(options.date, options.date, ("--date", "--date"))
    series, good = operations.ingest(series)
    known = [name for name in series if _has_data(operations, name)]
    series, good = known, good and len(known) == len(series)
    if not series:
        return _summary(operations, started, False)
    day = options.date or operations.newest_date(series)
    if options.train:
        used = {tuple(operations.chosen_models(options.models)): series}
    else:
        used = operations.models_in_use(options.models, series)
    _refuse_without_data(operations, series, day)
    windows = operations.windows(day, day)
    there = [_models_there(operations, names, models, windows, options.train) for models, names in used.items()]
    if not all(there):
        return False
    for models, names in used.items():
        good &= operations.forecast(names, models, day, day, together=True)
    show_forecasts(operations, {name: models for models, names in used.items() for name in names}, day)
    renew_page(operations.platform, operations.launcher.instance)
    return _summary(operations, started, good)


def _has_data(operations: Operations, name: str) -> bool:
    try:
        operations.platform.series_table(name)
    except NoDataError as error:
        say(str(error))
        return False
    return True


def _refuse_without_data(operations: Operations, series: Sequence[str], day: dt.date) -> None:
    """Raise NoDataError where the data of none of the series allow a forecast of `day`: no model would change that."""
    from forecast_platform.work.coverage import last_allowed

    newest: dict[dt.date, list[str]] = {}
    for name in series:
        if last_allowed(operations.platform, name) >= day:
            return
        newest.setdefault(operations.platform.series_table(name).last_observed, []).append(name)
    if newest:
        said = "; ".join(f"data of {', '.join(names)} end on {last}" for last, names in sorted(newest.items()))
        raise NoDataError(
            f"{said}: too old for a forecast of {day} (setting max_staleness_days is "
            f"{operations.settings.max_staleness_days}): put newer data in place, or ask for "
            f"--date {max(newest) + dt.timedelta(days=1)}"
        )


def show_coverage(settings: Settings, options: argparse.Namespace) -> bool:
    """Print the dates covered by each model; False where there are gaps. Raises NoDataError as `print_coverage`."""
    # Nothing is run, so a warehouse that can only be read will do.
    operations = Operations(settings, say, options.model_version_tag or settings.model_version)
    series = operations.chosen_series(options.commodity, options.group)
    whole = list(undamaged(operations))
    for models, names in operations.models_in_use(options.models, series).items():
        whole.append(print_coverage(operations, names, models, in_use=not options.models))
    return all(whole)


def evaluate(settings: Settings, options: argparse.Namespace) -> bool:
    """Print metrics by model and horizon with skill against naive, then over the series together; False where nothing
    is scored. With `all`, every series of the tables, in short. Raises UsageError for `all` together with a chosen
    series or group."""
    from forecast_platform.cli import judging
    from forecast_platform.pages.display import index, metadata_frame, report
    from forecast_platform.pages.panel import over_all, panel
    from forecast_platform.pages.scores import by_horizon, leaderboard

    # Nothing is run, so a warehouse that can only be read will do.
    operations = Operations(settings, say, options.model_version_tag or settings.model_version)
    require_horizon(operations.platform.warehouse)
    models = operations.chosen_models(options.models)
    names = {*models, "naive"}
    if options.all:
        if options.commodity or options.group:
            raise UsageError("evaluate --all is of every series of the tables: leave --commodity and --group out")
        frames = _of_version(panel(operations.platform, models=sorted(names)), operations.version)
        lines = judging.pooled(frames)
        for line in [*judging.by_series(frames), *lines]:
            say(line)
        if not lines:
            say("no series is scored yet; run `forecast-platform backfill`")
        return bool(lines)
    found, together = True, over_all(operations.platform)
    chosen_series = operations.chosen_series(options.commodity, options.group)
    for name in chosen_series:
        frame = metadata_frame(operations.platform, name)
        chosen = frame[frame.model_name.isin({*models, "naive"}) & (frame.model_version == operations.version)]
        if chosen.empty or chosen[f"crps_{settings.horizon}d"].isna().all():
            say(f"{name}: nothing is scored yet; run `forecast-platform backfill --commodity {name}`")
            found = False
            continue
        once = f"{settings.horizon} days, each last close and target once"
        unit = settings.series_named(name).unit
        say(f"\n{name}, {operations.version}: leaderboard by CRPS ({once}{_in_unit(unit)})")
        say(_table(leaderboard(chosen)))
        say("\nby horizon")
        say(_table(by_horizon(chosen)))
        try:
            say(f"\nreport: {report(operations.platform, name, together)}")
            say(f"file:   {settings.reports}")
            index(operations.platform)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            say(f"\nreport: none is written, {settings.reports} can only be read")
    frames = _of_version(panel(operations.platform, chosen_series, sorted(names)), operations.version)
    for line in judging.pooled({name: frame for name, frame in frames.items() if len(frame)}):
        say(line)
    return found


def _of_version(frames: dict[str, pd.DataFrame], version: str) -> dict[str, pd.DataFrame]:
    return {name: frame[frame["model_version"] == version] for name, frame in frames.items()}


def _in_unit(unit: str | None) -> str:
    return f"; crps, mae and rmse in {unit}" if unit else ""


def _table(frame: pd.DataFrame) -> str:
    """A board as text: what bands held is a hit rate to people, whatever the tables' columns are called."""
    shown = frame.rename(columns=lambda name: name.replace("coverage_", "hit_rate_"))
    return shown.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep="-")


def quickstart(settings: Settings, models: Sequence[str] | None) -> bool:
    """Ingest, train, forecast recent windows, evaluate, report; says where to look.

    Raises NoDataError where no series has data.
    """
    started = time.perf_counter()
    operations = Operations(settings, say, settings.model_version)
    operations.begin()
    chosen = operations.chosen_models(models or [name for name in QUICK_MODELS if name in settings.models])
    series = list(settings.series_names)
    say(
        f"source {settings.source}, series {', '.join(series)}, models {', '.join(chosen)}\n"
        f"tables in {settings.warehouse if settings.tables == 'folder' else settings.unity.catalog}"
    )
    series, good = operations.ingest(series)
    last = last_forecastable(operations, series)
    # Whole windows, which leave no gap before the first date.
    span = dt.timedelta(days=round(365.25 * max(1.0, QUICK_YEARS / max(len(series), 1))))
    windows = operations.windows(max(settings.start_date, last - span), last)
    first = windows[0]
    lacking = operations.missing(series, chosen, windows)
    if lacking:
        good &= operations.train(series, chosen, windows)
    good &= operations.forecast(series, chosen, first, last)
    good &= operations.score(series, chosen, windows)
    _show_results(operations, series, chosen, last)
    return _summary(operations, started, good)


def _show_results(operations: Operations, series: Sequence[str], models: Sequence[str], last: dt.date) -> None:
    from forecast_platform.cli import judging
    from forecast_platform.housekeeping.health import health
    from forecast_platform.pages.daily_page import daily_page
    from forecast_platform.pages.display import fan_chart, metadata_frame
    from forecast_platform.pages.panel import panel
    from forecast_platform.pages.scores import leaderboard

    settings = operations.settings
    for name in series:
        frame = metadata_frame(operations.platform, name)
        if not frame.empty and frame[f"crps_{settings.horizon}d"].notna().any():
            unit = _in_unit(settings.series_named(name).unit)
            say(f"\n{name}: leaderboard by CRPS{unit}\n{_table(leaderboard(frame))}")
        for model in models:
            fan_chart(operations.platform, name, model, operations.version, last)
    frames = _of_version(panel(operations.platform, series, [*models, "naive"]), operations.version)
    scored = {name: frame for name, frame in frames.items() if len(frame)}
    for line in [*judging.pooled(scored), *judging.what_it_tells(scored, models)]:
        say(line)
    daily_page(operations.platform, health)
    say(f"\nforecasts and reports: {settings.reports / 'index.html'}  (open it in a browser)")
    say("the UI:                forecast-platform up, then http://127.0.0.1:3000")
    say(f"fits:                  mlflow ui --backend-store-uri {settings.tracking_uri}")


def _check_span(operations: Operations, options: argparse.Namespace) -> None:
    """Refuse a wrong span before any work."""
    first = options.start_date or operations.settings.start_date
    operations.check_span(first, options.end_date or first)


def _models_there(
    operations: Operations, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date], train_them: bool
) -> bool:
    lacking, good = _trainable(operations, operations.missing(series, models, windows))
    if not lacking:
        return good
    if not train_them:
        say(missing_text(lacking, operations.settings, operations.version))
        return False
    for name in dict.fromkeys(name for name, _ in lacking):
        wanted = [model for owner, model in lacking if owner == name]
        starts = sorted({start for (owner, _), found in lacking.items() if owner == name for start in found})
        if not operations.train([name], wanted, starts):
            return False
    return good


def _trainable(
    operations: Operations, lacking: Mapping[tuple[str, str], list[dt.date]]
) -> tuple[dict[tuple[str, str], list[dt.date]], bool]:
    """What of the windows that lack a model can be trained, and whether that is all: those that begin after the last
    date that a series' data allow are told."""
    from forecast_platform.work.coverage import last_allowed

    ends = {name: last_allowed(operations.platform, name) for name, _ in lacking}
    found = {}
    for (name, model), starts in lacking.items():
        if kept := [start for start in starts if start <= ends[name]]:
            found[name, model] = kept
    beyond = sorted({name for (name, _), starts in lacking.items() if max(starts) > ends[name]})
    for name in beyond:
        newest = operations.platform.series_table(name).last_observed
        say(
            f"data of {name} end on {newest}: windows that begin after {ends[name]} can be neither trained nor "
            f"forecast; put newer data in place, or ask for --end-date {newest + dt.timedelta(days=1)}"
        )
    return found, not beyond
