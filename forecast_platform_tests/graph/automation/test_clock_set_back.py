"""The clock was ahead and is right again: nothing waits until it has caught up."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from dagster import DagsterRunStatus

from forecast_platform.graph import requested_runs
from forecast_platform.graph.automation.requests import Claims, Request, standing
from forecast_platform.graph.automation.watch import look
from forecast_platform.warehouse.schemas import POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.test_daily import TUESDAY, attempt
from forecast_platform_tests.graph.automation.test_ticks import SUNDAY, simulate
from forecast_platform_tests.graph.automation.test_watch import NOW, files
from forecast_platform_tests.worlds import days, settings_for

AHEAD = dt.timedelta(days=30)
TEN = dt.timedelta(minutes=10)
REQUEST = Request("ingest", TUESDAY, TUESDAY, ("Coffee",), "d1")


def test_a_run_that_failed_while_the_clock_was_ahead_is_tried_again_at_once() -> None:
    failed = [attempt(REQUEST, "failure", NOW + AHEAD)]
    assert standing(REQUEST, failed, NOW, most=3, wait=TEN).state == "new"
    failed = [attempt(REQUEST, "failure", NOW)]
    assert standing(REQUEST, failed, NOW + TEN / 2, most=3, wait=TEN).state == "waiting"


def test_a_claim_that_was_made_while_the_clock_was_ahead_binds_nobody() -> None:
    claims = Claims()
    assert claims.take([(REQUEST, 0)], "daily", NOW + AHEAD)[0]
    assert claims.take([(REQUEST, 0)], "new_data", NOW)[0]
    assert not claims.take([(REQUEST, 0)], "daily", NOW)[0], "it is the other's now"


def test_a_file_that_was_first_seen_while_the_clock_was_ahead_settles() -> None:
    seen, _ = look(None, files(1 - AHEAD.total_seconds()), NOW + AHEAD, 20)
    seen, word = look(seen, files(1 - AHEAD.total_seconds()), NOW, 20)
    assert word
    assert look(seen, files(1 - AHEAD.total_seconds()), NOW + dt.timedelta(seconds=21), 20)[1] == ""


def test_a_job_that_was_cancelled_while_the_clock_was_ahead_ends() -> None:
    one = SimpleNamespace(requested_at=(NOW + AHEAD).isoformat(), submitted_at=None, created_at=NOW.isoformat())
    assert requested_runs.is_lost(one, NOW)
    one.requested_at = (NOW - dt.timedelta(seconds=5)).isoformat()
    assert not requested_runs.is_lost(one, NOW)


def test_a_job_whose_run_failed_while_the_clock_was_ahead_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = (NOW + AHEAD).timestamp()
    instance = SimpleNamespace(run_retries_enabled=True, get_run_record_by_id=lambda _: SimpleNamespace(end_time=ended))
    run = SimpleNamespace(run_id="1", tags={}, status=DagsterRunStatus.FAILURE)
    monkeypatch.setattr(requested_runs.time, "time", NOW.timestamp)
    assert not requested_runs.goes_on(instance, run)
    monkeypatch.setattr(requested_runs.time, "time", lambda: ended + 1)
    assert requested_runs.goes_on(instance, run)


@pytest.mark.slow
def test_a_day_whose_clock_was_a_day_ahead_and_then_an_hour_behind_ends_as_an_undisturbed_one(
    small: Path, tmp_path: Path
) -> None:
    still = tmp_path / "still"
    shutil.copytree(small, still)
    for root in (still, small):
        simulation = simulate(root, SUNDAY, 9, catch_up_days=1)
        if root is small:
            simulation.local(SUNDAY + dt.timedelta(days=1), 9)
            for name in ("new_data", "daily_forecast", "train_missing_windows"):
                simulation.sensor(name)
            simulation.local(SUNDAY, 9)
            simulation.sensor("daily_forecast")
            simulation.local(SUNDAY, 8, 5)
        assert simulation.until_quiet("daily_forecast") == "2018-04-01 is complete"
        assert {status for *_, status in simulation.runs} == {"SUCCESS"}
        asked = [key for _, key, _ in simulation.runs]
        assert len(asked) == len(set(asked)), "no run is made twice"
    found = []
    for root in (still, small):
        # Tomorrow's forecast was made, too, of what was due by then.
        past = {"forecast_date": days("2017-07-01", str(SUNDAY))}
        rows = Platform.from_settings(settings_for(root)).warehouse.read(POINT_FORECASTS, where=past)
        # Whether it was made on its day goes by the clock of then.
        rows = rows.drop_columns(
            [name for name in ("generation_timestamp", "is_backfill") if name in rows.column_names]
        )
        found.append(rows.sort_by([(name, "ascending") for name in POINT_FORECASTS.key]))
    assert found[0].num_rows
    differ = [name for name in found[0].column_names if found[0][name].to_pylist() != found[1][name].to_pylist()]
    # What became of the dates before is known as far as the clock went.
    assert set(differ) <= {"actual_close"}
    closes = zip(*(rows["actual_close"].to_pylist() for rows in found), strict=True)
    assert all(one == other for one, other in closes if one is not None)
