"""What near rows say within a pair's cell: found where something is planted, and never from a row's own target."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles import nearby
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.nearby import Near, apply_near, fit_near, found_near
from forecast_platform_tests.ensembles.shops import done

PAIR = ("month", "day")
ALONG = Near(along="hour", within=None, onto=-1)
CARRIER = Near(along="hour", within="carrier", onto=0)
ALL = [ALONG, CARRIER, Near(along=None, within="carrier", onto=0), Near(along=None, within="number", onto=-1)]


def days(n: int = 6000, seed: int = 0, *, numbers: bool = False, carriers: bool = False) -> pd.DataFrame:
    """Days whose mornings and evenings go differently, each in its own way; with `carriers` also each carrier's."""
    rng = np.random.default_rng(seed)
    month, day, carrier = rng.integers(0, 8, n), rng.integers(0, 10, n), rng.integers(0, 4, n)
    hour = rng.uniform(5, 23, n)
    level, slope = rng.normal(size=(2, 8, 10))
    said = level[month, day] + slope[month, day] * (hour - 14) / 4
    if carriers:
        said = said + 2 * rng.normal(size=(8, 10, 4))[month, day, carrier]
    target = said + rng.normal(size=n) if numbers else (rng.random(n) < 1 / (1 + np.exp(-2 * said))).astype(int)
    noise = {"noise": rng.normal(size=n), "number": rng.integers(0, 6, n).astype(float)}
    frame = pd.DataFrame({"month": month.astype(float), "day": day.astype(str), "hour": hour, **noise})
    return frame.assign(carrier=np.array(list("abcd"), object)[carrier], target=target)


@pytest.mark.parametrize("numbers", [False, True])
def test_the_planted_number_and_level_are_found_and_nothing_in_noise(numbers: bool) -> None:
    frame = days(numbers=numbers, carriers=True)
    features, y = frame.drop(columns="target"), frame["target"].to_numpy()
    n_classes = 0 if numbers else 2
    found = found_near(features, y, n_classes, PAIR, 0)
    assert found[0] == ALONG
    assert {one["within"] for one in found[1:]} == {"carrier"}
    noise = np.random.default_rng(1).permutation(y)
    assert found_near(features, noise, n_classes, PAIR, 0) == []
    plain = days(numbers=numbers)
    assert found_near(plain.drop(columns="target"), plain["target"].to_numpy(), n_classes, PAIR, 0) == [ALONG]


def plainly(
    features: pd.DataFrame, y: np.ndarray, asked: pd.DataFrame, use: np.ndarray, near: list[Near]
) -> np.ndarray:
    """The means a row at a time; use: which of the known rows count for which of those asked for, [n asked, n]."""
    known = features["hour"].to_numpy()
    edges = np.unique(np.quantile(known[~np.isnan(known)], np.linspace(0, 1, nearby._BINS + 1)[1:-1]))

    def bin_of(hour: float) -> float:
        return np.nan if np.isnan(hour) else float((edges <= hour).sum())

    bins = np.array([bin_of(one) for one in known])
    made = np.zeros((len(asked), len(near)))
    for row, one in enumerate(asked.to_dict("records")):
        same = use[row] & (features["month"] == one["month"]).to_numpy() & (features["day"] == one["day"]).to_numpy()
        cell = (y[same].sum() + nearby._CELL * y.mean()) / (same.sum() + nearby._CELL)
        for place, each in enumerate(near):
            weight = same.astype(float)
            if each["within"]:
                weight = weight * (features[each["within"]] == one[each["within"]]).to_numpy()
            if each["along"]:
                apart = (bins - bin_of(one["hour"])) / nearby._WIDTH
                weight = weight * np.nan_to_num(np.exp(-0.5 * apart**2))
            strength = nearby._ALONG if each["along"] else nearby._LEVEL
            onto = cell if each["onto"] < 0 else made[row, each["onto"]]
            made[row, place] = (weight @ y + strength * onto) / (weight.sum() + strength)
    return made


def test_the_means_are_those_of_the_formula_of_other_parts_rows_and_of_all_for_new_ones() -> None:
    frame = days(500, carriers=True)
    frame.loc[::17, "hour"] = np.nan
    y = frame.pop("target").to_numpy().astype(float)
    state, made = fit_near(frame, y, PAIR, ALL, 3)
    part = np.random.default_rng(3).permutation(np.arange(500) % nearby._PARTS)
    np.testing.assert_allclose(made, plainly(frame, y, frame, part[:, None] != part, ALL), atol=1e-12)
    new = days(80, seed=9, carriers=True).drop(columns="target")
    found = apply_near(json.loads(json.dumps(state)), new)
    np.testing.assert_allclose(found, plainly(frame, y, new, np.ones((80, 500), bool), ALL), atol=1e-12)


def test_values_that_were_never_seen_have_what_is_known_without_them() -> None:
    frame = days(500)
    y = frame.pop("target").to_numpy()
    state, _ = fit_near(frame, y, PAIR, ALL, 0)
    np.testing.assert_allclose(apply_near(state, frame.assign(day="no such day")), y.mean())
    found = apply_near(state, frame.assign(carrier=None, hour=np.nan))
    np.testing.assert_allclose(found[:, :3], np.repeat(found[:, :1], 3, axis=1))


@pytest.mark.parametrize("kind", ["tree", "dense", "native"])
def test_a_row_s_own_target_is_in_no_mean_of_it(kind: str) -> None:
    frame = days(600).drop(columns="target")
    y = np.random.default_rng(5).integers(0, 2, 600)
    encoder, x = Encoder.fit(kind, frame, y, 2, 0, {}, [PAIR], near=ALL)
    own = np.asarray(x)[:, -len(ALL) :].astype(float)
    again = np.asarray(encoder.apply(frame))[:, -len(ALL) :].astype(float)
    for place in range(len(ALL)):
        assert abs(np.corrcoef(own[:, place], y)[0, 1]) < 0.15
        assert np.corrcoef(again[:, place], y)[0, 1] > 0.3, "rows that are new to it have the means of all rows"
    other, same = Encoder.fit(kind, frame, y, 2, 0, {}, [PAIR], near=ALL)
    assert other.state == encoder.state
    assert np.array_equal(np.asarray(same, str), np.asarray(x, str))


@pytest.mark.slow
def test_models_learn_what_near_rows_say(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = days()
    task = {"task": "vote_mix"}
    with_them = done(frame, task, bases=["gbm"], folds=3)[0]["vote_mix"].scores["auc"]
    monkeypatch.setattr(nearby, "found_near", lambda *_: [])
    assert with_them > done(frame, task, bases=["gbm"], folds=3)[0]["vote_mix"].scores["auc"] + 0.02
