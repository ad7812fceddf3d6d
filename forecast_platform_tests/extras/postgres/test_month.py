"""A month by itself with Dagster's records in a real Postgres: the end of the simulated year, with a second series, a
window's begin, a daemon's death, a day of two daemons, and a new version."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter

from forecast_platform.graph.keys import Keys
from forecast_platform_tests.graph.automation import year_rules
from forecast_platform_tests.graph.automation.simulated_year import Year

pytestmark = pytest.mark.extra

FIRST, LAST = dt.date(2021, 12, 17), dt.date(2022, 1, 15)


def test_a_month_leaves_every_forecast_once_and_its_records_in_postgres(
    tmp_path: Path, landing: Path, instance_in: Callable[[Path], DagsterInstance]
) -> None:
    year = Year(tmp_path, landing, instance_in, FIRST, LAST).go()
    year_rules.check_month(year)
    # Another process sees it all.
    again = instance_in(tmp_path / "dagster")
    assert type(again.event_log_storage).__name__ == "PostgresEventLogStorage"
    assert len(again.get_runs(RunsFilter(statuses=[DagsterRunStatus.SUCCESS]))) == len(year.sim.runs)
    made = again.get_materialized_partitions(AssetKey(Keys().distributions("naive").path))
    assert {f"{day}|Coffee" for day in ("2021-12-17", "2022-01-15")} <= {str(one) for one in made}
