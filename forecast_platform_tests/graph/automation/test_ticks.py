"""Schedules and sensors as Dagster evaluates them, over a small trained platform."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    build_schedule_context,
)
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster._utils.error import SerializableErrorInfo

from forecast_platform.definitions import build_definitions
from forecast_platform.graph.automation.detect import TICK_GRACE, tick_problems
from forecast_platform.graph.automation.messages import Message
from forecast_platform.graph.automation.problems import AlertBook
from forecast_platform.graph.automation.revisions import Revision, refresh_command
from forecast_platform.graph.automation.schedules import crons
from forecast_platform.host.times import in_zone
from forecast_platform.pipeline import champions
from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.read import Reader
from forecast_platform.settings import Settings, build
from forecast_platform.warehouse.schemas import FORECAST_RUNS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.simulation import Simulation, memory_instance
from forecast_platform_tests.worlds import settings_for, write_landing

pytestmark = pytest.mark.slow

SUNDAY = dt.date(2018, 4, 1)
"""The last complete day of the small platform: Good Friday, a Saturday and this Sunday follow its last close."""


def simulate(root: Path, day: dt.date, hour: int, **changes: object) -> Simulation:
    settings = settings_for(root, **{"notifiers": ("recorder",), **changes})
    simulation = Simulation(
        settings, memory_instance(root / "dagster"), dt.datetime(2018, 1, 1, tzinfo=dt.timezone.utc)
    )
    simulation.local(day, hour)
    age_files(simulation)
    return simulation


def age_files(simulation: Simulation, seconds: float = 3600) -> None:
    """Give every landing file the same age, by the simulated clock."""
    assert simulation.settings.landing is not None
    stamp = simulation.clock.at.timestamp() - seconds
    for path in simulation.settings.landing.rglob("*.csv"):
        os.utime(path, (stamp, stamp))


def _statuses(settings: Settings) -> set[bool]:
    repository = build_definitions(settings).get_repository_def()
    schedules = {one.default_status == DefaultScheduleStatus.RUNNING for one in repository.schedule_defs}
    # Training jobs bring their own data: their sensor is on whatever the daily graph does.
    sensors = [one for one in repository.sensor_defs if one.name != "training_jobs"]
    return schedules | {one.default_status == DefaultSensorStatus.RUNNING for one in sensors}


def test_automation_is_on_but_for_a_source_that_has_ended_or_where_it_is_switched_off(
    tmp_path: Path, small: Path
) -> None:
    assert _statuses(build(warehouse=tmp_path)) == {False}
    assert _statuses(settings_for(small)) == {True}
    assert _statuses(settings_for(small, automation=False)) == {False}


def test_times_and_zone_of_the_schedules_are_settings(small: Path) -> None:
    found = crons(settings_for(small))
    assert found == {
        "training": ("0 0 1 1,7 *", "America/Los_Angeles"),
        "daily": ("0 8 * * *", "America/Los_Angeles"),
    }
    other = crons(settings_for(small, daily_time="06:30", training_time="01:15", timezone="UTC"))
    assert other == {"training": ("15 1 1 1,7 *", "UTC"), "daily": ("30 6 * * *", "UTC")}


def test_a_training_schedule_asks_for_one_run_of_all_models_and_series(small: Path, tmp_path: Path) -> None:
    """Through Dagster's own context and an instance on disk. The version v2.0 has no models yet."""
    clock = dt.datetime(2018, 1, 1, 8, tzinfo=dt.timezone.utc)
    settings = settings_for(small, model_version="v2.0").with_clock(lambda: clock)
    (tmp_path / "home").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        repository = build_definitions(settings).get_repository_def()
        with build_schedule_context(instance, clock, repository_def=repository) as context:
            data = repository.get_schedule_def("training").evaluate_tick(context)
    [request] = data.run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == "2018-01-01|Alpha"
    assert request.tags["dagster/asset_partition_range_end"] == "2018-01-01|Beta"
    assert set(request.asset_selection or ()) == {AssetKey(["trained_models", model]) for model in settings.models}
    assert request.run_key == "train/2018-01-01..2018-01-01/Alpha+Beta/v2.0/naive+random_walk/" + str(
        request.tags["forecast_platform/data"]
    )


def test_training_waits_for_the_last_session_before_its_window(small: Path) -> None:
    found = simulate(small, dt.date(2018, 7, 1), 0).schedule("training")
    assert found[0] == []
    assert "window 2018-07-01: waits for the close of Alpha of 2018-06-29 (newest 2018-03-29)" in found[1]


