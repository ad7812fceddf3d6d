"""From a run to what is to be examined, and from findings to what Dagster shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    partition_loading_context,
)

from forecast_platform import partitions
from forecast_platform.checks.findings import Finding, Target
from forecast_platform.pipeline.platform import Platform

EXAMINED, AFFECTED = "examined", "affected"
"""Metadata of an evaluation: the subjects it looked at, and those that failed; each a series, or a series, model and
version. Runs of several versions or series evaluate one check, and its newest evaluation speaks for its own alone."""


@dataclass(frozen=True)
class Request:
    """What a check is to look at: of a run its keys, by series; without one (a check run by itself) everything new."""

    platform: Platform
    version: str
    keys: dict[str, list[dt.date]] | None

    @property
    def series(self) -> list[str]:
        """The series to examine."""
        return list(self.platform.settings.series_names if self.keys is None else self.keys)

    def target(self, series: str, model: str) -> Target:
        """A series and model in the version of the run."""
        return Target(series, model, self.version, self.platform.settings.model_version)


def request(context: AssetCheckExecutionContext) -> Request:
    """What the run that this check is part of was about."""
    platform: Platform = context.resources.platform
    version = platform.options(context.run.tags).version
    if not (context.has_partition_key or context.has_partition_key_range):
        return Request(platform, version, None)
    return Request(platform, version, partitions.by_series(context.partition_keys, platform.settings.series_names))


def spec(asset: AssetKey, name: str, description: str, *, blocking: bool = False) -> AssetCheckSpec:
    """One check of an asset."""
    return AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def recorded(results: Iterable[AssetCheckResult]) -> Iterator[AssetCheckResult]:
    """`results`, each handed to Dagster as of the beginning of this hour.

    For every result Dagster lists all partitions of the asset that are there now, thousands of them, and keeps the
    list only while now stays the same. The partitions of a run do not change within it.
    """
    hour = dt.datetime.now(dt.timezone.utc).replace(minute=0, second=0, microsecond=0)
    with partition_loading_context(effective_dt=hour):
        yield from results


def result(asset: AssetKey, name: str, findings: Sequence[Finding]) -> AssetCheckResult:
    """The check's evaluation: failed where any finding is, as severe as the worst, saying what to do."""
    failed = [finding for finding in findings if not finding.passed]
    severe = any(finding.severity == "error" for finding in failed)
    shown = failed or findings
    metadata: dict[str, float | int | str] = {}
    for finding in findings:
        for figure, value in finding.figures.items():
            metadata[f"{finding.subject}: {figure}"] = value
    metadata[EXAMINED] = ", ".join(dict.fromkeys(finding.subject for finding in findings))
    if failed:
        metadata[AFFECTED] = ", ".join(dict.fromkeys(finding.subject for finding in failed))
    return AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not failed,
        severity=AssetCheckSeverity.ERROR if severe or not failed else AssetCheckSeverity.WARN,
        description="\n".join(dict.fromkeys(finding.text for finding in shown)) or "nothing to examine",
        metadata=metadata,
    )
