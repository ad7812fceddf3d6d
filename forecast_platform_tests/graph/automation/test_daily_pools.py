"""The day's decisions on models that are made of others, where the run that makes their members fails."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from forecast_platform.graph.automation.daily import decide
from forecast_platform.graph.automation.observe import rules_of
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
from forecast_platform_tests.worlds import settings_for


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


def test_the_rules_know_which_models_are_made_of_others(tmp_path: Path) -> None:
    pool = {"name": "pool", "type": "combine", "of": ["naive", "random_walk"]}
    above = {"name": "above", "type": "combine", "of": ["naive", "pool"]}
    rules = rules_of(settings_for(tmp_path, models=["naive", "random_walk", pool, above]))
    assert rules.combined == {"pool": 1, "above": 2}
