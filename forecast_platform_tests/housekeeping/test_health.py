"""Health is judged from the tables and Dagster's records, with every process dead, and says what to do."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dagster import AssetCheckEvaluation, AssetCheckKey, AssetKey, DagsterInstance, asset, materialize
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from forecast_platform.graph.automation.detect import check_problems
from forecast_platform.graph.automation.observe import Observer
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.forecasts import ON_TIME, examine_points
from forecast_platform.graph.checks.point_rules import NOT_YET
from forecast_platform.graph.checks.report import result
from forecast_platform.graph.checks.unified import GAPS, STALE
from forecast_platform.host.finding import Finding
from forecast_platform.housekeeping.health import Fact, HealthReport, health
from forecast_platform.housekeeping.health_http import server
from forecast_platform.housekeeping.lateness import by_cause, due_forecast
from forecast_platform.pages.daily_page import daily_page
from forecast_platform.pipeline import champions
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.runs.launch import Launcher
from forecast_platform.settings import Settings, SettingsError
from forecast_platform.work.coverage import expected_dates
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import LAST, settings_for

NO_DATES = np.empty(0, "datetime64[D]")


def _at(root: Path, moment: str, **changes: object) -> Settings:
    """Settings whose clock stands at `moment`, Los Angeles being eight hours (seven in summer) behind UTC."""
    found = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.timezone.utc)
    return settings_for(root, **changes).with_clock(lambda: found)


def _facts(settings: Settings) -> dict[str, Fact]:
    return {fact.name: fact for fact in health(settings).facts}


def test_a_platform_up_to_date_is_good(root: Path) -> None:
    facts = _facts(_at(root, "2018-03-31T20:00"))
    for series in ("Alpha", "Beta"):
        # 30 March was Good Friday: the close of the 29th is the newest there can be.
        assert facts[f"data {series}"] == Fact(f"data {series}", "good", "newest close 2018-03-29, due 2018-03-29")
        for model in ("naive", "random_walk"):
            assert facts[f"forecast {series} {model} v1.0"].severity == "good"
    assert facts["disk"].severity == "good"


def test_a_missing_forecast_is_bad_from_the_deadline_on_and_names_the_command(root: Path) -> None:
    early, late = _at(root, "2018-04-01T17:59"), _at(root, "2018-04-01T18:01")
    assert due_forecast(early) == dt.date(2018, 3, 31)
    assert due_forecast(late) == dt.date(2018, 4, 1)
    assert _facts(early)["forecast Alpha naive v1.0"].severity == "good"
    found = _facts(late)["forecast Alpha, Beta naive, random_walk v1.0"]
    assert found.severity == "error"
    assert "newest is 2018-03-31, 2018-04-01 is due (1 days late)" in found.text
    chosen, span = "--commodity Alpha Beta --models naive random_walk", "--start-date 2018-04-01 --end-date 2018-04-01"
    assert f"forecast-platform backfill --train {chosen} {span}`" in found.text


def test_a_forecast_that_was_made_before_the_newest_close_came_is_told_with_the_command(root: Path) -> None:
    file, settings = root / "landing" / "market" / "alpha.csv", _at(root, "2018-04-02T20:00")
    whole, platform = file.read_text(encoding="utf-8"), Platform.from_settings(settings)
    day = dt.date(2018, 3, 31)

    def ingested(text: str) -> None:
        file.write_text(text, encoding="utf-8")
        assert not ingest(platform, settings.series_names, settings.history_start, LAST).rejections

    shutil.rmtree(root / "warehouse" / "commodity" / "silver")
    ingested("".join(line for line in whole.splitlines(True) if "2018-03-29" not in line))
    assert forecast(platform, "Alpha", "naive", [day]).written == {day}
    ingested(whole)
    facts = _facts(_at(root, "2018-03-31T20:00"))
    assert facts["forecast Alpha random_walk v1.0"].severity == "good"
    found = facts["forecast Alpha naive v1.0"]
    assert found.severity == "warning"
    assert found.text == (
        "newest is 2018-03-31, made with the close of 2018-03-28; that of 2018-03-29 has come since; run "
        "`forecast-platform infer --commodity Alpha --models naive --date 2018-03-31`"
    )
    forecast(platform, "Alpha", "naive", [day])
    assert _facts(_at(root, "2018-03-31T20:00"))["forecast Alpha naive v1.0"].severity == "good"


def test_an_active_version_without_forecasts_is_bad(root: Path) -> None:
    facts = _facts(_at(root, "2018-03-31T20:00", active_versions=("v2.0",)))
    assert facts["forecast Alpha, Beta naive, random_walk v2.0"].severity == "error"
    assert facts["forecast Beta naive v1.0"].severity == "good"


def test_a_model_that_was_never_used_is_no_fault_where_nothing_runs_by_itself(root: Path) -> None:
    models = ("naive", "random_walk", "auto_ets")
    found = _facts(_at(root, "2018-03-31T20:00", models=models, automation=False))
    assert found["forecast Alpha auto_ets"].severity == "good"
    assert "not in use; `forecast-platform backfill --train" in found["forecast Alpha auto_ets"].text
    assert found["forecast Alpha naive v1.0"].severity == "good"
    assert (
        _facts(_at(root, "2018-03-31T20:00", models=models))["forecast Alpha, Beta auto_ets v1.0"].severity == "error"
    )


def test_late_data_warn_and_stale_data_are_bad(root: Path) -> None:
    assert _facts(_at(root, "2018-04-03T20:00"))["data Alpha, Beta"].severity == "warning"
    found = _facts(_at(root, "2018-04-09T20:00"))["data Alpha, Beta"]
    assert (found.severity, "8 days late" in found.text) == ("error", True)


def test_one_cause_is_one_line_however_many_series_models_and_versions_it_reaches(root: Path) -> None:
    models = ("naive", "random_walk", "auto_ets", "auto_theta")
    settings = _at(root, "2018-05-31T20:00", models=models, active_versions=("v2.0", "v3.0"))
    late = {name: fact for name, fact in _facts(settings).items() if name.startswith(("data", "forecast"))}
    assert list(late) == ["data Alpha, Beta"]
    assert late["data Alpha, Beta"].text == (
        "newest close 2018-03-29, due 2018-05-30: 62 days late; put newer data in place, or where they have ended set "
        "`end_date: 2018-03-30` of the series (FORECAST_PLATFORM_END_DATE=2018-03-30 where those of all series have); "
        "forecasts wait for them, and no run would change that"
    )
    ended = _facts(_at(root, "2018-05-31T20:00", end_date=dt.date(2018, 3, 30)))
    assert {fact.severity for name, fact in ended.items() if name.startswith(("data", "forecast"))} == {"good"}


def test_a_series_is_due_to_its_own_end_date_only(root: Path) -> None:
    series = [{"name": "Alpha", "end_date": "2018-03-30"}, {"name": "Beta"}]
    settings = _at(root, "2018-05-31T20:00", series=series)
    found = {name: fact for name, fact in _facts(settings).items() if name.startswith(("data", "forecast"))}
    assert {fact.severity for name, fact in found.items() if "Alpha" in name} == {"good"}
    assert found["data Alpha"].text == "newest close 2018-03-29, due 2018-03-29"
    assert found["data Beta"].severity == "error"
    platform = Platform.from_settings(settings)
    assert expected_dates(platform, "Alpha")[-1] == dt.date(2018, 3, 30)
    [on_time, _] = examine_points(platform, Target("Alpha", "naive", "v1.0", "v1.0"), None, NO_DATES)[ON_TIME]
    assert on_time.figures["source_ended"] == "2018-03-30"
    observer, today = Observer(settings), settings.today()
    assert {series for series, _, _ in observer.missing([today])[today]} == {"Beta"}
    assert list(observer.hopeless([today], observer.windows(today))[today]) == ["Beta"]
    assert "No forecast of this day" not in _daily_page(settings)
    with pytest.raises(SettingsError, match="series Alpha: end_date 2017-01-01 lies before start_date 2017-07-01"):
        settings_for(root, series=[{"name": "Alpha", "end_date": "2017-01-01"}])


def _daily_page(settings: Settings) -> str:
    daily_page(Platform.from_settings(settings), health)
    text: str = (settings.reports / "daily.html").read_text()
    assert "Beta: newest close of" in text
    assert "Alpha: newest close of" not in text
    return text


def test_forecasts_that_wait_for_data_are_told_by_themselves_where_the_data_are_not_at_fault() -> None:
    late = Fact("data Alpha", "warning", "late", ("Alpha",))
    waiting = Fact("forecast Alpha", "error", "due", ("Alpha",))
    assert by_cause([late], [waiting]) == ([late], [waiting])
    wrong = replace(late, severity="error")
    [told], rest = by_cause([wrong], [waiting])
    assert "forecasts wait for them" in told.text
    assert rest == []


def test_a_refused_file_is_named_as_the_cause_until_it_is_mended(root: Path) -> None:
    settings, beta = _at(root, "2018-04-03T20:00"), root / "landing" / "market" / "beta.csv"
    good = beta.read_text()
    beta.write_text(good + "2018-04-02,x,1,1,1,1\n")
    facts = _facts(settings)
    assert "; the cause: the source refused market/beta.csv, row" in facts["data Beta"].text
    assert "cause" not in facts["data Alpha"].text
    beta.write_text(good)
    assert "cause" not in _facts(settings)["data Alpha, Beta"].text


def test_a_full_disk_is_bad(root: Path) -> None:
    found = _facts(_at(root, "2018-03-31T20:00", min_free_gb=1e9))["disk"]
    assert found.severity == "error"
    assert "writes stop below" in found.text


def test_without_an_instance_it_answers_and_creates_none(root: Path) -> None:
    settings = _at(root, "2018-03-31T20:00")
    assert _facts(settings)["dagster"].severity == "error"
    assert not (settings.warehouse / "_dagster").exists()


def test_an_instance_that_is_open_already_is_asked_and_stays_open(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _at(root, "2018-03-31T20:00")
    instance = Launcher(settings).instance
    expected = health(settings).facts
    monkeypatch.setattr(DagsterInstance, "from_config", None)  # opening another would fail
    assert health(settings, instance).facts == expected
    assert instance.get_runs() == []


def test_a_damaged_instance_is_a_fact_not_an_error(root: Path) -> None:
    settings = _at(root, "2018-03-31T20:00")
    home = Launcher(settings).home
    (home / "dagster.yaml").write_text("no_such_key: 1\n")
    assert _facts(settings)["dagster"].severity == "error"


def test_an_empty_warehouse_is_told_apart_from_a_late_one(tmp_path: Path, root: Path) -> None:
    facts = _facts(_at(root, "2018-03-31T20:00", warehouse=tmp_path / "empty"))
    assert "none yet" in facts["forecast Alpha, Beta naive, random_walk v1.0"].text
    assert "materialize unified_data" in facts["data Alpha"].text


def test_daemons_that_never_ran_are_bad_where_automation_is_on(root: Path) -> None:
    for automation, state in ((True, "error"), (False, "warning")):
        settings = settings_for(root, automation=automation)
        Launcher(settings).instance  # noqa: B018 - makes the instance
        found = _facts(settings)["daemons"]
        assert found.severity == state
    assert "automation is off" in found.text


def _beat(instance: DagsterInstance, kind: str, at: dt.datetime, error: str = "") -> None:
    errors = [SerializableErrorInfo(error, [], None)] if error else None
    instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), kind, "1", errors))


def test_a_daemon_is_dead_minutes_after_its_last_heartbeat_and_its_errors_are_told(root: Path) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    settings = settings_for(root).with_clock(lambda: now)
    instance = Launcher(settings).instance
    for kind in instance.get_required_daemon_types():
        _beat(instance, kind, now - dt.timedelta(minutes=6 if kind == "SCHEDULER" else 1))
    found = [fact for fact in health(settings).facts if fact.name == "daemons"]
    assert [fact.severity for fact in found] == ["good", "error"]
    assert re.match(r"scheduler: no heartbeat since \d{4}-\d\d-\d\d \d\d:\d\d P[SD]T: ", found[1].text)
    _beat(instance, "SCHEDULER", now, "no such file")
    [_, failing] = [fact for fact in health(settings).facts if fact.name == "daemons"]
    assert (failing.severity, failing.text) == (
        "warning",
        "scheduler: runs, with errors in the last minutes: no such file",
    )


def test_a_champion_without_forecasts_is_bad_whatever_its_version(root: Path, platform: Platform) -> None:
    champions.promote(platform, "Alpha", "naive", "v0.9", "an older version", force=True)
    found = _facts(_at(root, "2018-03-31T20:00"))["forecast Alpha, Beta naive v0.9"]
    assert found.severity == "error"
    # The one that is due and no years before it, and its model where there is none.
    command = "infer --train --commodity Alpha Beta --models naive --date 2018-03-31 --model-version-tag v0.9"
    assert f"none yet, 2018-03-31 is due; run `forecast-platform {command}`" in found.text


@pytest.mark.parametrize("damage", ["log", "file", "no file"])
def test_a_damaged_table_is_a_fact_not_an_error(root: Path, damage: str) -> None:
    folder = root / "warehouse" / "commodity" / "silver" / "unified_data"
    for path in sorted((folder / "_delta_log").glob("*.json") if damage == "log" else folder.rglob("*.parquet")):
        path.unlink() if damage == "no file" else path.write_text("{damaged")
    facts = _facts(_at(root, "2018-03-31T20:00"))
    for found in [fact for name, fact in facts.items() if name.startswith("data")]:
        assert found.severity == "error"
        assert "unified_data: the table cannot be read" in found.text
        assert "forecast-platform repair" in found.text


_healthy = {"now": True}


@asset
def sometimes() -> None:
    """Fails where it is told to."""
    if not _healthy["now"]:
        raise ValueError("told to")


def test_a_failed_run_is_bad_until_the_job_succeeds_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(root)
    instance = Launcher(settings).instance
    assert _facts(settings)["failed runs"].severity == "good"
    monkeypatch.setitem(_healthy, "now", False)
    done = materialize([sometimes], instance=instance, raise_on_error=False)
    found = _facts(settings)["failed runs"]
    assert found.severity == "error"
    assert done.run_id[:8] in found.text
    monkeypatch.setitem(_healthy, "now", True)
    materialize([sometimes], instance=instance)
    assert _facts(settings)["failed runs"].severity == "good"


def test_a_failing_check_is_told_with_its_mend_until_it_passes_for_what_the_daily_run_makes(root: Path) -> None:
    settings = _at(root, "2018-03-31T20:00")
    instance = Launcher(settings).instance
    key = AssetCheckKey(AssetKey("unified_data"), GAPS)
    assert _facts(settings)["checks"] == Fact("checks", "good", "none fails")
    at_fault = Finding("Alpha", "error", "9 days are missing", "look at the feed")
    gone = Finding("Copper", "error", "9 days are missing", "look at the feed")

    def evaluated(*findings: Finding) -> dict[str, Fact]:
        _report(instance, key, *findings)
        return {name: fact for name, fact in _facts(settings).items() if name.startswith("check")}

    [fact] = evaluated(at_fault, gone).values()
    assert fact == Fact(f"check/unified_data: {GAPS}/Alpha", "error", "9 days are missing; look at the feed")
    [fact] = evaluated(replace(at_fault, severity="warning")).values()
    assert fact.severity == "warning"
    mended = Finding(at_fault.subject)
    assert evaluated(mended, gone) == {"checks": Fact("checks", "good", "none fails")}


def _report(instance: DagsterInstance, key: AssetCheckKey, *findings: Finding) -> None:
    found = result(key, findings)
    about = {"severity": found.severity, "description": found.description}
    instance.report_runless_asset_event(
        AssetCheckEvaluation(key.asset_key, key.name, found.passed, found.metadata, **about)
    )


def test_what_was_late_when_a_check_was_made_is_judged_anew_and_is_over_with_the_series(root: Path) -> None:
    settings = _at(root, "2018-05-31T20:00", end_date=dt.date(2018, 3, 30))
    instance = Launcher(settings).instance
    stale = AssetCheckKey(AssetKey("unified_data"), STALE)
    on_time = AssetCheckKey(AssetKey(["point_forecasts", "naive"]), ON_TIME)
    _report(
        instance, stale, Finding("Alpha", "error", "the newest close is of 2018-03-29; 9 sessions are late", "ingest")
    )
    late = Finding("Alpha naive v1.0", "error", f"{NOT_YET} 2018-04-20, due by 11:00", "make it")
    _report(instance, on_time, late)
    facts = _facts(settings)
    assert {facts[name].severity for name in facts if name.startswith(("data", "forecast", "check"))} == {"good"}
    assert check_problems(instance, settings, [stale, on_time]) == []
    going_on = _at(root, "2018-05-31T20:00")
    told = check_problems(instance, going_on, [stale, on_time])
    assert [one.because for one in told] == [("late/Alpha",), ("late/Alpha",)], "late data are told in their place"
    assert not [name for name in _facts(going_on) if name.startswith("check/")], "and by health with the data alone"
    _report(instance, on_time, replace(late, found="3 dates have no forecast: 2018-03-01 to 2018-03-03"))
    assert [one.severity for one in check_problems(instance, settings, [on_time])] == ["error"], "a gap stays one"


def test_a_held_file_is_said_to_be_held_and_not_to_be_late_for_an_unknown_reason(root: Path) -> None:
    settings, beta = _at(root, "2018-04-03T20:00"), root / "landing" / "market" / "beta.csv"
    beta.write_text(beta.read_text() + "2018-04-02,1,1,1,150.")
    found = _facts(settings.model_copy(update={"file_settle_seconds": 600.0}))
    text = found["data Beta"].text
    assert (
        "days late; the cause: a file is held: market/beta.csv: still being written: its last line has no end" in text
    )
    assert "mend it" not in text
    assert "whether the source delivers" not in text
    assert "see whether the source delivers" in found["data Alpha"].text


def test_http_answers_200_where_healthy_and_503_where_not(root: Path, tmp_path: Path) -> None:
    good = _at(root, "2018-03-31T20:00", automation=False)
    Launcher(good).instance  # noqa: B018 - makes the instance
    with server(good, 0) as listening, _serving(listening):
        with urllib.request.urlopen(f"http://127.0.0.1:{listening.server_port}/health") as reply:
            assert (reply.status, json.loads(reply.read())["healthy"]) == (200, True)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{listening.server_port}/other")
    with server(_at(root, "2018-05-31T20:00"), 0) as listening, _serving(listening):
        with pytest.raises(urllib.error.HTTPError) as found:
            urllib.request.urlopen(f"http://127.0.0.1:{listening.server_port}/health")
        assert found.value.code == 503
        assert json.loads(found.value.read())["state"] == "bad"


class _serving:
    def __init__(self, listening: object) -> None:
        import threading

        self.listening = listening
        self.thread = threading.Thread(target=listening.serve_forever, daemon=True)  # type: ignore[attr-defined]

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.listening.shutdown()  # type: ignore[attr-defined]
        self.thread.join()


def test_the_worst_fact_is_the_state_and_comes_first() -> None:
    at = dt.datetime(2018, 1, 1, tzinfo=dt.timezone.utc)
    report = HealthReport(at, [Fact("one", "good", "fine"), Fact("two", "warning", "hm"), Fact("three", "error", "no")])
    assert (report.severity, report.healthy) == ("error", False)
    assert report.lines()[0].startswith("bad  three")
    assert HealthReport(at, report.facts[:2]).healthy
