"""The day runs by itself in a real daemon: schedules and sensors tick, launch the runs, or say why not."""

from __future__ import annotations

import datetime as dt
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from forecast_platform.forecasting.windows import FREQUENCIES
from forecast_platform.host.services import free_port
from forecast_platform.settings import Settings, build
from forecast_platform.sources.calendars import sessions
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.ui.running import Running, command
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import write_landing

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)
LOCATION = {"repositoryLocationName": "forecast_platform", "repositoryName": "__repository__"}
TICKS = """ticks(limit: 100) { status timestamp skipReason runIds error { message } }"""
SENSOR = (
    "query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) "
    "{ ... on PythonError { message } ... on Sensor { sensorState { id status " + TICKS + " } } } }"
)
SCHEDULE = (
    "query($selector: ScheduleSelector!) { scheduleOrError(scheduleSelector: $selector) "
    "{ ... on PythonError { message } ... on Schedule { scheduleState { id status " + TICKS + " } } } }"
)
STOP = """mutation($id: String!) { stopSensor(id: $id) { __typename
  ... on StopSensorMutationResult { instigationState { status } } ... on PythonError { message } } }"""
START = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename
  ... on Sensor { sensorState { status } } ... on PythonError { message } } }"""
RUNS = """{ runsOrError(limit: 100) { ... on Runs { results { id jobName status tags { key value } } } } }"""
DRY = """mutation($selector: ScheduleSelector!, $at: Float) { scheduleDryRun(selectorData: $selector, timestamp: $at) {
  __typename ... on PythonError { message } ... on DryRunInstigationTick { timestamp evaluationResult {
    skipReason error { message } runRequests { jobName runKey tags { key value } } } } } }"""


def midday_zone() -> str:
    """A zone in which it is about noon now, so that no test crosses midnight."""
    offset = dt.datetime.now(dt.timezone.utc).hour - 12
    return f"Etc/GMT{offset:+d}" if offset else "Etc/GMT"


@dataclass(frozen=True)
class Run:
    """A run and what launched it."""

    id: str
    job: str
    status: str
    by: str
    tags: dict[str, str]


class Automated:
    """A platform that runs by itself: synthetic prices to yesterday, the newest close held back at first."""

    def __init__(self, root: Path) -> None:
        self.zone = midday_zone()
        self.today = dt.datetime.now(ZoneInfo(self.zone)).date()
        self.landing = root / "landing"
        yesterday = self.today - dt.timedelta(days=1)
        known = sessions("XNYS", yesterday - dt.timedelta(days=5 * 365), yesterday)
        self.span = (known[0].item(), yesterday)
        self.newest, self.before = known[-1].item(), known[-2].item()
        self.window = FREQUENCIES["semiannually"].starts(self.today, self.today)[0]
        write_landing(self.landing, span=self.span, last=self.newest - dt.timedelta(days=1))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
        self.environment = {
            **inherited,
            **environment(root),
            "FORECAST_PLATFORM_MODELS": '["naive"]',
            "FORECAST_PLATFORM_START_DATE": str(self.window),
            "FORECAST_PLATFORM_TIMEZONE": self.zone,
            "FORECAST_PLATFORM_CATCH_UP_DAYS": "1",
            "FORECAST_PLATFORM_FILE_SETTLE_SECONDS": "1",
            "FORECAST_PLATFORM_REPORTS_URL": f"http://127.0.0.1:{free_port()}",
            "OMP_NUM_THREADS": "1",
        }
        command(self.environment, "train", "--start-date", str(self.window), "--end-date", str(self.today))
        # Two to three minutes: the services are up before, on a machine that is busy too.
        soon = dt.datetime.now(ZoneInfo(self.zone)) + dt.timedelta(minutes=3)
        self.begins = soon.replace(second=0, microsecond=0)
        self.environment["FORECAST_PLATFORM_DAILY_TIME"] = f"{self.begins:%H:%M}"
        self.ui = Running.start(root, self.environment)

    @property
    def settings(self) -> Settings:
        """The platform's settings, for reading its tables here."""
        root = self.landing.parent
        return build(
            source="landing",
            landing=self.landing,
            warehouse=root / "warehouse",
            models=("naive",),
            lookback_years=3,
            start_date=self.window,
            n_paths=200,
            min_free_gb=0.0,
            timezone=self.zone,
        )

    def sensor(self, name: str) -> dict[str, Any]:
        """A sensor's state with its ticks, the newest first."""
        state: dict[str, Any] = self.ui.ask(SENSOR, selector={**LOCATION, "sensorName": name})["sensorState"]
        return state

    def schedule(self, name: str) -> dict[str, Any]:
        """A schedule's state with its ticks, the newest first."""
        state: dict[str, Any] = self.ui.ask(SCHEDULE, selector={**LOCATION, "scheduleName": name})["scheduleState"]
        return state

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        found = []
        for run in self.ui.ask(RUNS)["results"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            by = tags.get("dagster/schedule_name") or tags.get("dagster/sensor_name") or "shell"
            found.append(Run(run["id"], run["jobName"], run["status"], by, tags))
        return found

    def succeeded(self, job: str, by: str) -> Run:
        """The first run of `job` that `by` launched, once it has succeeded."""

        def look() -> Run | None:
            runs = self.runs()
            failed = [run for run in runs if run.status in ("FAILURE", "CANCELED")]
            assert not failed, [self.ui.messages(run.id)[-5:] for run in failed]
            return next((run for run in runs if (run.job, run.by, run.status) == (job, by, "SUCCESS")), None)

        run = until(look, f"{job} by {by}", pause=2.0)
        log.info(f"{job} by {by} succeeded {dt.datetime.now(ZoneInfo(self.zone)) - self.begins} after the day began")
        return run

    def ticked(self, sensor: str, since: float) -> dict[str, Any]:
        """The first finished tick of a sensor after `since`."""

        def look() -> dict[str, Any] | None:
            ticks = [tick for tick in self.sensor(sensor)["ticks"] if tick["timestamp"] > since]
            return next((tick for tick in reversed(ticks) if tick["status"] != "STARTED"), None)

        return until(look, f"a tick of {sensor}", pause=2.0)


@pytest.fixture(scope="module")
def automated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Automated]:
    platform = Automated(tmp_path_factory.mktemp("automated"))
    try:
        yield platform
    finally:
        left = platform.ui.stop()
    assert not left, f"left after the interrupt: {left}"


