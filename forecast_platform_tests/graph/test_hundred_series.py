"""A hundred series in ten groups at their full length: one day by schedules and sensors, its checks and its pages."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from dagster import AssetKey

from forecast_platform.graph.automation.detect import check_problems, error_of
from forecast_platform.graph.checks.catalog import platform_checks
from forecast_platform.graph.keys import Keys
from forecast_platform.housekeeping.health import health
from forecast_platform.pages.daily_page import daily_page
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.training import train
from forecast_platform.settings import build
from forecast_platform.settings.groups import MAX_PARTITIONS
from forecast_platform.warehouse.schemas import FORECAST_RUNS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.desk import GROUPS, desk_settings, series_names, write_desk
from forecast_platform_tests.graph.automation.simulation import Simulation, memory_instance

DAY = dt.date(2025, 12, 30)
NAMES = series_names(100)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Thirteen years of a hundred series, the naive model fitted, on the eve of a day with nothing forecast."""
    root = tmp_path_factory.mktemp("desk")
    yesterday = DAY - dt.timedelta(days=1)
    write_desk(root / "landing", NAMES, last=yesterday - dt.timedelta(days=1))
    quick = {"models": ["naive"], "n_paths": 100, "file_settle_seconds": 0}
    values = desk_settings(root, NAMES, end_date=None, catch_up_days=1, catch_up_windows=1, **quick)
    settings = build(**values)
    simulation = Simulation(settings, memory_instance(root / "home"), dt.datetime(2025, 12, 29, tzinfo=dt.timezone.utc))
    platform = Platform.from_settings(simulation.settings)
    simulation.local(yesterday, 9)
    assert not ingest(platform, NAMES, settings.history_start, yesterday).rejections
    for name in NAMES:
        assert not train(platform, name, "naive", [dt.date(2025, 7, 1)]).failed
    write_desk(root / "landing", NAMES, last=yesterday)
    return simulation


@pytest.mark.slow
@pytest.mark.long
def test_every_asset_is_loaded_with_no_more_partitions_than_dagster_recommends(desk: Simulation) -> None:
    graph = desk.definitions.resolve_asset_graph()
    counts = {
        key.to_user_string(): node.partitions_def.get_num_partitions()
        for key, node in ((key, graph.get(key)) for key in graph.get_all_asset_keys())
        # Those of training jobs are as many as there are jobs.
        if node.partitions_def is not None and key.path[0] != "training_jobs"
    }
    assert len(counts) == 10 * (2 + 4)
    assert max(counts.values()) <= MAX_PARTITIONS
    assert counts["softs/distributions/naive"] >= 10 * 2_922


@pytest.mark.slow
@pytest.mark.long
def test_a_day_of_a_hundred_series_runs_by_itself_and_is_complete(desk: Simulation) -> None:
    desk.local(DAY, 8)
    for group in GROUPS:
        statuses, told = desk.schedule(f"daily_{group}")
        assert statuses == ["SUCCESS"], told
    desk.local(DAY, 8, 2)
    told = desk.until_quiet("daily_forecast", most=30)
    failed = [error_of(desk.instance, run.run_id) for run in desk.instance.get_runs() if not run.is_success]
    assert (failed, told) == ([], f"{DAY} is complete")
    assert desk.until_quiet("alerts") == "0 problems open"
    jobs = [run.job_name for run in desk.instance.get_runs()]
    assert sorted(jobs) == sorted(f"{job}_{group}" for job in ("ingest", "forecast", "score") for group in GROUPS)
    platform = Platform.from_settings(desk.settings)
    [row] = platform.warehouse.read(FORECAST_RUNS).to_pylist()
    assert (row["status"], row["n_series"], row["missing"]) == ("complete", 100, "")
    for number, group in enumerate(GROUPS):
        done = desk.instance.get_materialized_partitions(AssetKey([group, "distributions", "naive"]))
        assert done == {f"{DAY}|{name}" for name in NAMES[10 * number : 10 * number + 10]}
    evaluated = [key for checks in platform_checks(desk.settings) for key in checks.check_keys]
    assert check_problems(desk.instance, desk.settings, evaluated) == []
    assert {key.asset_key for key in evaluated} > {Keys(group).unified_data for group in GROUPS}


@pytest.mark.slow
@pytest.mark.long
def test_its_pages_and_its_health_are_short(desk: Simulation) -> None:
    platform = Platform.from_settings(desk.settings)
    daily_page(platform, health, DAY)
    folder: Path = platform.settings.reports
    overview = (folder / f"daily_{DAY}.html").read_text()
    assert all(f">{name}<" in overview for name in NAMES)
    assert "100 series in 10 groups" in overview
    assert len(overview) < 200_000
    assert {f"daily_{group}_{DAY}.html" for group in GROUPS} <= {path.name for path in folder.glob("daily_*.html")}
    facts = health(desk.settings).facts
    assert len(facts) < 60
    assert [fact.text for fact in facts if fact.name == "data"] == ["100 of 100 are as they ought to be"]
