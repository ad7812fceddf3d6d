"""Is everything as it should be? Answered from the tables and Dagster's records alone, so that it works with every
process of ours dead: for cron, systemd or an outside heartbeat, because alerts that live in the daemon die with it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forecast_platform.graph.keys import FORECAST, INGEST, SCORE, all_keys
from forecast_platform.host.home import instance_home, prepare_home
from forecast_platform.host.severity import RISING, SIGNAL, Severity, worst
from forecast_platform.host.times import in_zone
from forecast_platform.housekeeping.lateness import Fact, by_cause, data_facts, forecast_facts
from forecast_platform.housekeeping.repair import last_verified
from forecast_platform.settings import Settings, SettingsError
from forecast_platform.settings.groups import MAX_PARTITIONS, full_on
from forecast_platform.sources.base import SourceError
from forecast_platform.warehouse.base import WarehouseError
from forecast_platform.warehouse.damage import examine
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRecord

_DAY = dt.timedelta(days=1)

DAEMON_SILENT = dt.timedelta(minutes=5)
"""Without a heartbeat for this long a daemon is dead: it beats every half minute, and Dagster itself waits for 30."""

_MOST_FACTS = 40
"""Facts of one kind that are told one by one: two series of all models, or forty series of one."""

_MOST_NAMED = 10
"""Of more: those that are not good and told with their text."""

_MOST_DAMAGED = 5
"""Damaged files that are named."""

_MOST_CHECKS = 10
"""Failing checks that are named."""


@dataclass(frozen=True)
class HealthReport:
    """All facts of one moment."""

    at: dt.datetime
    facts: list[Fact] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        """The worst among the facts."""
        return worst(fact.severity for fact in self.facts)

    @property
    def healthy(self) -> bool:
        """Whether nothing is bad; warnings are not."""
        return self.severity in ("good", "warning")

    def lines(self) -> list[str]:
        """One line a fact, the worst first."""
        ordered = sorted(self.facts, key=lambda fact: -RISING.index(fact.severity))
        return [f"{SIGNAL[fact.severity]:<5}{fact.name}: {fact.text}" for fact in ordered]

    def to_json(self) -> str:
        """The report as a JSON object: state, healthy, at, facts."""
        facts = [{"name": fact.name, "state": SIGNAL[fact.severity], "text": fact.text} for fact in self.facts]
        at = self.at.isoformat(timespec="seconds")
        return json.dumps({"state": SIGNAL[self.severity], "healthy": self.healthy, "at": at, "facts": facts}, indent=1)


def health(settings: Settings, instance: DagsterInstance | None = None) -> HealthReport:
    """Look at forecasts, data, runs, daemons and disk. Never raises for what is wrong: that becomes a fact.

    instance: the Dagster instance in DAGSTER_HOME, where this process has it open already.
    """
    report = HealthReport(settings.now())
    report.facts.append(_disk(settings))
    platform = Platform.from_settings(settings)
    report.facts.extend(_partitions(settings))
    try:
        forecasts = list(forecast_facts(platform))
    except (SourceError, WarehouseError) as error:
        forecasts = [Fact("forecasts", "error", str(error))]
    data, forecasts = by_cause(data_facts(platform), forecasts)
    report.facts.extend(condensed("data", data))
    report.facts.extend(condensed("forecast", forecasts))
    report.facts.extend(_tables(platform))
    report.facts.extend(_instance(platform, instance))
    return report


def condensed(kind: str, facts: Sequence[Fact]) -> list[Fact]:
    """The facts of a kind, where they are many in a few lines: what is not good by name, the worst first."""
    if len(facts) <= _MOST_FACTS:
        return list(facts)
    wrong = sorted((fact for fact in facts if fact.severity != "good"), key=lambda fact: -RISING.index(fact.severity))
    found = [Fact(kind, "good", f"{len(facts) - len(wrong)} of {len(facts)} are as they ought to be")]
    found += wrong[:_MOST_NAMED]
    rest = wrong[_MOST_NAMED:]
    if rest:
        names = ", ".join(fact.name.removeprefix(f"{kind} ") for fact in rest)
        found.append(Fact(kind, rest[0].severity, f"{len(rest)} more are not: {names}"))
    return found


def _partitions(settings: Settings) -> Iterator[Fact]:
    """Groups that will have more partitions than Dagster recommends within a year: then the settings are refused."""
    for group in settings.series_groups:
        last = full_on(group, settings.start_date)
        if settings.end_date is None and last - settings.today() < dt.timedelta(days=365):
            yield Fact(
                f"partitions {group.name}".strip(),
                "warning",
                f"{group.title}: {len(group.series)} series are {MAX_PARTITIONS:,} partitions an asset on {last}, and "
                "no more than that are loaded: put some of them into another group before (setting groups)",
            )


def _tables(platform: Platform) -> Iterator[Fact]:
    """Whether the tables' files are there in full, and what the newest look at every byte found."""
    warehouse = platform.warehouse
    if not isinstance(warehouse, DeltaWarehouse):
        return
    damaged = []
    for table in warehouse.tables():
        try:
            damaged += [str(one) for one in examine(warehouse, table)]
        except OSError as error:
            damaged.append(f"{table.name}: {error.filename}: {error.strerror}")
    verified = last_verified(warehouse)
    damaged += [text for text in (verified[1] if verified else ()) if text not in damaged]
    if damaged:
        more = f"; and {len(damaged) - _MOST_DAMAGED} more" if len(damaged) > _MOST_DAMAGED else ""
        said = "; ".join(damaged[:_MOST_DAMAGED]) + more
        yield Fact("tables", "error", f"damaged: {said}; run `forecast-platform repair`")
        return
    when = "; every byte was looked at " + in_zone(verified[0], platform.settings.timezone) if verified else ""
    yield Fact("tables", "good", f"all files are there{when}")


