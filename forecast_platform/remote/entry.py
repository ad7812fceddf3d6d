"""What runs on Databricks: one action with the job's parameters, over the tables that its settings name.

Called by the notebooks and as the wheel's `forecast-platform-task`. No Dagster: the tables decide what is done, as
everywhere, so that a run that was lost is repeated at no cost for the keys it had written.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from forecast_platform.clients.databricks.deploy import SOURCE, other_code
from forecast_platform.clients.databricks.progress_file import PARAMETER, ProgressFile
from forecast_platform.clients.databricks.variables import provide
from forecast_platform.host.progress import say
from forecast_platform.host.redaction import hidden
from forecast_platform.remote import task
from forecast_platform.remote.due import ForecastWork, dates_of, pairs_of
from forecast_platform.remote.parameters import ParameterError, TaskFailedError, settings_for
from forecast_platform.remote.training_data import make_table
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import require_horizon
from forecast_platform.warehouse.schemas import TABLES
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome, failures_text

ACTIONS = ("train", "backfill", "infer")
PARAMETERS = (
    "config",
    "commodity",
    "models",
    "start_date",
    "end_date",
    "model_version_tag",
    "train",
    "overwrite",
    "compute",
)
"""Parameters of every action, all texts; an empty one is the default. `commodity` and `models` are comma-separated;
`start_date` may be the word `first`, for the first date of the settings."""
OF_THE_PROCESS = ("secrets", "environment", SOURCE, PARAMETER)
"""Parameters that set this process's variables where the cluster has none of ours, say which code it must be, and where
it tells how far it is."""
WIDGETS = {action: [name for name in (*PARAMETERS, *OF_THE_PROCESS) if name != action] for action in ACTIONS}
"""The widgets of each action's notebook: every parameter, but training is not told to train."""


@dataclass
class Report:
    """What an action did, by step."""

    action: str
    steps: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, step: str, outcome: Outcome, version: str = "") -> None:
        """Keep a step's outcome, and print it."""
        counts = {"written": len(outcome.written), "unchanged": len(outcome.skipped), "failed": len(outcome.failed)}
        about = {"step": step, "series": outcome.series, "model": outcome.model, "version": version}
        self.steps.append({**about, **counts, "rows": outcome.rows, "seconds": round(outcome.seconds, 3)})
        say(json.dumps(self.steps[-1]))
        if outcome.failed:
            of = " ".join(filter(None, (step, outcome.series, outcome.model, version)))
            self.failures.append(f"{of}: {failures_text(outcome.failed)}")


def run(action: str, parameters: Mapping[str, str]) -> str:
    """Do `train`, `backfill` or `infer`; returns the report as JSON.

    Raises ParameterError before anything is done, TaskFailedError after everything that can be done is.
    """
    given = _provided(parameters)
    with hidden(), _progress(parameters) as progress:
        return _run(action, given, progress)


