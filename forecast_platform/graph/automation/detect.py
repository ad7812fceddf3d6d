"""What Dagster's own records say is wrong: failed runs, missed and failed ticks, failed asset checks."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from forecast_platform.graph.automation.causes import explain
from forecast_platform.graph.automation.messages import Problem
from forecast_platform.graph.automation.requests import MODELS_TAG, SERIES_TAG, SPAN_TAG, STEP_TAG, short_hash
from forecast_platform.graph.checks.forecasts import ON_TIME
from forecast_platform.graph.checks.point_rules import NOT_YET
from forecast_platform.graph.checks.reading import ended_on
from forecast_platform.graph.checks.report import failing, newest_evaluation
from forecast_platform.graph.checks.unified import STALE
from forecast_platform.host.finding import Finding
from forecast_platform.host.times import in_zone
from forecast_platform.settings import Settings
from forecast_platform.work.platform import VERSION_TAG

if TYPE_CHECKING:
    from dagster import AssetCheckKey, DagsterInstance, DagsterRun

    from forecast_platform.work.platform import Platform

LOOK_BACK = dt.timedelta(days=3)
"""How far back a failed run or tick is a problem that is told; one that nobody mended in that time is told no more."""

_VERSIONED = ("train", "forecast", "score")
"""Kinds of runs that are of one version."""

TICK_GRACE = dt.timedelta(minutes=15)
"""How late a schedule's tick may be: the daemon looks every few seconds, and a machine may be restarting."""


def run_problems(instance: DagsterInstance, settings: Settings, now: dt.datetime) -> list[Problem]:
    """Failed runs that no later run of the same kind has made good, each error once.

    The same error of the same job on further days is the same problem; a run of the same kind and version that
    succeeds after it, over at least the same partitions or by automation for some of its series and models, ends it.
    """
    from dagster import DagsterRunStatus, RunsFilter

    finished = [DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS]
    records = instance.get_run_records(RunsFilter(statuses=finished, updated_after=now - LOOK_BACK), ascending=True)
    open_problems: dict[str, tuple[list[DagsterRun], Problem]] = {}
    for record in records:
        run = record.dagster_run
        kind = _kind(run)
        if run.is_success:
            for key, (failed, _) in list(open_problems.items()):
                failed[:] = [one for one in failed if not _makes_good(run, one, settings)]
                if not failed:
                    del open_problems[key]
            continue
        error = error_of(instance, run.run_id)
        key = f"run/{kind}/{short_hash(_signature(error))}"
        if key in open_problems:
            open_problems[key][0].append(run)
            continue
        ended = dt.datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), dt.timezone.utc)
        cause, mend = explain(error, _where(instance, settings, run))
        problem = Problem(
            key=key,
            what=f"run {run.run_id[:8]} failed: {kind}\n{error[:1500]}",
            since=in_zone(ended, settings.timezone),
            affected=_affected(run),
            cause=cause,
            mend=mend,
            link=f"{settings.ui_url}/runs/{run.run_id}",
            because=_late_data(error),
        )
        open_problems[key] = ([run], problem)
    return [problem for _, problem in open_problems.values()]


def _kind(run: DagsterRun) -> str:
    return run.tags.get(STEP_TAG, run.job_name)


def _makes_good(good: DagsterRun, failed: DagsterRun, settings: Settings) -> bool:
    if _kind(good) != _kind(failed) or good.job_name != failed.job_name:
        return False
    if _kind(good) in _VERSIONED and _version(good, settings) != _version(failed, settings):
        return False
    if STEP_TAG in good.tags and STEP_TAG in failed.tags:
        # Of whatever dates: the next day's run is of the same kind. What a retry leaves out was there already.
        return all(_meet(good.tags.get(tag), failed.tags.get(tag)) for tag in (SERIES_TAG, MODELS_TAG))
    start, end = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    ends = (good.tags.get(start, ""), failed.tags.get(start, ""), failed.tags.get(end, ""), good.tags.get(end, ""))
    return ends[0] <= ends[1] and ends[2] <= ends[3]


def _version(run: DagsterRun, settings: Settings) -> str:
    return run.tags.get(VERSION_TAG, settings.model_version)


