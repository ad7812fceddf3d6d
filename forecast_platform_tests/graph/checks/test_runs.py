"""The checks run with their assets in a real Dagster instance, are recorded, and stop what depends on bad data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dagster import (
    AssetCheckKey,
    AssetDep,
    AssetKey,
    AssetSelection,
    DagsterInstance,
    Definitions,
    asset,
    define_asset_job,
    instance_for_test,
)

from forecast_platform.definitions import build_definitions
from forecast_platform.graph.checks.report import Examined
from forecast_platform.graph.checks.trained import examine
from forecast_platform.graph.partitions import Partitions, backfill_policy, range_tags
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.scoring import score
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS, TRAINED_MODELS, UNIFIED_DATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for

pytestmark = pytest.mark.slow

SPAN = days("2018-01-01", "2018-01-12")
PATHS, POINTS = AssetKey(["distributions", "naive"]), AssetKey(["point_forecasts", "naive"])
UNIFIED, TRAINED, SCORES = (
    AssetKey("unified_data"),
    AssetKey(["trained_models", "naive"]),
    AssetKey(["forecast_metadata", "naive"]),
)
DOWNSTREAM = AssetKey("blend")


class World:
    """A platform, a Dagster instance, and an asset downstream of one model's paths."""

    def __init__(self, root: Path, instance: DagsterInstance) -> None:
        self.settings = settings_for(root)
        self.platform = Platform.from_settings(self.settings)
        self.instance = instance
        partitions = Partitions(self.settings, self.settings.series_groups[0])

        @asset(
            key=DOWNSTREAM,
            deps=[AssetDep(PATHS)],
            partitions_def=partitions.days,
            backfill_policy=backfill_policy(),
        )
        def blend() -> None:
            """What stands for an ensemble of several models' paths."""

        chosen = AssetSelection.assets(PATHS, POINTS, DOWNSTREAM)
        self.definitions = Definitions.merge(
            build_definitions(self.settings), Definitions(assets=[blend], jobs=[define_asset_job("blended", chosen)])
        )

    def run(self, job: str, keys: list[AssetKey], first: dt.date, last: dt.date, series: str = "Alpha") -> Any:
        """Run these assets over first..last of a series, selecting assets only: their checks come with them."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags=range_tags(first, last, [series]),
            asset_selection=keys,
            raise_on_error=False,
        )

    def evaluations(self, result: Any) -> dict[str, Any]:
        """The evaluations of a run by check name, each also recorded by the instance."""
        found = {item.check_name: item for item in result.get_asset_check_evaluations()}
        for item in found.values():
            key = AssetCheckKey(item.asset_key, item.check_name)
            [record] = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
            assert record.run_id == result.run_id
            assert (record.status.value == "SUCCEEDED") == item.passed
        return found


@pytest.fixture
def world(small: Path) -> Iterator[World]:
    with instance_for_test() as instance:
        yield World(small, instance)


def _spoil(platform: Platform, column: str, value: object, day: dt.date) -> None:
    """Overwrite one column of one date's stored paths, as a slip of another program would."""
    where = keys_of("Alpha", "naive", "v1.0", [day], by_month=True)
    rows = platform.warehouse.read(DISTRIBUTIONS, where=where)
    position = rows.schema.get_field_index(column)
    field = rows.schema.field(position)
    wrong = rows.set_column(position, field, pa.array([value] * rows.num_rows, field.type))
    platform.warehouse.replace(DISTRIBUTIONS, wrong, where)


def _forecasts(world: World) -> Any:
    return world.run("blended", [PATHS, POINTS, DOWNSTREAM], SPAN[0], SPAN[-1])


def test_checks_of_a_good_run_pass_and_what_depends_on_it_runs(world: World) -> None:
    result = _forecasts(world)
    assert result.success
    found = world.evaluations(result)
    late = {name for name, item in found.items() if not item.passed}
    # The synthetic source ended in 2018 without an end_date: forecasts up to today are late, and so says the check.
    assert late == {"on_time"}
    assert "the newest close is of 2018-03-29" in found["on_time"].description
    assert "77 dates have no forecast: 2018-01-13 to 2018-03-30" in found["on_time"].description
    assert len(found) == 5
    assert DOWNSTREAM in _materialized(result)


def _materialized(result: Any) -> set[AssetKey]:
    return {event.asset_key for event in result.get_asset_materialization_events()}


