"""A pool is made of what its members say today: what a run would make anew goes into none, or is left out and said."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.planning import backfill_plan
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import POINT_FORECASTS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, revise, settings_for

SPAN = days("2017-12-27", "2018-01-05")
WINDOWS = [dt.date(2017, 7, 1), dt.date(2018, 1, 1)]
MEMBERS = ("naive", "random_walk")
POOL = {"name": "pool", "type": "combine", "of": ["naive", "random_walk"]}


def _paths(platform: Platform, model: str) -> dict[dt.date, np.ndarray]:
    return Reader(platform.settings, platform.warehouse).paths("Alpha", model)


@pytest.mark.parametrize("how", ["linear_pool", "quantile_average", "crps_weights", "route"])
def test_a_member_s_forecast_of_other_data_than_today_s_is_none_of_the_pool_of_today(small: Path, how: str) -> None:
    strict, lenient = ({**POOL, "name": name, "how": how, "missing": name} for name in ("fail", "skip"))
    platform = Platform.from_settings(settings_for(small, models=[*MEMBERS, strict, lenient]))
    for member in MEMBERS:
        forecast(platform, "Alpha", member, SPAN)
    for name in ("fail", "skip"):
        train(platform, "Alpha", name, WINDOWS)
        assert forecast(platform, "Alpha", name, SPAN).written == set(SPAN)
    revise(small, platform)
    forecast(platform, "Alpha", "naive", SPAN)

    # The walk's paths begin at a close that is no more: a pool of them would say that it knows the revised one.
    revised = set(SPAN[8:])
    found = forecast(platform, "Alpha", "fail", SPAN)
    assert (set(found.failed), found.skipped) == (revised, set(SPAN) - revised)
    told = found.failed[SPAN[8]]
    assert (
        "the forecast of random_walk v1.0 for Alpha on 2018-01-04 to 2018-01-05, which fail is made of, is of" in told
    )
    assert "--models random_walk --start-date 2018-01-04 --end-date 2018-01-05" in told
    waits = backfill_plan(platform, ["Alpha"], ["random_walk", "fail"], SPAN, version="v1.0").models[-1]
    assert (waits.waiting, waits.failed) == (len(revised), {})
    skipped = forecast(platform, "Alpha", "skip", SPAN)
    assert skipped.written == revised
    assert skipped.notes == ["pooled without random_walk: 2018-01-04 to 2018-01-05"]
    pool, naive = _paths(platform, "skip"), _paths(platform, "naive")
    assert how == "quantile_average" or all(np.array_equal(pool[day], naive[day]) for day in revised)

    forecast(platform, "Alpha", "random_walk", SPAN)
    for name in ("fail", "skip"):
        assert forecast(platform, "Alpha", name, SPAN).written == revised
    both = [_paths(platform, name) for name in ("fail", "skip")]
    assert all(np.array_equal(both[0][day], both[1][day]) for day in SPAN)


def test_a_member_that_was_trained_anew_is_forecast_anew_before_the_pool_is(small: Path) -> None:
    second = {"name": "both", "type": "combine", "of": ["naive", "pool"]}
    platform = Platform.from_settings(settings_for(small, models=[*MEMBERS, POOL, second]))
    for name in ("pool", "both"):
        train(platform, "Alpha", name, WINDOWS)
    for name in (*MEMBERS, "pool", "both"):
        assert forecast(platform, "Alpha", name, SPAN).written == set(SPAN)
    revise(small, platform)
    assert train(platform, "Alpha", "random_walk", WINDOWS[:1], overwrite=True).written == set(WINDOWS[:1])
    for member in MEMBERS:
        assert not forecast(platform, "Alpha", member, SPAN).failed
    # A pool of a pool is told of the one below it.
    assert (
        "pool v1.0 for Alpha on 2018-01-04 to 2018-01-05" in forecast(platform, "Alpha", "both", SPAN).failed[SPAN[8]]
    )
    for name in ("pool", "both"):
        assert not forecast(platform, "Alpha", name, SPAN).failed


@pytest.mark.parametrize("factor", [0.01, 2.2, 100.0])
def test_earlier_forecasts_in_another_unit_count_as_not_there_for_the_weights(small: Path, factor: float) -> None:
    pool = {**POOL, "how": "crps_weights", "rate": 50.0, "shrink": 0.0}
    platform = Platform.from_settings(settings_for(small, models=[*MEMBERS, pool]))
    train(platform, "Alpha", "pool", WINDOWS)
    for member in MEMBERS:
        forecast(platform, "Alpha", member, SPAN)
    early = keys_of("Alpha", "naive", "v1.0", SPAN[:4], by_month=False)
    rows = platform.warehouse.read(POINT_FORECASTS, where=early)
    platform.warehouse.replace(POINT_FORECASTS, rows.slice(0, 0), early)
    forecast(platform, "Alpha", "pool", SPAN[8:])
    expected = _paths(platform, "pool")
    for name in ("forecast_median", "lower_80", "upper_80", "lower_95", "upper_95"):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pc.multiply(rows[name], factor))
    platform.warehouse.replace(POINT_FORECASTS, rows, early)
    assert forecast(platform, "Alpha", "pool", SPAN[8:]).skipped == set(SPAN[8:])
    assert forecast(platform, "Alpha", "pool", SPAN[8:], overwrite=True).written == set(SPAN[8:])
    assert all(np.array_equal(_paths(platform, "pool")[day], expected[day]) for day in SPAN[8:])
