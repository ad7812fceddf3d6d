"""A range that holds no partition fails and says why; a shell's order of series does not matter."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.graph.keys import INGEST, Keys
from forecast_platform.graph.partitions import key, range_tags
from forecast_platform.runs.launch import Launcher
from forecast_platform_tests.worlds import settings_for


@pytest.mark.parametrize(
    ("start", "end"),
    [(key("2018-01-05", "Alpha"), key("2018-01-02", "Alpha")), (key("2018-01-02", "Beta"), key("2018-01-05", "Alpha"))],
    ids=["dates", "series"],
)
def test_a_range_that_ends_before_it_starts_fails_by_name(small: Path, start: str, end: str) -> None:
    launcher = Launcher(settings_for(small))
    tags = {"dagster/asset_partition_range_start": str(start), "dagster/asset_partition_range_end": str(end)}
    job = launcher.definitions.resolve_job_def(INGEST)
    done = job.execute_in_process(instance=launcher.instance, tags=tags, raise_on_error=False)
    assert not done.success
    said = [event.step_failure_data.user_failure_data for event in done.all_events if event.is_step_failure]
    assert any(one is not None and f"no partition lies between {start} and {end}" in one.description for one in said)


def test_series_in_any_order_are_one_range(small: Path) -> None:
    launcher = Launcher(settings_for(small))
    done = launcher.run(INGEST, [Keys().unified_data], dt.date(2018, 1, 2), dt.date(2018, 1, 3), ["Beta", "Alpha"])
    assert done.success
    assert done.totals["unified_data"]["keys_skipped"] == 4


def test_an_empty_range_has_no_tags() -> None:
    with pytest.raises(ValueError, match="holds no partition"):
        range_tags(dt.date(2018, 1, 3), dt.date(2018, 1, 2), ["Alpha"])