def test_windows_that_lack_a_model_are_trained_newest_first_and_no_more_than_are_set(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9, model_version="v2.0", catch_up_windows=1, models=("naive",))
    assert simulation.sensor("train_missing_windows")[0] == ["SUCCESS"]
    assert simulation.runs[0][1].startswith("train/2018-01-01..2018-01-01/Alpha+Beta/v2.0/naive/")
    assert simulation.sensor("train_missing_windows") == ([], "every window has its models")


def test_a_sunday_is_forecast_from_fridays_or_older_closes_and_scored(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 8, catch_up_days=1)
    assert simulation.sensor("daily_forecast") == ([], "the schedule daily starts the day")
    simulation.local(SUNDAY, 8, 2)
    assert simulation.until_quiet("daily_forecast") == "2018-04-01 is complete"
    # Saturday's row repeats Thursday's close: it is written on Sunday, and nothing new is waited for.
    assert [key.split("/")[0] for _, key, _ in simulation.runs] == ["ingest", "forecast", "score"]
    assert simulation.runs[0][1].startswith("ingest/2018-03-30..2018-03-31/Alpha+Beta/")
    assert {status for *_, status in simulation.runs} == {"SUCCESS"}


def test_the_day_s_forecast_run_completes_the_actuals_of_the_dates_before_it(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9, catch_up_days=1)
    platform = Platform.from_settings(simulation.settings)
    day = SUNDAY - dt.timedelta(days=14)
    write_actuals(platform, "Alpha", [day])
    reader = Reader(simulation.settings, platform.warehouse)
    assert np.isnan(reader.actuals("Alpha", day)[day][12:]).all()
    simulation.until_quiet("daily_forecast")
    # Its last day is the Saturday before, whose row this Sunday's ingest brings.
    assert np.isfinite(reader.actuals("Alpha", day)[day]).all()
    made = simulation.instance.get_materialized_partitions(AssetKey(["distributions", "actuals"]))
    assert made == {"2018-03-18|Alpha", "2018-04-01|Alpha", "2018-04-01|Beta"}


def test_a_champion_of_one_series_keeps_the_day_complete_for_all(small: Path) -> None:
    """Beta never had a model of Alpha's champion version: it is trained, and no run fails for want of it."""
    simulation = simulate(small, SUNDAY, 9, catch_up_days=1, catch_up_windows=1)
    platform = Platform.from_settings(simulation.settings)
    champions.promote(platform, "Alpha", "naive", "v0.9", "an older version", force=True)
    simulation.until_quiet("train_missing_windows")
    assert simulation.until_quiet("daily_forecast") == "2018-04-01 is complete"
    assert {status for *_, status in simulation.runs} == {"SUCCESS"}
    [signal] = platform.warehouse.read(FORECAST_RUNS, where={"forecast_date": SUNDAY}).to_pylist()
    assert (signal["status"], signal["missing"]) == ("complete", "")
    assert "naive:v0.9" in signal["models"]


def test_new_days_are_ingested_once_they_have_landed_whole(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9)
    assert simulation.sensor("new_data")[0] == ["SUCCESS"]
    assert simulation.sensor("new_data") == ([], "unified_data holds all of the source")
    shutil.copytree(write_landing(small / "later", seed=7), small / "landing", dirs_exist_ok=True)
    age_files(simulation, seconds=-1)
    assert "changed less than 20 s ago" in simulation.sensor("new_data")[1]
    simulation.clock.at += dt.timedelta(seconds=30)
    assert simulation.sensor("new_data")[1] == "the files' content is the same"
    assert simulation.sensor("new_data")[1] == "no file has changed"
    assert len(simulation.runs) == 1


def test_a_lost_cursor_starts_over_and_runs_nothing_twice(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9)
    simulation.until_quiet("new_data")
    simulation.cursors["new_data"] = "no cursor of ours"
    assert simulation.sensor("new_data") == ([], "unified_data holds all of the source")
    assert simulation.sensor("new_data") == ([], "no file has changed")


def _revise(path: Path, day: str) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join(_dearer(line) if line.startswith(day) else line for line in lines) + "\n")


def _dearer(line: str) -> str:
    cells = line.split(",")
    return ",".join([*cells[:4], f"{float(cells[4]) * 1.01:.4f}", *cells[5:]])


