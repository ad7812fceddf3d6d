"""What models declare holds on Spark as it does locally: pools, folders, pickles, names of their own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform_tests.compute.engines import assert_same_tables, needs_sail
from forecast_platform_tests.compute.test_spark_sail import pair
from forecast_platform_tests.models import kept_models
from forecast_platform_tests.pipeline.test_combinations import POOL
from forecast_platform_tests.worlds import days

pytestmark = [needs_sail, pytest.mark.slow]

SPAN = days("2018-01-03", "2018-01-12")
WINDOW = dt.date(2018, 1, 1)
MODELS = ["naive", "random_walk", {"name": "big", "type": "xgboost", "params": {"rounds": 3}}, POOL]


@pytest.mark.parametrize("order", [("naive", "random_walk", "pool"), ("big",), ("in_files",), ("pickled",)])
def test_spark_and_local_give_the_same_bits(small: Path, tmp_path: Path, order: tuple[str, ...]) -> None:
    changes = {"models": [*MODELS, "in_files", "pickled"], "plugins": [kept_models.__name__]}
    here, there = pair(small, tmp_path, **changes)
    for platform in (here, there):
        for model in order:
            fitted = train(platform, "Alpha", model, [WINDOW])
            assert not fitted.failed, fitted.failed
            made = forecast(platform, "Alpha", model, SPAN)
            assert made.written == set(SPAN), made.failed
            assert forecast(platform, "Alpha", model, SPAN).skipped == set(SPAN)
    assert_same_tables(here, there)