def test_a_blocking_check_stops_what_depends_on_the_forecasts(world: World) -> None:
    forecast(world.platform, "Alpha", "naive", SPAN)
    short, nan, leak, cutoff = SPAN[3:7]
    where = keys_of("Alpha", "naive", "v1.0", [short], by_month=True)
    rows = world.platform.warehouse.read(DISTRIBUTIONS, where=where)
    world.platform.warehouse.replace(DISTRIBUTIONS, rows.slice(0, 150), where)
    _spoil(world.platform, "day_7", float("nan"), nan)
    _spoil(world.platform, "data_cutoff_date", leak, leak)
    _spoil(world.platform, "training_cutoff_date", dt.date(2017, 6, 30), cutoff)
    # What only warns stops nothing by itself; here it is on a date of its own.
    _spoil(world.platform, "day_14", 50.0, SPAN[8])
    _spoil(world.platform, "day_1", 50.0, SPAN[9])
    result = _forecasts(world)
    found = world.evaluations(result)
    assert not result.success
    assert DOWNSTREAM not in _materialized(result)
    for check, words, day in (
        ("complete_and_finite", "1 dates do not hold 200 paths: 2018-01-04 (2018-01-04 has 150)", short),
        ("complete_and_finite", "200 paths are not finite, of 2018-01-05", nan),
        ("no_leakage", "1 forecasts know their own future: 2018-01-06", leak),
        ("no_leakage", "1 forecasts are of another window's model: 2018-01-07", cutoff),
        ("plausible_paths", "1 forecasts do not start from the last close: 2018-01-10", SPAN[9]),
    ):
        assert not found[check].passed
        assert found[check].blocking == (check != "plausible_paths")
        assert words in found[check].description
        assert f"--start-date {day} --end-date {day} --overwrite" in found[check].description
    assert "the spread of 1 forecasts is out of bounds: 2018-01-09" in found["plausible_paths"].description
    # What the descriptions say mends it; the warnings stop nothing.
    forecast(world.platform, "Alpha", "naive", SPAN[3:7], overwrite=True)
    mended = _forecasts(world)
    assert mended.success
    assert DOWNSTREAM in _materialized(mended)
    assert not world.evaluations(mended)["plausible_paths"].passed


def test_a_failure_of_one_series_stands_until_that_series_is_run_again(world: World) -> None:
    chosen = [PATHS, POINTS, DOWNSTREAM]
    forecast(world.platform, "Alpha", "naive", SPAN)
    _spoil(world.platform, "day_7", float("nan"), SPAN[4])
    assert not world.run("blended", chosen, SPAN[0], SPAN[-1]).success
    for _ in range(2):
        other = world.run("blended", chosen, SPAN[0], SPAN[1], "Beta")
        found = world.evaluations(other)["complete_and_finite"]
        assert not found.passed
        assert found.description.startswith("Found by earlier runs")
        assert "Alpha naive v1.0: 200 paths are not finite, of 2018-01-05" in found.description
        assert found.metadata["this_run_passed"].value is True
        # What Alpha lacks is no reason to stop Beta.
        assert other.success
        assert DOWNSTREAM in _materialized(other)
    forecast(world.platform, "Alpha", "naive", SPAN[4:5], overwrite=True)
    mended = world.evaluations(world.run("blended", chosen, SPAN[0], SPAN[-1]))["complete_and_finite"]
    assert mended.passed
    assert "earlier" not in mended.description


def test_a_failure_of_a_series_that_is_no_longer_configured_is_forgotten(world: World) -> None:
    forecast(world.platform, "Beta", "naive", SPAN)
    where = keys_of("Beta", "naive", "v1.0", [SPAN[2]], by_month=True)
    rows = world.platform.warehouse.read(DISTRIBUTIONS, where=where)
    world.platform.warehouse.replace(DISTRIBUTIONS, rows.slice(0, 150), where)
    assert not world.run("forecast", [PATHS, POINTS], SPAN[0], SPAN[-1], "Beta").success
    world.definitions = build_definitions(world.settings.model_copy(update={"series": world.settings.series[:1]}))
    found = world.evaluations(world.run("forecast", [PATHS, POINTS], SPAN[0], SPAN[1]))["complete_and_finite"]
    assert found.passed


@pytest.mark.parametrize(("selected", "other"), [(PATHS, POINTS), (POINTS, PATHS)])
def test_paths_and_point_forecasts_are_recorded_whichever_is_selected(
    world: World, selected: AssetKey, other: AssetKey
) -> None:
    assert world.run("forecast", [selected], SPAN[0], SPAN[-1]).success
    wanted = {f"{day}|Alpha" for day in SPAN}
    for key in (selected, other):
        assert world.instance.get_materialized_partitions(key) == wanted