def test_revised_history_is_ingested_and_what_is_stale_is_told_with_the_command(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9, catch_up_days=5, catch_up_windows=1)
    platform = Platform.from_settings(simulation.settings)
    champions.promote(platform, "Alpha", "naive", "v0.9", "an older version", force=True)
    simulation.until_quiet("train_missing_windows")
    simulation.until_quiet("new_data")
    simulation.until_quiet("daily_forecast")
    simulation.settings.warehouse.joinpath("_alerts", "revisions.json").write_text('[{"seri')
    _revise(small / "landing" / "market" / "alpha.csv", "2018-03-28")
    age_files(simulation)
    assert simulation.sensor("new_data")[0] == ["SUCCESS"]
    simulation.sensor("alerts")
    [message] = [one for one in simulation.recorder.messages if one.problem.key.startswith("revised/")]
    assert message.problem.key == "revised/Alpha"
    assert "the source has revised rows of 2018-03-28" in message.problem.what
    assert "forecasts of Alpha of 2018-03-29 to 2018-04-01 by naive, naive v0.9, random_walk are stale" in (
        message.problem.affected
    )
    command = "forecast-platform backfill --commodity Alpha --start-date 2018-03-15 --end-date 2018-04-01"
    assert f"`{command}` and `{command} --model-version-tag v0.9 --models naive`" in message.problem.mend


@pytest.mark.parametrize(("horizon", "first"), [(7, "2018-03-22"), (14, "2018-03-15"), (60, "2018-01-28")])
def test_the_refresh_of_a_revision_begins_with_the_first_forecast_that_reaches_it(
    tmp_path: Path, horizon: int, first: str
) -> None:
    write_landing(tmp_path / "landing")
    platform = Platform.from_settings(settings_for(tmp_path, horizon=horizon))
    revision = Revision("Alpha", "2018-03-28", "2018-03-28", "2018-04-01T09:00:00+00:00", 3)
    command = refresh_command(platform, revision, dt.date(2018, 4, 1))
    assert command == f"forecast-platform backfill --commodity Alpha --start-date {first} --end-date 2018-04-01"


def test_a_refused_file_is_told_with_its_row(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9)
    simulation.until_quiet("new_data")
    path = small / "landing" / "market" / "alpha.csv"
    good = path.read_text()
    path.write_text(good.replace("2018-03-28,", "2018-03-28,x", 1))
    age_files(simulation)
    assert "refused: market/alpha.csv, row " in simulation.sensor("new_data")[1]
    simulation.sensor("alerts")
    path.write_text(good)
    age_files(simulation, seconds=1800)
    simulation.sensor("new_data")
    simulation.sensor("alerts")
    told = [one for one in simulation.recorder.messages if one.problem.key == "source/market/alpha.csv"]
    assert [message.resolved for message in told] == [False, True]
    assert "the source refused market/alpha.csv, row " in told[0].problem.what


def test_a_failed_run_is_one_message_with_its_cause_and_ends_with_a_good_run(small: Path) -> None:
    """Data that end three weeks ago: the run fails each day with the reason; it is one problem."""
    simulation = simulate(small, dt.date(2018, 4, 20), 11, catch_up_days=1)
    for day in (20, 21):
        simulation.local(dt.date(2018, 4, day), 11, 5)
        simulation.until_quiet("daily_forecast")
        simulation.until_quiet("alerts")
    about_us = [one for one in simulation.recorder.messages if not one.problem.key.startswith(("check/", "schedule/"))]
    assert Counter(one.problem.key.split("/")[0] for one in about_us) == {"late": 2}
    book = AlertBook(simulation.settings.warehouse / "_alerts", simulation.settings.now)
    # The run that fails and the forecasts that are missing have no other reason: they are in the book, and not told.
    by_key = {problem.key.split("/")[0]: problem for problem in book.open_problems()}
    problem = by_key["run"]
    assert "data of Alpha end on 2018-03-29, 21 days before the last session due" in problem.what
    assert problem.cause.startswith("the newest prices have not arrived")
    assert problem.link.startswith("http://127.0.0.1:3000/runs/")
    assert by_key["missing"].severity == "critical"
    assert by_key["missing"].because == by_key["run"].because == ("late/Alpha", "late/Beta")