def test_the_daemon_runs_the_day_from_the_schedule_to_the_page(automated: Automated) -> None:
    first = automated.ticked("new_data", 0)
    assert (first["status"], first["runIds"]) == ("SKIPPED", [])
    assert first["skipReason"] in ("unified_data holds all of the source", "no file has changed")
    waiting = automated.ticked("daily_forecast", 0)
    assert waiting["skipReason"] == f"the day is run from {automated.begins:%H:%M} ({automated.zone})"
    # Without the sensor, the newest close is the schedule's to find.
    stopped = automated.ui.ask(STOP, id=automated.sensor("new_data")["id"])
    assert stopped["instigationState"]["status"] == "STOPPED", stopped
    write_landing(automated.landing, span=automated.span)
    assert dt.datetime.now(ZoneInfo(automated.zone)) < automated.begins, "the services were up too late for this test"

    ingest = automated.succeeded("ingest", "daily")
    [tick] = automated.schedule("daily")["ticks"]
    assert (tick["status"], tick["runIds"], tick["error"]) == ("SUCCESS", [ingest.id], None)
    assert tick["timestamp"] == pytest.approx(automated.begins.timestamp(), abs=1)
    assert ingest.tags["dagster/asset_partition_range_end"] == f"{automated.span[1]}|Beta"

    forecast = automated.succeeded("forecast", "daily_forecast")
    assert forecast.tags["dagster/asset_partition_range_start"] == f"{automated.today}|Alpha"
    score = automated.succeeded("score", "daily_forecast")
    page = automated.succeeded("publish_daily_page", "daily_page_after_score")
    by_run = {run: tick for tick in automated.sensor("daily_forecast")["ticks"] for run in tick["runIds"]}
    assert {forecast.id, score.id} <= by_run.keys()
    assert {tick["status"] for tick in by_run.values()} == {"SUCCESS"}
    assert page.tags["dagster/run_key"] == score.id
    reasons = {
        tick["skipReason"] for tick in automated.sensor("daily_forecast")["ticks"] if tick["status"] == "SKIPPED"
    }
    assert any("is running" in reason for reason in reasons) or len(reasons) > 1, reasons

    _the_day_is_complete(automated)
    done = automated.ticked("daily_forecast", time.time())
    assert done["skipReason"] == f"{automated.today} is complete"
    assert {run.status for run in automated.runs()} == {"SUCCESS"}


