"""Other horizons than the default, from the first fit to the pages; and warehouses that settings do not fit."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.doctor.stores import tables
from forecast_platform.forecasting.horizon import day_columns, of_columns, sessions, spans, suffixes
from forecast_platform.graph.checks.forecasts import examine_paths, examine_points
from forecast_platform.graph.checks.reading import forecast_dates, sampled_dates, stored_points
from forecast_platform.graph.checks.report import Examined
from forecast_platform.housekeeping.health import health
from forecast_platform.housekeeping.migrate import plan
from forecast_platform.pages.daily_page import daily_page
from forecast_platform.pages.display import fan_chart, metadata_frame, report
from forecast_platform.pages.scores import by_horizon, leaderboard
from forecast_platform.pipeline.actuals import open_before, write_actuals
from forecast_platform.pipeline.champions import duel
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.publish import forecast_runs
from forecast_platform.pipeline.scoring import score
from forecast_platform.read import Reader
from forecast_platform.warehouse.base import HorizonError
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, FORECAST_RUNS, POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import MODELS, SERIES, days, settings_for

SPAN = days("2018-01-02", "2018-02-05")
WINDOW = dt.date(2018, 1, 1)


def _run(platform: Platform) -> Platform:
    """Forecasts, actuals, scores and signals of SPAN, for every series and model."""
    for series in SERIES:
        for model in MODELS:
            outcome = forecast(platform, series, model, SPAN)
            assert outcome.written == set(SPAN), outcome.failed
        write_actuals(platform, series, SPAN)
        for model in MODELS:
            assert not score(platform, series, model, [WINDOW]).failed
    forecast_runs(platform, SPAN)
    return platform


@pytest.fixture(scope="module", params=[7, 20])
def world(request: pytest.FixtureRequest, trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A small platform of another horizon: fits know none, so those of the template serve."""
    root = tmp_path_factory.mktemp(f"horizon{request.param}") / "platform"
    shutil.copytree(trained_template, root)
    return _run(Platform.from_settings(settings_for(root, horizon=request.param)))


