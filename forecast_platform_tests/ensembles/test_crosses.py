"""Pairs of columns that interact: found where they do, and made of other rows' targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles.crosses import found_crosses
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform_tests.ensembles.shops import done


def calendar(n: int = 3000, seed: int = 0, *, numbers: bool = False) -> pd.DataFrame:
    """A month and a day whose cells have a level each, which no month and no day has by itself."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(12, 20))
    level -= level.mean(axis=0) + level.mean(axis=1, keepdims=True) - level.mean()
    month, day = rng.integers(0, 12, n), rng.integers(0, 20, n)
    found = 2 * level[month, day]
    target = found + rng.normal(size=n) if numbers else (rng.random(n) < 1 / (1 + np.exp(-found))).astype(int)
    noise = {f"noise{k}": rng.integers(0, 15, n).astype(float) for k in range(3)}
    return pd.DataFrame({"month": month.astype(float), "day": day.astype(str), **noise, "target": target})


@pytest.mark.parametrize("numbers", [False, True])
def test_a_planted_pair_is_found_and_no_other(numbers: bool) -> None:
    frame = calendar(numbers=numbers)
    features, y = frame.drop(columns="target"), frame["target"].to_numpy()
    assert found_crosses(features, y, 0 if numbers else 2, 0) == [("month", "day")]
    assert found_crosses(features, np.random.default_rng(1).permutation(y), 0 if numbers else 2, 0) == []


def test_columns_that_count_independently_of_each_other_are_no_pair() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 10, (2, 4000)).astype(float)
    chance = 1 / (1 + np.exp(-(a - 4.5) / 2 - (b - 4.5) / 2))
    y = (rng.random(4000) < chance).astype(np.int64)
    assert found_crosses(pd.DataFrame({"a": a, "b": b}), y, 2, 0) == []


@pytest.mark.slow
def test_models_learn_what_a_pair_says() -> None:
    frame = calendar()
    outcomes, shop = done(frame, {"task": "vote_mix"}, bases=["linear"], folds=3)
    assert outcomes["vote_mix"].scores["auc"] > 0.72
    alone, _ = done(frame[["day", "noise0", "noise1", "target"]], {"task": "vote_mix"}, bases=["linear"], folds=3)
    assert alone["vote_mix"].scores["auc"] < 0.6
    assert shop.fitted == 3


@pytest.mark.parametrize("kind", ["tree", "dense", "native"])
def test_a_row_s_own_target_is_not_in_its_cell_and_an_unknown_cell_has_the_mean(kind: str) -> None:
    frame = calendar(600, 3)
    features, y = frame.drop(columns="target"), np.random.default_rng(5).integers(0, 2, 600)
    encoder, x = Encoder.fit(kind, features, y, 2, 0, {}, [("month", "day")])
    cell = np.asarray(x)[:, -1].astype(float)
    assert abs(np.corrcoef(cell, y)[0, 1]) < 0.15, "cells of two or three rows would give their targets away"
    again = np.asarray(encoder.apply(features))[:, -1].astype(float)
    assert np.corrcoef(again, y)[0, 1] > 0.3, "rows that are new to it have the means of all rows fitted on"
    new = np.asarray(encoder.apply(features.assign(month=99.0)))[:, -1].astype(float)
    assert np.ptp(new) == 0
    if kind != "dense":
        assert new[0] == pytest.approx(y.mean(), abs=1e-6)
    assert np.array_equal(
        np.asarray(Encoder(encoder.state).apply(features), str), np.asarray(encoder.apply(features), str)
    )