def _the_day_is_complete(automated: Automated) -> None:
    from forecast_platform.pages.headline import date_text
    from forecast_platform.warehouse.schemas import FORECAST_RUNS, POINT_FORECASTS
    from forecast_platform.work.platform import Platform

    warehouse = Platform.from_settings(automated.settings).warehouse
    [row] = warehouse.read(FORECAST_RUNS, where={"forecast_date": automated.today}).to_pylist()
    assert (row["status"], row["models"], row["staleness_days"]) == ("complete", "naive:v1.0", 0)
    points = warehouse.read(POINT_FORECASTS, ["commodity"], {"forecast_date": automated.today}).to_pylist()
    assert sorted(point["commodity"] for point in points) == ["Alpha"] * 14 + ["Beta"] * 14
    reports = automated.settings.reports
    assert (reports / f"daily_{automated.today}.html").is_file()
    assert f"Forecast of {date_text(automated.today)}" in (reports / "daily.html").read_text(encoding="utf-8")


def test_a_new_file_is_ingested_by_the_sensor_and_what_it_changes_is_forecast_again(automated: Automated) -> None:
    assert "daily" in {run.by for run in automated.runs()}, "the day has not been run"
    started = automated.ui.ask(START, selector={**LOCATION, "sensorName": "new_data"})
    assert started["sensorState"]["status"] == "RUNNING", started
    file = automated.landing / "market" / "alpha.csv"
    *rows, last = file.read_text().splitlines()
    cells = last.split(",")
    assert cells[0] == str(automated.newest)
    changed = f"{1.01 * float(cells[4]):.4f}"
    file.write_text("\n".join([*rows, ",".join([cells[0], *[changed] * 4, cells[5]])]) + "\n")

    ingest = automated.succeeded("ingest", "new_data")
    assert ingest.tags["dagster/asset_partition_range_start"] == f"{automated.newest}|Alpha"
    requests = [tick for tick in automated.sensor("new_data")["ticks"] if tick["runIds"]]
    assert [(tick["status"], tick["runIds"]) for tick in requests] == [("SUCCESS", [ingest.id])]

    def again() -> bool:
        return sum(run.job == "forecast" and run.status == "SUCCESS" for run in automated.runs()) > 1

    until(again, "a forecast from the new close", pause=2.0)


def test_every_schedule_is_on_and_maintenance_is_evaluated(automated: Automated) -> None:
    for name in ("training", "daily", "weekly_maintenance"):
        assert automated.schedule(name)["status"] == "RUNNING"
    for name in ("new_data", "train_missing_windows", "daily_forecast", "alerts", "daily_page_after_score"):
        assert automated.sensor(name)["status"] == "RUNNING"
    sunday = automated.today + dt.timedelta(days=(6 - automated.today.weekday()) % 7)
    at = dt.datetime.combine(sunday, dt.time(2), ZoneInfo(automated.zone)).timestamp()
    answer = automated.ui.ask(DRY, selector={**LOCATION, "scheduleName": "weekly_maintenance"}, at=at)
    assert answer["__typename"] == "DryRunInstigationTick", answer
    result = answer["evaluationResult"]
    assert (result["error"], result["skipReason"]) == (None, None)
    [request] = result["runRequests"]
    tags = {tag["key"]: tag["value"] for tag in request["tags"]}
    assert tags["dagster/schedule_name"] == "weekly_maintenance"
    training = automated.ui.ask(DRY, selector={**LOCATION, "scheduleName": "training"}, at=at)["evaluationResult"]
    assert training["error"] is None
    assert training["runRequests"] == []
    assert training["skipReason"]