def _tick(simulation: Simulation, name: str, at: dt.datetime, status: TickStatus, error: str = "") -> None:
    origin = RemoteInstigatorOrigin(simulation._origin, name)
    info = SerializableErrorInfo(error, [], None) if error else None
    selector = origin.get_selector().get_id()
    simulation.instance.create_tick(
        TickData(
            origin.get_id(), name, InstigatorType.SCHEDULE, status, at.timestamp(), error=info, selector_id=selector
        )
    )


@pytest.mark.parametrize("day", [dt.date(2018, 3, 10), dt.date(2018, 3, 11), dt.date(2018, 11, 4)])
def test_a_schedule_that_had_no_tick_is_told_until_it_has_one(small: Path, day: dt.date) -> None:
    """Also where clocks change in the night before."""
    simulation = simulate(small, day, 8)
    due = simulation.clock.at
    cron = crons(simulation.settings)
    simulation.local(day - dt.timedelta(days=1), 8)
    simulation.schedule("daily")
    simulation.clock.at = due
    place = (simulation.instance, simulation.settings, cron)
    early = tick_problems(*place, due + TICK_GRACE - dt.timedelta(minutes=1))
    assert [problem.key for problem in early] == []
    [problem] = tick_problems(*place, due + TICK_GRACE + dt.timedelta(minutes=1))
    assert problem.key == "schedule/daily"
    assert in_zone(due, "America/Los_Angeles") in problem.what
    simulation.schedule("daily", due=due)
    assert tick_problems(simulation.instance, simulation.settings, cron, due + dt.timedelta(hours=1)) == []


def test_a_tick_that_failed_is_told_with_its_cause(small: Path) -> None:
    simulation = simulate(small, SUNDAY, 9)
    at = simulation.clock.at
    _tick(simulation, "daily", at, TickStatus.FAILURE, "ModuleNotFoundError: No module named 'pmdarima'")
    [problem] = tick_problems(simulation.instance, simulation.settings, crons(simulation.settings), at)
    assert problem.key == "tick/daily"
    assert "install the package" in problem.mend


def test_a_notifier_that_is_down_does_not_stop_the_sensor(small: Path) -> None:
    simulation = simulate(small, dt.date(2018, 4, 20), 12)
    simulation.until_quiet("daily_forecast")
    broken = ConnectionError("no route to host")
    sent: list[Message] = []

    def send(message: Message) -> None:
        if simulation.clock.at.hour < 21:
            raise broken
        sent.append(message)

    simulation.recorder.send = send  # type: ignore[method-assign]
    assert "not told: notifier recorder: ConnectionError" in simulation.sensor("alerts")[1]
    simulation.local(dt.date(2018, 4, 20), 15)
    assert "not told" not in simulation.sensor("alerts")[1]
    assert {one.problem.key.split("/")[0] for one in sent} >= {"late", "schedule"}


def test_a_notifier_without_its_address_fails_the_sensor_and_the_log_is_told(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = simulate(small, dt.date(2018, 4, 20), 12, notifiers=("slack",))
    simulation.until_quiet("daily_forecast")
    with pytest.raises(RuntimeError, match="notifiers: slack needs FORECAST_PLATFORM_SLACK_WEBHOOK_URL"):
        simulation.sensor("alerts")
    assert "ERROR: Alpha: the close of 2018-04-19 is not in the source" in caplog.text


def test_sensors_that_look_at_once_start_one_ingest(small: Path) -> None:
    """Neither sees the other's run yet: the request is the first one's, until its run must be in the records."""
    from dagster import build_sensor_context

    simulation = simulate(small, SUNDAY, 9)
    repository = build_definitions(simulation.settings).get_repository_def()
    asked = {}
    with memory_instance(small / "other") as instance:
        for name in ("new_data", "daily_forecast"):
            with build_sensor_context(instance, repository_def=repository, sensor_name=name) as context:
                asked[name] = repository.get_sensor_def(name).evaluate_tick(context)
        [request] = asked["new_data"].run_requests or []
        assert str(request.run_key).startswith("ingest/2018-03-30..2018-03-31/Alpha+Beta/")
        assert not asked["daily_forecast"].run_requests
        told = "ingest 2018-03-30 to 2018-03-31 was just requested by new_data"
        assert asked["daily_forecast"].skip_message == told
        simulation.local(SUNDAY, 9, 2)
        with build_sensor_context(instance, repository_def=repository, sensor_name="daily_forecast") as context:
            [again] = repository.get_sensor_def("daily_forecast").evaluate_tick(context).run_requests or []
    assert again.run_key == request.run_key
