"""Runs of a backfill as the UI launches them: one a series and range, in the order of the lineage."""

from __future__ import annotations

import datetime as dt

import pytest
from dagster import AssetKey, Definitions

from forecast_platform.definitions import build_definitions
from forecast_platform.runs.preview import ui_runs
from forecast_platform_tests.worlds import days, settings_for, write_landing

UNIFIED, TRAINED, PATHS, POINTS, SCORES = (
    AssetKey(path.split("/"))
    for path in (
        "unified_data",
        "trained_models/naive",
        "distributions/naive",
        "point_forecasts/naive",
        "forecast_metadata/naive",
    )
)


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    root = tmp_path_factory.mktemp("planned")
    write_landing(root / "landing")
    return build_definitions(settings_for(root, start_date=dt.date(2017, 1, 1)))


def test_one_range_is_one_run_a_series(definitions: Definitions) -> None:
    found = ui_runs(definitions, [PATHS, POINTS], days("2017-01-01", "2017-03-31"), ["Alpha", "Beta"])
    assert [(run.first, run.last) for run in found] == [
        ("2017-01-01|Alpha", "2017-03-31|Alpha"),
        ("2017-01-01|Beta", "2017-03-31|Beta"),
    ]
    assert {run.assets for run in found} == {frozenset({"distributions/naive", "point_forecasts/naive"})}
    assert found[0].models == ["naive"]


def test_each_range_is_a_run(definitions: Definitions) -> None:
    dates = [*days("2017-01-01", "2017-01-03"), *days("2017-02-01", "2017-02-01")]
    found = ui_runs(definitions, [PATHS, POINTS], dates, ["Alpha"])
    assert [(run.first, run.last) for run in found] == [
        ("2017-01-01|Alpha", "2017-01-03|Alpha"),
        ("2017-02-01|Alpha", "2017-02-01|Alpha"),
    ]


def test_assets_of_other_partition_sets_come_in_turn(definitions: Definitions) -> None:
    found = ui_runs(definitions, [SCORES, POINTS, PATHS, UNIFIED], [dt.date(2017, 9, 10)], ["Alpha"])
    assert [sorted(run.assets) for run in found] == [
        ["unified_data"],
        ["distributions/naive", "point_forecasts/naive"],
        ["forecast_metadata/naive"],
    ]
    assert [run.first for run in found] == ["2017-09-10|Alpha", "2017-09-11|Alpha", "2017-07-01|Alpha"]


def test_fits_and_scores_have_the_same_partitions_but_not_the_same_run(definitions: Definitions) -> None:
    found = ui_runs(definitions, [TRAINED, PATHS, POINTS, SCORES], [dt.date(2017, 7, 1)], ["Alpha"])
    assert [sorted(run.assets)[0] for run in found] == [
        "trained_models/naive", "distributions/naive", "forecast_metadata/naive"
    ]  # fmt: skip
    assert (found[1].first, found[1].last) == ("2017-07-01|Alpha", "2017-12-31|Alpha")