def _disk(settings: Settings) -> Fact:
    folder = settings.warehouse
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    text = f"{free:.1f} GB free at {folder}, writes stop below {settings.min_free_gb} GB"
    if free < settings.min_free_gb:
        return Fact("disk", "error", f"{text}: they have stopped; free some space, or run `forecast-platform maintain`")
    if free < 5 * settings.min_free_gb:
        return Fact("disk", "warning", f"{text}; run `forecast-platform maintain` or free some space")
    return Fact("disk", "good", text)


def _instance(platform: Platform, opened: DagsterInstance | None) -> Iterator[Fact]:
    """Runs, daemons and checks, from the instance in DAGSTER_HOME; it is opened, never created."""
    settings = platform.settings
    home = instance_home(settings)
    if not (home / "dagster.yaml").is_file():
        yield Fact("dagster", "error", f"no instance in {home}: run `forecast-platform up`, or set DAGSTER_HOME")
        return
    from dagster import DagsterError, DagsterInstance
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if opened is None:
            prepare_home(settings)
        asked: AbstractContextManager[DagsterInstance] = (
            DagsterInstance.from_config(str(home)) if opened is None else nullcontext(opened)
        )
        with asked as instance:
            yield from _runs(platform, instance)
            yield from _daemons(settings, instance)
            yield from _checks(platform, instance)
    except (DagsterError, SQLAlchemyError, OSError, SettingsError) as error:
        yield Fact("dagster", "error", f"the records in {home} cannot be read: {error}")


def _runs(platform: Platform, instance: DagsterInstance) -> Iterator[Fact]:
    from dagster import DagsterRunStatus, RunsFilter

    settings = platform.settings

    for job in (INGEST, FORECAST, SCORE):
        ended = {keys.group: _newest_success(instance, keys.job(job)) for keys in all_keys(settings)}
        never = ", ".join(name for name, at in ended.items() if at is None and name)
        times = [at for at in ended.values() if at is not None]
        if len(times) < len(ended):
            yield Fact(f"last {job}", "warning", f"no run{f' of {never}' if never else ''} has succeeded yet")
        else:
            oldest = f", the oldest of {len(times)} groups" if len(times) > 1 else ""
            yield Fact(f"last {job}", "good", f"succeeded {in_zone(min(times), settings.timezone)}{oldest}")
    since = settings.now() - _DAY
    failed = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=since), limit=500)
    jobs = {run.dagster_run.job_name for run in failed}
    newest = {job: _newest_success(instance, job) or 0.0 for job in jobs}
    ingests = {keys.job(INGEST) for keys in all_keys(settings)}
    if any(_is_open(run, newest) and run.dagster_run.job_name in ingests for run in failed) and _holds_all(platform):
        # What was refused was taken back: no run was needed after it.
        newest |= dict.fromkeys(ingests, settings.now().timestamp())
    yield _failures(failed, newest)


