"""The day's decisions on models that are made of others, where the run that makes their members fails."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest

from forecast_platform.graph.automation.daily import decide
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import POINT_FORECASTS, TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.graph.automation.test_daily import (
    DAY,
    RULES,
    SERIES,
    TUESDAY,
    at,
    attempt,
    requests,
    state,
)
from forecast_platform_tests.graph.automation.test_ticks import SUNDAY, simulate


def test_pools_whose_members_failed_for_one_series_are_run_by_themselves_once() -> None:
    rules, now = replace(RULES, combined={"pool": 1, "strict": 1}), at(TUESDAY, 8)
    pools = frozenset((series, model, "v1.0") for series in SERIES for model in rules.combined)
    today = state(missing={TUESDAY: pools | {("Coffee", "xgboost", "v1.0")}})
    [everything] = requests(decide(rules, today, [], now))
    assert not requests(decide(rules, today, [attempt(everything, "open")], now))
    failed = [attempt(everything, "failure", now)]
    [alone] = requests(decide(rules, today, failed, now))
    assert (alone.models, alone.series, alone.first, alone.actuals) == (("pool", "strict"), SERIES, TUESDAY, False)

    # Coffee's strict one lacks its member: it is tried again with it, not by itself.
    left = replace(today, missing={TUESDAY: {("Coffee", "xgboost", "v1.0"), ("Coffee", "strict", "v1.0")}})
    runs = [*failed, attempt(alone, "failure", now)]
    assert {one.step for one in requests(decide(rules, left, runs, now))} <= {"score"}
    assert requests(decide(rules, left, runs, now + dt.timedelta(minutes=11))) == [everything]
    assert requests(decide(rules, replace(left, data="d2"), runs, now)) == [replace(everything, data="d2")]


def test_pools_of_a_date_that_is_caught_up_are_run_by_themselves_where_their_members_run_failed() -> None:
    rules, now, day = replace(RULES, combined={"pool": 1}), at(TUESDAY, 8), TUESDAY - DAY
    caught_up = {day: {("Coffee", "xgboost", "v1.0"), ("Coffee", "pool", "v1.0")}}
    done = [attempt(one, "success", now) for one in requests(decide(rules, state(), [], now))]
    [both] = requests(decide(rules, state(missing=caught_up), done, now))
    assert both.models == ("pool", "xgboost")
    runs = [*done, attempt(both, "failure", now)]
    [alone] = requests(decide(rules, state(missing=caught_up), runs, now))
    assert (alone.models, alone.first, alone.series) == (("pool",), day, ("Coffee",))
    only = {day: {("Coffee", "pool", "v1.0")}}
    [again] = requests(decide(rules, state(missing=only), done, now))
    assert again.models == ("pool",), "of itself it failed: that is told, and tried again as any is"


def test_pools_of_pools_are_run_by_themselves_where_the_pools_run_failed() -> None:
    rules, now = replace(RULES, combined={"pool": 1, "above": 2}), at(TUESDAY, 8)
    lacking = frozenset((series, model, "v1.0") for series in SERIES for model in rules.combined)
    today, runs = state(missing={TUESDAY: lacking | {("Coffee", "xgboost", "v1.0")}}), []
    asked = []
    for _ in range(3):
        [request] = requests(decide(rules, today, runs, now))
        asked.append(request.models)
        assert not requests(decide(rules, today, [*runs, attempt(request, "open")], now))
        runs.append(attempt(request, "failure", now))
        if request.models:
            today = replace(today, missing={TUESDAY: lacking - {("Sugar", "pool", "v1.0")}})
    assert asked == [(), ("above", "pool"), ("above",)]
    assert {one.step for one in requests(decide(rules, today, runs, now))} <= {"score"}


@pytest.mark.slow
def test_the_sensor_makes_the_pools_of_a_day_whose_member_failed_for_one_series(small: Path) -> None:
    pools = [
        {"name": "strict", "type": "combine", "of": ["naive", "random_walk"]},
        {"name": "lenient", "type": "combine", "of": ["naive", "random_walk"], "missing": "skip"},
        {"name": "above", "type": "combine", "of": ["naive", "strict"]},
    ]
    found = simulate(small, SUNDAY, 9, catch_up_days=1, models=["naive", "random_walk", *pools])
    platform = Platform.from_settings(found.settings)
    for series, pool in product(("Alpha", "Beta"), ("strict", "lenient", "above")):
        train(platform, series, pool, [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])
    fit = {"commodity": "Alpha", "model_name": "random_walk", "training_cutoff_date": dt.date(2017, 12, 31)}
    [row] = platform.warehouse.read(TRAINED_MODELS, where=fit).to_pylist()
    other = {**json.loads(row["parameters"]), "median_close": 1e6}
    rows = pa.Table.from_pylist([{**row, "parameters": json.dumps(other)}], schema=TRAINED_MODELS.arrow_schema())
    platform.warehouse.replace(TRAINED_MODELS, rows, fit)

    found.until_quiet("daily_forecast")
    tried = [(key.split("/"), status) for _, key, status in found.runs if key.startswith("forecast")]
    columns = ["commodity", "model_name"]
    there = platform.warehouse.read(POINT_FORECASTS, columns, {"forecast_date": SUNDAY, "day_ahead": 1})
    lacking = {("Alpha", "random_walk"), ("Alpha", "strict"), ("Alpha", "above")}
    made = {(row["commodity"], row["model_name"]) for row in there.to_pylist()}
    assert made == set(product(("Alpha", "Beta"), found.settings.models)) - lacking
    assert [status for _, status in tried] == ["FAILURE"] * 3
    assert [key[4] for key, _ in tried[1:]] == ["above+lenient+strict", "above"]
