"""From a run to what is to be examined, and from findings to what Dagster shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    DagsterInstance,
    EventLogEntry,
    Failure,
    MetadataValue,
    partition_loading_context,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster_shared.serdes import deserialize_value
from sqlalchemy import Select, bindparam, select

from forecast_platform.graph import partitions
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.keys import Keys
from forecast_platform.host.finding import Finding
from forecast_platform.pipeline.champions import versions_to_run
from forecast_platform.work.platform import Platform

EARLIER = "Found by earlier runs, of what this one was not about:"
"""What separates a run's own findings from those that are still standing, in a check's description."""

OWN = "this_run_passed"
"""Metadata of a check that failed for what earlier runs had found: whether this run's own findings are good."""

_RECENT = 25
"""Evaluations among which the newest is looked for: more runs than can be queued at a time."""

_ENDED = (AssetCheckExecutionRecordStatus.SUCCEEDED.value, AssetCheckExecutionRecordStatus.FAILED.value)

_FAILING = "failing"
"""Metadata of a failed check: what is wrong, for the next evaluation to know."""


@dataclass(frozen=True)
class Examined:
    """What a check is to look at: of a run its keys, by series; without one (a check run by itself) everything new."""

    platform: Platform
    version: str
    keys: dict[str, list[dt.date]] | None
    group: tuple[str, ...]
    """The series of the asset's group."""

    @property
    def series(self) -> list[str]:
        """The series to examine."""
        return list(self.group if self.keys is None else self.keys)

    def target(self, series: str, model: str) -> Target:
        """A series and model in the version of the run."""
        return Target(series, model, self.version, self.platform.settings.model_version)


def examined_by(context: AssetCheckExecutionContext, keys: Keys) -> Examined:
    """What the run that this check of a group's asset is part of was about.

    Raises Failure where the run's range holds no partition, TypeError for a key of one dimension.
    """
    platform: Platform = context.resources.platform
    version = platform.options(context.run.tags).version
    [group] = [one.series for one in platform.settings.series_groups if one.name == keys.group]
    if not (context.has_partition_key or context.has_partition_key_range):
        return Examined(platform, version, None, group)
    found = partitions.by_series(context.partition_keys, group)
    if not found:
        chosen = context.partition_key_range
        raise Failure(partitions.nothing_between(chosen.start, chosen.end), allow_retries=False)
    return Examined(platform, version, found, group)


def spec(asset: AssetKey, name: str, description: str, *, blocking: bool = False) -> AssetCheckSpec:
    """One check of an asset."""
    return AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def recorded(
    context: AssetCheckExecutionContext, asked: Examined, found: Mapping[AssetCheckKey, Sequence[Finding]]
) -> Iterator[AssetCheckResult]:
    """The evaluation of each check, handed to Dagster as of the beginning of this hour.

    For every result Dagster lists all partitions of the asset that are there now, thousands of them, and keeps the
    list only while now stays the same. The partitions of a run do not change within it.
    """
    hour = dt.datetime.now(dt.timezone.utc).replace(minute=0, second=0, microsecond=0)
    with partition_loading_context(effective_dt=hour):
        for key, findings in found.items():
            yield result(key, findings, earlier(context.instance, asked, key, {one.subject for one in findings}))


def earlier(instance: DagsterInstance, asked: Examined, key: AssetCheckKey, examined: Collection[str]) -> list[Finding]:
    """What is wrong by the newest evaluation with subjects that are not `examined` now and are still made.

    Dagster shows the newest evaluation alone, and a backfill makes a run a series: without these, one series' failure
    would be gone as soon as the next series' run is good. Raises TypeError for a storage that is not in SQL.
    """
    newest = newest_evaluation(instance, key)
    found = [one for one in failing(newest[0]) if one.subject not in examined] if newest else []
    if not found:
        return []
    names = asked.group
    versions = {asked.version, *(version for _, version in versions_to_run(asked.platform))}

    def counts(subject: str) -> bool:
        series, *more = subject.split()
        return series in names and (not more or more[-1] in versions)

    return [one for one in found if counts(one.subject)]


def newest_evaluation(instance: DagsterInstance, key: AssetCheckKey) -> tuple[AssetCheckEvaluation, float] | None:
    """The newest evaluation of a check that has ended, with its time as a timestamp, in seconds since 1970, UTC.

    Dagster orders evaluations by when their runs were planned: one that is made last may stand behind others. Its own
    query reads every record's event; this one sorts them by their times first and reads the newest. Raises TypeError
    for a storage that is not in SQL.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"checks are read from an event log in SQL, not from {type(storage).__name__}")
    with storage.index_connection() as connection:
        events = connection.execute(_newest(), {"asset": key.asset_key.to_string(), "name": key.name}).scalars().all()
    for text in events:
        event = deserialize_value(text, EventLogEntry) if text else None
        evaluation = event.dagster_event.event_specific_data if event and event.dagster_event else None
        # A check that broke has failed too, and has none.
        if event is not None and isinstance(evaluation, AssetCheckEvaluation):
            return evaluation, event.timestamp
    return None


@cache
def _newest() -> Select[Any]:
    """The query for a check, made once: a page asks for each of them."""
    table = AssetCheckExecutionsTable.c
    recent = (
        select(table.id, table.evaluation_event, table.evaluation_event_timestamp.label("at"))
        .where(
            table.asset_key == bindparam("asset"),
            table.check_name == bindparam("name"),
            table.execution_status.in_(_ENDED),
        )
        .order_by(table.id.desc())
        .limit(_RECENT)
        .subquery()
    )
    return select(recent.c.evaluation_event).order_by(recent.c.at.desc(), recent.c.id.desc())


def failing(evaluation: AssetCheckEvaluation) -> list[Finding]:
    """All that is wrong by an evaluation, with what earlier ones had found."""
    kept: Any = evaluation.metadata[_FAILING].value if _FAILING in evaluation.metadata else ()
    return [Finding(one["subject"], one["severity"], one["problem"], one["mend"]) for one in kept]


def result(key: AssetCheckKey, findings: Sequence[Finding], before: Sequence[Finding] = ()) -> AssetCheckResult:
    """The check's evaluation: failed where any finding is, as severe as the worst, saying what to do.

    Findings from `before` fail the check as well, but only warn: they are no reason to stop what depends on this run.
    """
    failed = [finding for finding in findings if not finding.passed]
    severe = any(finding.severity == "error" for finding in failed)
    metadata: dict[str, Any] = {}
    for finding in findings:
        for figure, value in finding.figures.items():
            metadata[f"{finding.subject}: {figure}"] = value
    if failed or before:
        metadata[_FAILING] = MetadataValue.json(
            [
                {"subject": one.subject, "problem": one.found, "mend": one.mend, "severity": one.severity}
                for one in (*failed, *before)
            ]
        )
    texts = [finding.text for finding in failed or ([] if before else findings)]
    if before:
        texts += [EARLIER, *(finding.text for finding in before)]
        metadata[OWN] = not failed
    return AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not (failed or before),
        severity=AssetCheckSeverity.WARN if not severe and (failed or before) else AssetCheckSeverity.ERROR,
        # A paragraph each: the UI reads descriptions as Markdown, in which a single line break is a space.
        description="\n\n".join(dict.fromkeys(texts)) or "nothing to examine",
        metadata=metadata,
    )
