"""Whether a run would find everything as it is: then a command starts none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forecast_platform.pipeline.actuals import actuals_are_stored, open_before
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.warehouse.base import months_between
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance

    from forecast_platform.graph.keys import Keys


def nothing_to_forecast(
    instance: DagsterInstance,
    platform: Platform,
    series: Sequence[str],
    models: Sequence[str],
    version: str,
    first: dt.date,
    last: dt.date,
) -> bool:
    """Whether a forecast run over first..last of `series` of one group would write nothing, and Dagster knows all of it
    as good.

    That is: paths, point forecasts and actuals are there and of today's data and models; every partition is recorded
    as materialized, by no run that failed on it since; and every check of these assets was made, without an error of
    these series. A warning stands either way: of the same tables a run would say it again. The plan is the one that the
    run itself would make.
    """
    from forecast_platform.graph.keys import FORECAST, keys_of

    dates = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    if any(_lacking(platform, name, model, version, first, last) for name in series for model in models):
        return False
    for name in series:
        for model in models:
            found = plan(platform, name, model, version, dates)
            if found.chunks or found.failed or found.repair:
                return False
        if not actuals_are_stored(platform, name, [*open_before(platform, name, first), *dates]):
            return False
    keys = keys_of(platform.settings, series[0])
    return _recorded(instance, keys.of_job(FORECAST, models), series, dates) and _checked(
        instance, keys, models, series
    )


def _lacking(platform: Platform, series: str, model: str, version: str, first: dt.date, last: dt.date) -> bool:
    """Whether the months of first..last hold fewer paths than these dates have: counted, not read, so that a run which
    is needed anyway is not planned twice."""
    where = {"commodity": series, "model_name": model, "model_version": version}
    held = platform.warehouse.rows(DISTRIBUTIONS, {**where, "forecast_month": months_between(first, last)})
    return held < ((last - first).days + 1) * platform.settings.n_paths


def _recorded(
    instance: DagsterInstance, keys: Sequence[AssetKey], series: Sequence[str], dates: Sequence[dt.date]
) -> bool:
    """Whether Dagster shows all of these partitions as materialized."""
    from forecast_platform.graph import partitions

    wanted = {str(partitions.key(day, name)) for name in series for day in dates}
    storage = instance.event_log_storage
    return all(
        wanted <= storage.get_materialized_partitions(key)
        and wanted.isdisjoint(storage.get_latest_asset_partition_materialization_attempts_without_materializations(key))
        for key in keys
    )


def _checked(instance: DagsterInstance, keys: Keys, models: Sequence[str], series: Sequence[str]) -> bool:
    """Whether every check of these models' forecasts was made, and its newest evaluation holds no error of these
    series."""
    from forecast_platform.graph.checks.forecasts import forecasts_checks
    from forecast_platform.graph.checks.report import failing, newest_evaluation

    for model in models:
        for key in forecasts_checks(model, keys).check_keys:
            newest = newest_evaluation(instance, key)
            if newest is None:
                return False
            if any(one.severity == "error" and one.subject.split()[0] in series for one in failing(newest[0])):
                return False
    return True