def _meet(one: str | None, other: str | None) -> bool:
    """Whether two tags name anything in common; one that is not there names all."""
    return one is None or other is None or not set(one.split("+")).isdisjoint(other.split("+"))


def _signature(error: str) -> str:
    """The error without what differs from day to day."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", error)[:600]


_HEAD = re.compile(r"^\w+: \d+ keys failed, \d+ are there\.$")
"""The first line of a step's failure, before those of its series."""

_LATE = re.compile(r"data of (\w+) end on \S+, \d+ days before the last session due")


def _late_data(error: str) -> tuple[str, ...]:
    """The keys of the problems that a run failed for, where it failed for nothing but series whose data are late."""
    lines = [line for line in error.splitlines() if line.strip() and not _HEAD.search(line)]
    if not lines or not all(_LATE.search(line) for line in lines):
        return ()
    return tuple(sorted({f"late/{name}" for line in lines for name in _LATE.findall(line)}))


def error_of(instance: DagsterInstance, run_id: str) -> str:
    """Why a run failed: its failed steps' descriptions or errors, else what ended the run."""
    from dagster import DagsterEventType

    steps = instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE)
    texts = []
    for entry in steps:
        data = entry.get_dagster_event().step_failure_data
        described = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause if data.error is not None and data.error.cause is not None else data.error
        texts.append(f"{entry.step_key}: {described or (error.message.strip() if error else 'failed')}")
    if not texts:
        for entry in instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE):
            event = entry.get_dagster_event()
            failure = getattr(event.event_specific_data, "error", None)
            texts.append(failure.message.strip() if failure is not None else event.message or "the run failed")
    return "\n".join(texts) or "the run failed without saying why"


def _affected(run: DagsterRun) -> str:
    tags = run.tags
    span = tags.get(SPAN_TAG, "").replace("..", " to ")
    if not span:
        span = " to ".join(tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end")).strip()
    series = tags.get(SERIES_TAG, "").replace("+", ", ")
    models = tags.get(MODELS_TAG, "all models").replace("+", ", ") if STEP_TAG in tags else ""
    return "; ".join(part for part in (f"job {run.job_name}", span, series, models) if part)


def _where(instance: DagsterInstance, settings: Settings, run: DagsterRun) -> str:
    """Where the whole log of a run is."""
    from dagster import DagsterEventType

    place = f"run {run.run_id} at {settings.ui_url}/runs/{run.run_id}"
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.LOGS_CAPTURED):
        captured: Any = entry.get_dagster_event().event_specific_data
        key = [run.run_id, "compute_logs", captured.file_key]
        location = instance.compute_log_manager.get_log_metadata(key).stderr_location
        if location:
            return f"{place}; its output in {location}"
    return place


def tick_problems(
    instance: DagsterInstance, settings: Settings, crons: Mapping[str, tuple[str, str]], now: dt.datetime
) -> list[Problem]:
    """Schedules that had no tick when one was due, and schedules or sensors whose last tick failed.

    crons: schedule -> cron expression and zone.
    """
    zone, link = settings.timezone, f"{settings.ui_url}/automation"
    from dagster._core.scheduler.instigation import TickStatus

    # What has ticked no more since then is not in the code any more, or has long been made up for.
    told = LOOK_BACK.total_seconds()
    found = []
    for state in instance.all_instigator_state():
        if not state.is_running:
            continue
        name = state.instigator_name
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=3)
        over = [tick for tick in ticks if tick.status != TickStatus.STARTED]
        if over and over[0].status == TickStatus.FAILURE and now.timestamp() - over[0].timestamp < told:
            error = over[0].error.message.strip() if over[0].error else "no error was recorded"
            cause, mend = explain(error, f"the ticks of {name} in the UI (Automation)")
            found.append(
                Problem(
                    key=f"tick/{name}",
                    what=f"{name} failed: {error[:1000]}",
                    since=in_zone(over[0].timestamp, zone),
                    affected=f"what {name} starts",
                    cause=cause,
                    mend=mend,
                    link=link,
                )
            )
        if name in crons:
            newest = max((tick.timestamp for tick in ticks), default=0.0)
            due = last_due(*crons[name], now - TICK_GRACE)
            found += _missed(name, due, newest, _started(state), now, zone, link)
    return found