def _provided(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the action, once this process has the variables that the others name, and is the code wanted.

    Raises ParameterError where it is not.
    """
    if refused := other_code(parameters.get(SOURCE)):
        raise ParameterError(refused)
    provide(parameters)
    return {name: value for name, value in parameters.items() if name not in OF_THE_PROCESS}


@contextmanager
def _progress(parameters: Mapping[str, str]) -> Iterator[ProgressFile]:
    """Where the action tells how far it is; nothing is left there."""
    progress = ProgressFile(parameters.get(PARAMETER), say)
    try:
        yield progress
    finally:
        progress.close()


def _run(action: str, parameters: Mapping[str, str], progress: ProgressFile) -> str:
    if action not in ACTIONS:
        raise ParameterError(f"action {action!r}: one of {', '.join(ACTIONS)}")
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown:
        raise ParameterError(f"parameters {', '.join(unknown)}: known are {', '.join(PARAMETERS)}")
    given = {name: value.strip() for name, value in parameters.items() if value and value.strip()}
    settings = settings_for(given)
    platform = Platform.from_settings(settings)
    require_horizon(platform.warehouse)
    series = _chosen(given.get("commodity"), settings.series_names, "commodity")
    models = _chosen(given.get("models"), settings.models, "models")
    first, last = _span(action, given, settings)
    report = Report(action)
    _ingest(platform, series, report)
    windows = platform.frequency.starts(first, last or max([first, *(expected_dates(platform, s)[-1] for s in series)]))
    # What a schedule runs names no dates: it is for what is due now.
    scheduled = action != "backfill" and not {"start_date", "end_date"} & set(given)
    pairs = pairs_of(platform, models, given.get("model_version_tag"), scheduled=scheduled)
    if action == "train" or _flag(given, "train"):
        _train(platform, series, pairs, windows, action == "train" and _flag(given, "overwrite"), report, progress)
    if action != "train":
        work = [ForecastWork(name, *pair, dates_of(platform, name, first, last)) for name in series for pair in pairs]
        work = [one for one in work if one.dates]
        if scheduled:
            work = [one.with_missed(platform) for one in work]
        _forecast(platform, work, _flag(given, "overwrite"), report, progress)
    if report.failures:
        raise TaskFailedError(f"{action}: {len(report.failures)} steps have failed keys\n" + "\n".join(report.failures))
    return json.dumps({"action": action, "steps": report.steps})


def create_tables(parameters: Mapping[str, str]) -> str:
    """Create every table that does not exist yet; returns their names as JSON.

    Raises ParameterError, and HorizonError where stored forecasts cover another number of days.
    """
    if set(parameters) - {"config"}:
        raise ParameterError(f"parameters {', '.join(sorted(set(parameters) - {'config'}))}: tables takes config only")
    warehouse = Platform.from_settings(settings_for(parameters)).warehouse
    require_horizon(warehouse)
    for table in TABLES:
        warehouse.create(table)
    return json.dumps({"action": "tables", "tables": [table.name for table in TABLES]})


def _chosen(text: str | None, known: Sequence[str], what: str) -> list[str]:
    if text is None:
        return list(known)
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ParameterError(f"{what} {', '.join(unknown)}: configured are {', '.join(known)}")
    return [name for name in known if name in wanted]


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in ("true", "false"):
        raise ParameterError(f"{name} = {value!r}: true or false")
    return value == "true"


def _span(action: str, given: Mapping[str, str], settings: Settings) -> tuple[dt.date, dt.date | None]:
    """First and last date; the last is None where it is the newest that each series' data allow."""
    days = {}
    for name in ("start_date", "end_date"):
        try:
            days[name] = _date(given[name], settings) if name in given else None
        except ValueError as error:
            raise ParameterError(f"{name} = {given[name]!r}: a date such as 2022-12-30") from error
    limit = min(settings.today(), settings.end_date or dt.date.max)
    if action == "infer":
        day = days["start_date"] or days["end_date"] or limit
        days = {"start_date": day, "end_date": day}
    elif action == "train" and not days["start_date"]:
        # A scheduled training run is for the window that has just begun.
        days["start_date"] = limit
    first, last = days["start_date"] or settings.start_date, days["end_date"]
    if first < settings.start_date or (last or first) < first or (last or first) > limit:
        raise ParameterError(
            f"start_date {first}, end_date {last}: dates between {settings.start_date} and {limit}, in this order"
        )
    return first, last


def _date(text: str, settings: Settings) -> dt.date:
    return settings.start_date if text == "first" else dt.date.fromisoformat(text)


def _ingest(platform: Platform, series: Sequence[str], report: Report) -> None:
    from forecast_platform.pipeline.ingest import catch_up, ingest_partitions

    stale, rejected = catch_up(platform, series)
    report.failures.extend(f"refused by the source: {text}" for text in rejected)
    for name, (first, last) in stale.items():
        for outcome in ingest_partitions(platform, [name], first, last).outcomes.values():
            report.add("ingest", outcome)


def _train(
    platform: Platform,
    series: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    windows: Sequence[dt.date],
    overwrite: bool,
    report: Report,
    progress: ProgressFile,
) -> None:
    from forecast_platform.pipeline.training import train

    progress.begin(len(series) * len(pairs) * len(windows))
    for name in series:
        end = platform.settings.end_of(name) or dt.date.max
        begun = [start for start in windows if start <= end]
        for model, version in pairs:
            with progress.step(f"training {name} {model}", len(begun)) as told:
                done = train(platform, name, model, begun, version=version, overwrite=overwrite, progress=told)
            report.add("train", done, version)


def _forecast(
    platform: Platform, work: Sequence[ForecastWork], overwrite: bool, report: Report, progress: ProgressFile
) -> None:
    from forecast_platform.pipeline.actuals import open_before, write_actuals
    from forecast_platform.pipeline.champions import review
    from forecast_platform.pipeline.inference import forecast
    from forecast_platform.pipeline.publish import forecast_runs
    from forecast_platform.pipeline.scoring import score

    changed: set[dt.date] = set()
    progress.begin(sum(len(one.dates) for one in work))
    for name, group in groupby(work, key=lambda one: one.series):
        of_series = list(group)
        for one in of_series:
            with progress.step(f"forecasts {name} {one.model}", len(one.dates)) as told:
                outcome = forecast(
                    platform, name, one.model, one.dates, version=one.version, overwrite=overwrite, progress=told
                )
            changed |= outcome.written
            report.add("forecast", outcome, one.version)
        days = sorted({day for one in of_series for day in one.dates})
        earlier = open_before(platform, name, days[0])
        report.add("actuals", write_actuals(platform, name, [*earlier, *days]))
        # A new day is a target of the forecasts of a whole horizon before it, and those may lie in the window before.
        reaching = max(platform.settings.start_date, days[0] - dt.timedelta(days=platform.horizon))
        for one in of_series:
            windows = platform.frequency.starts(min([*earlier, reaching]), one.dates[-1])
            report.add("score", score(platform, name, one.model, windows, version=one.version), one.version)
        # As the asset of scores does: a warehouse that jobs alone fill follows its best model, too.
        for chosen in review(platform, name):
            say(f"{name}: champion is now {chosen.model} {chosen.version}: {chosen.why}")
    forecast_runs(platform, sorted(changed))


def main() -> None:
    """The wheel's entry point: `--action=backfill --config=... --start_date=...`, as a job's named parameters come.

    Raises ParameterError for an argument of another form.
    """
    parameters = {}
    for argument in sys.argv[1:]:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals:
            raise ParameterError(f"{argument!r}: arguments are --name=value")
        parameters[name] = value
    given = _provided(parameters)
    action = given.pop("action", "")
    with hidden(), _progress(parameters) as progress:
        sys.stdout.write(_do(action, given, progress) + "\n")


def _do(action: str, given: Mapping[str, str], progress: ProgressFile) -> str:
    if action == "tables":
        return create_tables(given)
    if action == "training_data":
        return make_table(given)
    return task.run(action, given) if task.is_kind(action) else _run(action, given, progress)


if __name__ == "__main__":
    main()