def _is_open(run: RunRecord, newest: Mapping[str, float]) -> bool:
    """Whether no run of the job has succeeded since it failed."""
    return (run.end_time or 0) > newest[run.dagster_run.job_name]


def _holds_all(platform: Platform) -> bool:
    """Whether the source refuses nothing, and has nothing that unified_data lacks."""
    from forecast_platform.pipeline.ingest import changes

    try:
        found, rejections = changes(platform, platform.settings.series_names)
    except (SourceError, WarehouseError, OSError):
        return False
    return not found and not rejections


def _newest_success(instance: DagsterInstance, job: str) -> float | None:
    """When the newest run of a job that succeeded ended; None where none has."""
    from dagster import DagsterRunStatus, RunsFilter

    found = instance.get_run_records(RunsFilter(job_name=job, statuses=[DagsterRunStatus.SUCCESS]), limit=1)
    return found[0].end_time if found else None


def _failures(failed: Sequence[RunRecord], newest: Mapping[str, float]) -> Fact:
    """Failures of the last day; those that a later success of the same job made good are no fault."""
    if not failed:
        return Fact("failed runs", "good", "none in the last day")
    open_ = [run for run in failed if _is_open(run, newest)]
    shown = ", ".join(f"{run.dagster_run.job_name} {run.dagster_run.run_id[:8]}" for run in (open_ or failed)[:4])
    if open_:
        return Fact(
            "failed runs", "error", f"{len(open_)} in the last day, not made good since: {shown}; see their logs"
        )
    return Fact("failed runs", "good", f"{len(failed)} in the last day, each made good since: {shown}")


def _daemons(settings: Settings, instance: DagsterInstance) -> Iterator[Fact]:
    """Those that are alive, those of them that had errors lately, and those that are not, a fact each."""
    required = [kind for kind, status in instance.get_daemon_statuses().items() if status.required]
    beats = {kind: beat for kind, beat in instance.get_daemon_heartbeats().items() if kind in required}
    oldest_good = settings.now().timestamp() - DAEMON_SILENT.total_seconds()
    alive = {kind: beat for kind, beat in sorted(beats.items()) if beat.timestamp >= oldest_good}
    if alive:
        oldest = min(beat.timestamp for beat in alive.values())
        yield Fact("daemons", "good", f"{', '.join(alive).lower()}: heartbeat {in_zone(oldest, settings.timezone)}")
    for kind, beat in alive.items():
        if beat.errors:
            error = beat.errors[0].message.strip()
            yield Fact("daemons", "warning", f"{kind.lower()}: runs, with errors in the last minutes: {error}")
    dead = sorted(kind for kind in required if kind not in alive)
    if not dead:
        return
    if not settings.automated:
        yield Fact("daemons", "warning", "not running; automation is off for this source")
        return
    known = [beats[kind].timestamp for kind in dead if kind in beats]
    what = f"no heartbeat since {in_zone(max(known), settings.timezone)}" if known else "never started"
    mend = "nothing is started by itself; run `forecast-platform up`"
    yield Fact("daemons", "error", f"{', '.join(dead).lower()}: {what}: {mend}")


def _checks(platform: Platform, instance: DagsterInstance) -> Iterator[Fact]:
    """Asset checks that fail for what the daily run makes, as the alerts tell them."""
    from forecast_platform.graph.automation.detect import check_problems, daily_subjects
    from forecast_platform.graph.checks.catalog import platform_checks

    keys = [key for checks in platform_checks(platform.settings) for key in checks.check_keys]
    try:
        subjects = daily_subjects(platform)
    except WarehouseError as error:
        yield Fact("checks", "warning", f"not looked at: {error}")
        return
    # What is late is told of this moment, above.
    found = check_problems(instance, platform.settings, keys, subjects, timely=False)
    found.sort(key=lambda problem: problem.severity == "warning")  # where not all are named, the worst are
    for problem in found[:_MOST_CHECKS]:
        said = problem.what.removeprefix(f"{problem.affected}: ")
        yield Fact(problem.key, problem.severity, f"{said}; {problem.mend}")
    if len(found) > _MOST_CHECKS:
        yield Fact(
            "checks", "warning", f"{len(found) - _MOST_CHECKS} more fail: see Checks on the assets' pages in the UI"
        )
    if not found:
        yield Fact("checks", "good", "none fails")
