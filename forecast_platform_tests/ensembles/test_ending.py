"""Fits that are at work when a task's time is over."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.ending import ends_at
from forecast_platform.ensembles.learners import Learner
from forecast_platform.ensembles.members import Setup, Wanted
from forecast_platform.ensembles.workshop import TaskTimeoutError
from forecast_platform_tests.ensembles.shops import classes, done

ENDLESS = {
    "xgboost": {"n_estimators": 10**7},
    "gbm": {"max_iter": 10**7, "early_stopping": False},
    "extra_trees": {"n_estimators": 10**6},
    "neural": {"max_iter": 10**6, "early_stopping": False, "n_iter_no_change": 10**6, "learning_rate_init": 1e-9},
}


def ended(name: str, params: dict) -> None:
    """A fit of these parameters, which would take hours, ends with its task's time; one before it is kept."""
    _, shop = done(classes(), {"task": "stack_top_any"}, bases=["linear", "neighbours"], folds=2)
    endless = dataclasses.replace(BASES[name], params={**BASES[name].params, **params})
    kept = len(shop.store.kept)
    shop.deadline = time.monotonic() + 1.0
    began = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"over 600 s \(context.timeout\); 4 fits of this try are kept"):
        shop.members([Wanted(BASES["linear"], Setup()), Wanted(endless, Setup())])
    assert time.monotonic() - began < 60
    assert len(shop.store.kept) == kept, "no half fit"
    shop.deadline = None
    assert shop.members([Wanted(BASES["linear"], Setup())])


@pytest.mark.parametrize("name", ENDLESS)
def test_a_fit_at_work_is_ended_with_its_task_s_time(name: str) -> None:
    ended(name, ENDLESS[name])


@pytest.mark.parametrize("name", [*ENDLESS, "forest"])
@pytest.mark.parametrize("numbers", [False, True])
def test_a_fit_that_is_asked_for_its_time_has_the_bits_of_one_that_is_not(name: str, numbers: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = x[:, 0].astype(np.float64) if numbers else (x[:, 0] > 0).astype(np.int64)
    plain = Learner.fit(BASES[name], x, y, 0 if numbers else 2, 3)
    with ends_at(time.monotonic() + 600):
        asked = Learner.fit(BASES[name], x, y, 0 if numbers else 2, 3)
    assert np.array_equal(plain.predict(x), asked.predict(x))
    kept, plainly = asked.files(), plain.files()
    assert {file: len(data) for file, data in kept.items()} == {file: len(data) for file, data in plainly.items()}