def _started(state: Any) -> float:
    data = state.instigator_data
    return float(getattr(data, "start_timestamp", None) or 0.0)


def _missed(
    name: str, due: float, newest: float, started: float, now: dt.datetime, zone: str, link: str
) -> Iterable[Problem]:
    # A schedule has no tick before it was switched on; and what was missed longer ago is made up for by then.
    if newest >= due or started > due or now.timestamp() - due > LOOK_BACK.total_seconds() or not (newest or started):
        return
    yield Problem(
        key=f"schedule/{name}",
        what=f"the schedule {name} did not run at {in_zone(due, zone)}",
        since=in_zone(due, zone),
        affected=f"what {name} starts; the sensors make up for it as soon as they run",
        cause="the daemon was not running at that time",
        mend="see that the daemon runs (`forecast-platform health`) and starts with the machine",
        link=link,
    )


def last_due(cron: str, zone: str, before: dt.datetime) -> float:
    """The newest time (Unix seconds) at which `cron` was due, at or before `before`."""
    from dagster._utils.schedules import reverse_cron_string_iterator

    return float(next(reverse_cron_string_iterator(before.timestamp(), cron, zone)).timestamp())


def daily_subjects(platform: Platform) -> frozenset[str]:
    """What the daily run makes, as checks name it: each series, and each series, model and version."""
    from forecast_platform.pipeline.champions import versions_to_run

    names = platform.settings.series_names
    made = (f"{series} {model} {version}" for series in names for model, version in versions_to_run(platform))
    return frozenset({*names, *made})


def check_problems(
    instance: DagsterInstance,
    settings: Settings,
    keys: Iterable[AssetCheckKey],
    subjects: Set[str] | None = None,
    *,
    timely: bool = True,
) -> list[Problem]:
    """Asset checks that failed for a subject (a series, or a series, model and version) and did not pass for it since:
    a problem each.

    subjects: the subjects that the daily run makes; of others nothing is told. A check that broke is a failed run.
    timely: whether also to tell what was late when the check was made. Of a series that has ended that is never told:
    nothing runs that would make the check again.
    """
    return [problem for key in keys for problem in _check_problems(instance, settings, key, subjects, timely)]


def _check_problems(
    instance: DagsterInstance, settings: Settings, key: AssetCheckKey, subjects: Set[str] | None, timely: bool
) -> Iterator[Problem]:
    """What is open of one check by its newest evaluation."""
    newest = newest_evaluation(instance, key)
    if newest is None or newest[0].passed:
        return
    evaluation, at = newest
    name = f"{key.asset_key.to_user_string()}: {key.name}"
    by_subject: dict[str, list[Finding]] = {}
    for finding in failing(evaluation):
        if not _lateness(key, finding) or (timely and not _over(settings, finding)):
            by_subject.setdefault(finding.subject, []).append(finding)
    for subject, findings in by_subject.items():
        if subjects is None or subject in subjects:
            severe = any(one.severity == "error" for one in findings)
            found = list(dict.fromkeys(one.found for one in findings))
            mends = list(dict.fromkeys(one.mend for one in findings if one.mend))
            yield Problem(
                key=f"check/{name}/{subject}",
                what=f"{subject}: {'; '.join(found)}"[:1500],
                since=in_zone(at, settings.timezone),
                affected=subject,
                cause=f"found by the check {key.name} of {key.asset_key.to_user_string()}",
                mend="; ".join(mends) or "look at the check's figures, by the link",
                severity="error" if severe else "warning",
                link=f"{settings.ui_url}/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
                because=(f"late/{subject.split()[0]}",) if all(_lateness(key, one) for one in findings) else (),
            )


def _lateness(key: AssetCheckKey, finding: Finding) -> bool:
    """Whether a finding says that a close or a forecast was not there yet when the check was made."""
    return key.name == STALE or (key.name == ON_TIME and finding.found.startswith(NOT_YET))


def _over(settings: Settings, finding: Finding) -> bool:
    series = finding.subject.split()[0]
    return series in settings.series_names and ended_on(settings, series) is not None
