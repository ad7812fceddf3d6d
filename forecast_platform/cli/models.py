"""The commands that judge and choose: compare, promote, rollback; and plan, which only looks."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from forecast_platform.cli.forecasts import last_forecastable
from forecast_platform.cli.newest import renew_page
from forecast_platform.cli.terminal import say
from forecast_platform.pipeline.champions import Champion, ChampionError, champion, duel, mirror
from forecast_platform.pipeline.tracking import registered_name
from forecast_platform.runs.missing_models import missing_text
from forecast_platform.runs.operations import Operations, UsageError
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import require_horizon
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import failures_text, ranges_text


class Looking(Operations):
    """The choices of a request without what runs them: no Dagster home is made, nothing is written."""

    def __post_init__(self) -> None:
        self.platform = Platform.from_settings(self.settings)
        require_horizon(self.platform.warehouse)


def compare(settings: Settings, options: argparse.Namespace) -> bool:
    """Print which of two versions is better, by how much, how sure, by series and over them together; False where they
    share no scored date. Raises UsageError where the two are one."""
    from forecast_platform.cli.judging import duel_over
    from forecast_platform.forecasting.horizon import suffixes
    from forecast_platform.pages.display import metadata_frame
    from forecast_platform.pages.panel import panel
    from forecast_platform.pages.pooled import pooled_duel
    from forecast_platform.pages.scores import ModelKey

    looking = Looking(settings, say, settings.model_version)
    a, b = options.versions
    if a == b:
        raise UsageError(f"compare {a} {b}: name two different versions")
    models = looking.chosen_models(options.models)
    found = False
    for series in looking.chosen_series(options.commodity, options.group):
        metadata = metadata_frame(looking.platform, series)
        followed = " ".join(champion(looking.platform, series))
        unit = settings.series_named(series).unit
        counted = f", CRPS in {unit}" if unit else ""
        dates = f"{settings.horizon} days, dates that both have"
        say(f"\n{series}: {a} against {b}, {dates} (champion: {followed}){counted}")
        say(f"{'model':<22}{'dates':>7}{'CRPS ' + a:>12}{'CRPS ' + b:>12}{'gain %':>9}{'p':>8}  hit rate, 80 % band")
        verdicts = []
        for model in models:
            result = duel(metadata, (model, a), (model, b))
            found |= result.n_dates > 0
            if result.n_dates:
                say(
                    f"{model:<22}{result.n_dates:>7}{result.crps_a:>12.4f}{result.crps_b:>12.4f}"
                    f"{100 * result.gain:>9.2f}{result.p_value:>8.3f}  "
                    f"{100 * result.coverage_a:.0f} % and {100 * result.coverage_b:.0f} %"
                )
            verdicts.append(result.verdict(f"{model} {a}", f"{model} {b}"))
        for verdict in verdicts:
            say(verdict)
    if found:
        frames = panel(looking.platform, looking.chosen_series(options.commodity, options.group), models)
        say("\nover the series together, by the price of each date, with 95 % confidence intervals")
        for model in models:
            for span in suffixes(settings.horizon):
                together = pooled_duel(frames, ModelKey(model, a), ModelKey(model, b), span)
                say(f"{span:>4}  {duel_over(together, model, a, b)}")
    if not found:
        say(
            f"nothing to compare: forecast both versions over the same dates with `forecast-platform backfill "
            f"--train --model-version-tag {b}` (and {a})"
        )
    return found


def promote(settings: Settings, options: argparse.Namespace) -> bool:
    """Make a model and version the champion of a series, and mirror it as MLflow's alias.

    Raises UsageError where it cannot be one, with the reason.
    """
    from forecast_platform.pipeline import champions

    platform = Platform.from_settings(settings)
    series = settings.series_named(options.commodity).name
    version = options.model_version_tag or settings.model_version
    before = " ".join(champion(platform, series))
    try:
        chosen = champions.promote(platform, series, options.model, version, options.why, force=options.force)
    except ChampionError as error:
        raise UsageError(str(error)) from error
    _tell(platform, chosen, before)
    return True


def rollback(settings: Settings, options: argparse.Namespace) -> bool:
    """Go back to the champion before.

    Raises UsageError where there is none to go back to, or it cannot be one any more.
    """
    from forecast_platform.pipeline import champions

    platform = Platform.from_settings(settings)
    series = settings.series_named(options.commodity).name
    before = " ".join(champion(platform, series))
    try:
        chosen = champions.rollback(platform, series, options.why, force=options.force)
    except ChampionError as error:
        raise UsageError(str(error)) from error
    _tell(platform, chosen, before)
    return True


def _tell(platform: Platform, chosen: Champion, before: str) -> None:
    say(f"{chosen.series}: the champion is {chosen.model} {chosen.version} (before: {before})")
    say(f"since {chosen.valid_from:%Y-%m-%d %H:%M:%S} UTC, by {chosen.by}: {chosen.why}")
    note = mirror(platform, chosen)
    name = registered_name(platform.settings, chosen.series, chosen.model)
    say(f"note: {note}" if note else f"MLflow's alias champion of {name} follows")
    renew_page(platform, only_where_it_is=True)


def plan(settings: Settings, options: argparse.Namespace) -> bool:
    """Print what a backfill would do; nothing is written. False where models are missing."""
    from forecast_platform.pipeline.planning import BackfillPlan, backfill_plan

    version = options.model_version_tag or settings.model_version
    looking = Looking(settings, say, version)
    series, models = looking.chosen_series(options.commodity, options.group), looking.chosen_models(options.models)
    first = options.start_date or settings.start_date
    looking.check_span(first, options.end_date or first)
    last = options.end_date or last_forecastable(looking, series)
    looking.check_span(first, last)
    dates = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    planned: BackfillPlan = backfill_plan(
        looking.platform, series, models, dates, version=version, overwrite=options.overwrite
    )
    say(f"backfill of {first} to {last}, {version}: {len(dates)} dates, {len(series)} series, {len(models)} models\n")
    say(f"{'series':<12}{'model':<22}{'to do':>7}{'skip':>7}{'wait':>7}{'fail':>7}{'MB':>8}  time")
    for item in planned.models:
        say(
            f"{item.series:<12}{item.model:<22}{len(item.todo):>7}{item.skipped:>7}{item.waiting:>7}"
            f"{len(item.failed):>7}{item.stored_bytes / 1e6:>8.1f}  {_seconds(item.inference_seconds)}"
        )
    say("\n(skip: there and unchanged; wait: once their window's model is trained; fail: cannot be forecast)")
    for item in planned.models:
        if item.todo:
            say(f"{item.series} {item.model}: to do {ranges_text(item.todo)}")
        if item.repaired:
            say(f"{item.series} {item.model}: point forecasts of {item.repaired} dates are made from their paths")
        if item.failed:
            say(f"{item.series} {item.model}: {failures_text(item.failed)}")
        if item.missing_windows:
            say(
                f"{item.series} {item.model}: {len(item.missing_windows)} windows to train, "
                f"{_seconds(item.training_seconds)}"
            )
    for text in (*planned.notes, *(f"refused by the source: {text}" for text in planned.rejected)):
        say(text)
    runs = ", ".join(f"{count} {name}" for name, count in planned.runs.items() if count)
    say(f"\nruns: {sum(planned.runs.values())} ({runs})")
    say(f"time: {_seconds(planned.seconds)}")
    _say_disk(settings, planned.stored_bytes, planned.free_bytes)
    if options.ui:
        _say_ui(settings, series, models, dates, looking.windows(first, last))
    if planned.complete:
        return True
    lacking = {(item.series, item.model): list(item.missing_windows) for item in planned.models if item.missing_windows}
    *lines, _ = missing_text(lacking, settings, version).splitlines()
    say("\n".join([*lines, "or launch the backfill with --train"]))
    return False


def _say_ui(
    settings: Settings,
    series: Sequence[str],
    models: Sequence[str],
    dates: Sequence[dt.date],
    windows: Sequence[dt.date],
) -> None:
    """The runs of the UI's backfills of the same keys: a table family at a time, and all of them marked at once."""
    from forecast_platform.definitions import definitions_of
    from forecast_platform.graph.keys import FORECAST, SCORE, TRAIN, Keys
    from forecast_platform.runs.preview import ui_runs

    definitions = definitions_of(settings)
    say("\nin the UI, where these assets are marked (docs/backfills.md):")
    for group in settings.series_groups:
        chosen = [name for name in group.series if name in series]
        if not chosen:
            continue
        keys = Keys(group.name)
        trained, forecasts = keys.of_job(TRAIN, models), keys.of_job(FORECAST, models, actuals=False)
        marked = {
            "trained_models": (trained, windows),
            "distributions and point_forecasts": (keys.of_job(FORECAST, models), dates),
            "forecast_metadata": (keys.of_job(SCORE, models), windows),
            "unified_data, trained_models, distributions and point_forecasts at once": (
                [keys.unified_data, *trained, *forecasts],
                dates,
            ),
        }
        of = f" of {group.name}" if group.name else ""
        for names, (assets, wanted) in marked.items():
            found = ui_runs(definitions, assets, wanted, chosen)
            say(f"{names}{of}: {len(found)} run{'' if len(found) == 1 else 's'}")
            for run in found:
                say(f"  {run}")


def _say_disk(settings: Settings, added: int, free: int) -> None:
    left = (free - added) / 1e9
    say(f"disk: {added / 1e9:.2f} GB more, {free / 1e9:.1f} GB free now")
    if left < settings.min_free_gb:
        say(
            f"  NOT ENOUGH: {left:.1f} GB would be left, less than min_free_gb = {settings.min_free_gb}; free some "
            "space, or ask for fewer dates or models"
        )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown: no past to tell from"
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} min"