def test_point_forecasts_out_of_order_and_unlike_their_paths_are_found(world: World) -> None:
    forecast(world.platform, "Alpha", "naive", SPAN[:5])
    where = keys_of("Alpha", "naive", "v1.0", [SPAN[2]], by_month=False)
    rows = world.platform.warehouse.read(POINT_FORECASTS, where=where)
    position = rows.schema.get_field_index("lower_80")
    wrong = pa.array(np.full(rows.num_rows, 1e6), pa.float64())
    rows = rows.set_column(position, rows.schema.field(position), wrong)
    world.platform.warehouse.replace(POINT_FORECASTS, rows, where)
    found = world.evaluations(world.run("forecast", [PATHS, POINTS], SPAN[0], SPAN[4]))
    assert "2018-01-03" in found["agrees_with_paths"].description
    assert "statistics of 1 of 5 sampled dates are not those of the paths" in found["agrees_with_paths"].description


def test_a_hole_in_unified_data_fails_the_ingest_run_and_says_what_to_do(world: World) -> None:
    first, last = dt.date(2018, 3, 1), dt.date(2018, 3, 29)
    good = world.evaluations(world.run("ingest", [UNIFIED], first, last))
    assert {name for name, item in good.items() if not item.passed} == {"source_on_time"}
    where = {"commodity": "Alpha", "date": [dt.date(2016, 5, 4), dt.date(2016, 5, 5)]}
    world.platform.warehouse.replace(UNIFIED_DATA, _none(world.platform), where)
    result = world.run("ingest", [UNIFIED], first, last)
    found = world.evaluations(result)["no_missing_days"]
    assert not result.success
    assert "2 days are missing" in found.description
    assert "2016-05-04 to 2016-05-05; materialize unified_data of Alpha for them" in found.description


def _none(platform: Platform) -> pa.Table:
    rows = platform.warehouse.read(UNIFIED_DATA, where={"commodity": "Alpha"})
    return rows.slice(0, 0)


def test_a_model_that_cannot_be_used_fails_the_training_run(world: World) -> None:
    window = dt.date(2018, 1, 1)
    good = world.evaluations(world.run("train", [TRAINED], window, window))
    assert good["every_window_trained"].passed
    assert good["finite_parameters"].passed
    where = {"commodity": "Alpha", "model_name": "naive", "training_cutoff_date": dt.date(2017, 12, 31)}
    [row] = world.platform.warehouse.read(TRAINED_MODELS, where=where).to_pylist()
    row["fitted_model_json"] = row["fitted_model_json"].replace("[", "[NaN,", 1)
    schema = TRAINED_MODELS.arrow_schema()
    world.platform.warehouse.replace(TRAINED_MODELS, pa.Table.from_pylist([row], schema=schema), where)
    result = world.run("train", [TRAINED], window, window)
    found = world.evaluations(result)["finite_parameters"]
    assert not result.success
    assert "1 models cannot be used: 2018-01-01 (it holds NaN)" in found.description
    assert "forecast-platform train --commodity Alpha --models naive" in found.description


def test_a_model_whose_file_is_not_what_was_written_is_not_opened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = dt.date(2018, 1, 1)
    monkeypatch.setattr("forecast_platform.work.fits.INLINE_LIMIT", 0)
    assert train(world.platform, "Alpha", "naive", [window], overwrite=True).written
    [path] = (world.settings.warehouse / "_artifacts").rglob("*.json")
    text = path.read_text()
    digit = next(place for place, letter in enumerate(text) if letter in "12345678")
    path.write_text(f"{text[:digit]}9{text[digit + 1 :]}")
    asked = Examined(world.platform, "v1.0", {"Alpha": [window]}, ("Alpha", "Beta"))
    found = examine(asked, asked.target("Alpha", "naive"))["finite_parameters"]
    assert not found.passed
    assert f"its file {path} is not what was written" in found.found


def test_scores_are_checked_for_calibration_and_degradation(world: World) -> None:
    dates = days("2017-07-01", "2018-03-15")
    forecast(world.platform, "Alpha", "naive", dates)
    windows = [dt.date(2017, 7, 1), dt.date(2018, 1, 1)]
    score(world.platform, "Alpha", "naive", windows)
    found = world.evaluations(world.run("score", [SCORES], *windows))
    assert set(found) == {"calibrated", "not_degraded"}
    assert found["calibrated"].metadata["Alpha naive v1.0: forecasts"].value > 50


def test_a_check_that_is_run_by_itself_looks_at_what_is_newest(world: World) -> None:
    forecast(world.platform, "Alpha", "naive", SPAN)
    forecast(world.platform, "Beta", "naive", SPAN)
    alone = define_asset_job("alone", AssetSelection.checks_for_assets(PATHS))
    definitions = Definitions.merge(build_definitions(world.settings), Definitions(jobs=[alone]))
    result = definitions.resolve_job_def("alone").execute_in_process(instance=world.instance)
    found = {item.check_name: item for item in result.get_asset_check_evaluations()}
    assert result.success
    assert len(found) == 3
    assert found["complete_and_finite"].metadata["Beta naive v1.0: dates"].value == len(SPAN)