@pytest.fixture(scope="module")
def fourteen(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The same with the default horizon."""
    root = tmp_path_factory.mktemp("horizon14") / "platform"
    shutil.copytree(trained_template, root)
    return _run(Platform.from_settings(settings_for(root)))


def test_spans_columns_and_overlaps_follow_from_the_horizon() -> None:
    assert (spans(14), spans(20), spans(7)) == ((1, 7, 14), (1, 7, 20), (1, 7))
    assert suffixes(20) == {"1d": 1, "7d": 7, "20d": 20}
    assert [sessions(span) for span in (1, 7, 14, 20, 60)] == [1, 5, 10, 15, 43]
    assert day_columns(7)[-1] == "day_7"
    assert of_columns(["path_id", "day_1", "day_20", "is_actuals"]) == 20
    assert of_columns(["dir_day0", "crps_1d", "coverage_80_7d", "actuals_available"]) == 7
    assert of_columns(["date", "close"]) is None


def test_every_table_has_the_horizon_s_columns_and_rows(world: Platform) -> None:
    horizon = world.horizon
    paths = world.warehouse.read(DISTRIBUTIONS, where={"commodity": "Alpha", "model_name": "naive"})
    assert [name for name in paths.column_names if name.startswith("day_")] == list(day_columns(horizon))
    assert all(np.isfinite(paths[name].to_numpy()).all() for name in day_columns(horizon))
    points = world.warehouse.read(POINT_FORECASTS, ["day_ahead"], {"commodity": "Alpha", "model_name": "naive"})
    assert points.num_rows == len(SPAN) * horizon
    assert set(points["day_ahead"].to_pylist()) == set(range(1, horizon + 1))
    scores = world.warehouse.read(FORECAST_METADATA)
    assert {name for name in scores.column_names if name.startswith("crps_")} == {f"crps_{s}d" for s in spans(horizon)}
    signals = world.warehouse.read(FORECAST_RUNS, ["status"])["status"].to_pylist()
    assert signals == ["complete"] * len(SPAN)
    assert not plan(world.warehouse)


def test_scores_run_over_all_days(world: Platform) -> None:
    rows = world.warehouse.read(
        FORECAST_METADATA, where={"commodity": "Alpha", "model_name": "naive", "forecast_date": SPAN[0]}
    ).to_pylist()[0]
    assert rows["actuals_available"] == world.horizon
    reader = Reader(world.settings)
    paths = reader.paths("Alpha", "naive", SPAN[0])[SPAN[0]].astype(np.float64)
    table = world.series_table("Alpha")
    first = int(np.searchsorted(table.dates, np.datetime64(SPAN[0])))
    errors = [
        abs(np.median(paths[:, day]) - table.columns["close"][first + day])
        for day in range(world.horizon)
        if table.columns["is_observed"][first + day]
    ]
    assert rows[f"mae_{world.horizon}d"] == pytest.approx(np.mean(errors))


def test_the_first_days_are_those_of_the_default_horizon(world: Platform, fourteen: Platform) -> None:
    shared = min(world.horizon, 14)
    for series in SERIES:
        for model in MODELS:
            own, other = (Reader(platform.settings).paths(series, model) for platform in (world, fourteen))
            assert own.keys() == other.keys() == set(SPAN)
            assert all(np.array_equal(own[day][:, :shared], other[day][:, :shared]) for day in SPAN)


def test_the_reader_takes_its_horizon_from_the_warehouse(world: Platform) -> None:
    silent = settings_for(world.settings.warehouse.parent)
    reader = Reader(silent)
    assert reader.horizon == world.horizon
    latest = reader.latest("Alpha", "naive", max_age=None)
    assert latest.paths.shape == (200, world.horizon)
    assert latest.value_at_risk(0.95, 100.0) == latest.value_at_risk(0.95, 100.0, day_ahead=world.horizon)
    assert latest.value_at_risk(0.95, 100.0) != latest.value_at_risk(0.95, 100.0, day_ahead=2)
    with pytest.raises(ValueError, match=f"1 to {world.horizon}"):
        latest.profit(100.0, world.horizon + 1)
    assert reader.actuals("Alpha", SPAN[0])[SPAN[0]].shape == (world.horizon,)
    with pytest.raises(
        HorizonError, match=f"horizon is 14, but this warehouse holds forecasts of {world.horizon} days"
    ):
        Reader(settings_for(world.settings.warehouse.parent, horizon=14)).latest("Alpha", "naive")


def test_a_second_run_finds_everything_unchanged(world: Platform) -> None:
    again = Platform.from_settings(world.settings)
    outcome = forecast(again, "Alpha", "naive", SPAN)
    assert (outcome.written, outcome.skipped) == (set(), set(SPAN))
    assert score(again, "Alpha", "naive", [WINDOW]).skipped == {WINDOW}
    assert open_before(again, "Alpha", SPAN[-1] + dt.timedelta(days=1)) == []


def test_checks_pass_and_see_a_spoilt_last_day(world: Platform, tmp_path: Path) -> None:
    for platform, good in ((world, True), (_spoilt(world, tmp_path), False)):
        asked = Examined(platform, "v1.0", {"Alpha": SPAN}, SERIES)
        target = asked.target("Alpha", "naive")
        points = stored_points(platform, target, SPAN)
        sampled, of_paths = examine_paths(asked, target, SPAN, sampled_dates(points, platform.horizon))
        of_points = examine_points(platform, target, points, forecast_dates(platform, target), sampled)
        findings = [*of_paths.values(), *of_points.values()]
        bad = [found for group in findings for found in group if not found.passed and found.severity == "error"]
        assert (not bad) == good, [found.text for found in bad]


def _spoilt(world: Platform, tmp_path: Path) -> Platform:
    """A copy in which one path's last day is infinite."""
    import pyarrow as pa

    root = tmp_path / "spoilt"
    shutil.copytree(world.settings.warehouse.parent, root)
    copy = Platform.from_settings(settings_for(root, horizon=world.horizon))
    where = {"commodity": "Alpha", "model_name": "naive", "model_version": "v1.0", "forecast_date": SPAN[3]}
    rows = copy.warehouse.read(DISTRIBUTIONS, where=where)
    name = day_columns(world.horizon)[-1]
    values = rows[name].to_numpy().copy()
    values[0] = np.inf
    position = rows.schema.get_field_index(name)
    copy.warehouse.replace(DISTRIBUTIONS, rows.set_column(position, name, pa.array(values)), where)
    return copy


def test_pages_name_and_show_the_horizon(world: Platform) -> None:
    horizon = world.horizon
    frame = metadata_frame(world, "Alpha")
    board = leaderboard(frame)
    assert set(board["model_name"]) == set(MODELS)
    assert set(by_horizon(frame)["horizon"]) == set(suffixes(horizon))
    assert duel(frame, ("naive", "v1.0"), ("random_walk", "v1.0")).n_dates > 10
    report(world, "Alpha")
    fan_chart(world, "Alpha", "naive", "v1.0", SPAN[-1])
    daily_page(world, health, SPAN[-1])
    reports = world.settings.reports
    whole = (reports / "leaderboard_Alpha.html").read_text()
    assert f"days 1 to {horizon}" in whole
    daily = (reports / "daily.html").read_text()
    assert f"Alpha: the next {horizon} days" in daily
    assert f"Day {horizon}<" in daily
    assert ("A week before" in daily) == (horizon > 7)
    assert f"{horizon - 1} days before" in daily
    fan = next(reports.glob("fan-chart_Alpha_*.html")).read_text()
    assert f"median, day {horizon}" in fan
    assert not any("14 days" in text or "Day 14<" in text for text in (whole, daily, fan))


@pytest.fixture
def other(world: Platform) -> Platform:
    """A platform of the default horizon over tables of another one."""
    return Platform.from_settings(settings_for(world.settings.warehouse.parent, horizon=14))


def test_a_warehouse_of_another_horizon_is_refused_by_every_read_and_write(world: Platform, other: Platform) -> None:
    told = rf"horizon is 14, but this warehouse holds forecasts of {world.horizon} days \(commodity\.forecast\."
    before = {table.name: world.warehouse.version(table) for table in (DISTRIBUTIONS, FORECAST_METADATA)}
    with pytest.raises(HorizonError, match=told):
        other.warehouse.read(DISTRIBUTIONS, ["path_id"])
    with pytest.raises(HorizonError, match=told):
        forecast(other, "Alpha", "naive", SPAN)
    with pytest.raises(HorizonError, match=told):
        score(other, "Alpha", "naive", [WINDOW])
    empty = FORECAST_METADATA.arrow_schema().empty_table()
    with pytest.raises(HorizonError, match=told):
        other.warehouse.replace(FORECAST_METADATA, empty, {"commodity": "Alpha"})
    with pytest.raises(HorizonError, match=f"set FORECAST_PLATFORM_HORIZON={world.horizon}"):
        plan(other.warehouse)
    assert before == {table.name: world.warehouse.version(table) for table in (DISTRIBUTIONS, FORECAST_METADATA)}


def test_doctor_names_the_horizon_that_does_not_fit(world: Platform, other: Platform) -> None:
    [found] = [finding for finding in tables(other.settings) if finding.subject == "horizon"]
    assert found.severity == "error"
    assert f"holds forecasts of {world.horizon} days" in found.found
    assert f"FORECAST_PLATFORM_HORIZON={world.horizon}" in found.mend
    assert {finding.severity for finding in tables(world.settings)} == {"good"}


def test_a_run_of_the_graph_is_refused_before_any_step(world: Platform, other: Platform) -> None:
    from dagster import build_init_resource_context

    from forecast_platform.definitions import build_definitions

    definition = build_definitions(other.settings).resources["platform"]
    with pytest.raises(HorizonError, match="holds forecasts of"):
        next(definition.resource_fn(build_init_resource_context()))
    texts = [spec.description or "" for spec in build_definitions(world.settings).resolve_all_asset_specs()]
    assert any(f"for the {world.horizon} days from each forecast date" in text for text in texts)
    assert not any("14 days" in text for text in texts)
