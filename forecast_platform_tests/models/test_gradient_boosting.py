from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import xgboost

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import gradient_boosting, trees
from forecast_platform.models.base import TrainingWindow
from forecast_platform.models.gradient_boosting import (
    GradientBoosting,
    GradientBoostingFitted,
    calendar,
    weights,
)
from forecast_platform.models.random_walk import RandomWalk
from forecast_platform.models.trees import MOST_LEVELS, LibraryTrees, ShallowTrees
from forecast_platform.testing.histories import random_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
TRENDING = random_history(seed=3, momentum=0.4, covariates=True)
NOISE = random_history(seed=4, covariates=True)


def fit(history: object) -> GradientBoostingFitted:
    return GradientBoosting().fit(history.before(WINDOW.end), WINDOW)  # type: ignore[attr-defined]


def test_momentum_is_learned_and_moves_the_mean_of_the_paths() -> None:
    model = fit(TRENDING)
    assert model.training_metrics()["mean_weight"] > 0.5
    assert model.training_metrics()["mean_gain"] > 0.05
    weekdays = np.arange(np.datetime64("2018-01-02"), np.datetime64("2018-06-01"))
    weekdays = weekdays[np.is_busday(weekdays)]
    paths = model.simulate(TRENDING, weekdays, 1, 500, Shocks(3, model.n_slots)).astype(np.float64)
    known = TRENDING.known_sessions(weekdays)
    closes = TRENDING.observed_close
    expected = 0.4 * np.log(closes[known - 1] / closes[known - 2])
    assert np.corrcoef(np.log(paths[:, :, 0].mean(axis=1) / closes[known - 1]), expected)[0, 1] > 0.8


def _booster(features: np.ndarray, depth: int, seed: int) -> tuple[xgboost.Booster, str]:
    random = np.random.default_rng(seed)
    label = features @ random.normal(size=features.shape[1]) + random.normal(size=len(features))
    options = {"base_score": 0.0, "nthread": 1, "max_depth": depth, "max_bin": 16, "seed": seed}
    booster = xgboost.train(options, xgboost.DMatrix(features, label=label), num_boost_round=12)
    return booster, bytes(booster.save_raw("json")).decode()


@pytest.mark.parametrize("depth", range(1, MOST_LEVELS + 1))
def test_shallow_trees_say_what_the_library_says_to_the_bit(depth: int) -> None:
    random = np.random.default_rng(depth)
    features = random.normal(size=(600, 4)).round(1).astype(np.float32)  # on thresholds, too
    features[:5] = [[-0.0], [0.0], [1e30], [-1e30], [1e-45]]
    booster, text = _booster(features, depth, depth)
    shallow = ShallowTrees.of(text)
    assert shallow is not None
    wanted = booster.inplace_predict(features, predict_type="margin")
    assert shallow.margin(list(features.T)).tobytes() == wanted.tobytes()
    paths = features.reshape(6, 100, 4).copy()
    paths[:, :, 3] = paths[:, :1, 3]  # a date's own, the same on all of its paths
    columns = [paths[:, :, 0], paths[:, :, 1], paths[:, :, 2], paths[:, :1, 3]]
    found = shallow.margin(columns)
    assert found.tobytes() == booster.inplace_predict(paths.reshape(600, 4), predict_type="margin").tobytes()
    assert np.array_equal(LibraryTrees(text).margin(columns), found)


def test_evaluated_trees_leave_no_memory_to_the_garbage_collector() -> None:
    features = np.random.default_rng(1).normal(size=(600, 4)).astype(np.float32)
    shallow = ShallowTrees.of(_booster(features, 2, 1)[1])
    assert shallow is not None
    columns = [np.repeat(column, 200) for column in features.T]
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            shallow.margin(columns)
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < columns[0].nbytes


def test_deeper_trees_are_the_library_s() -> None:
    features = np.random.default_rng(1).normal(size=(600, 4)).astype(np.float32)
    assert ShallowTrees.of(_booster(features, MOST_LEVELS + 1, 1)[1]) is None
    deep = GradientBoosting({"max_depth": MOST_LEVELS + 2, "rounds": 5, "min_child_weight": 1})
    model = deep.fit(TRENDING.before(WINDOW.end), WINDOW)
    assert {type(found) for found in model.trees.values()} == {LibraryTrees}
    paths = model.simulate(TRENDING, np.array(["2018-01-03"], "datetime64[D]"), 5, 40, Shocks(3, model.n_slots))
    assert np.isfinite(paths).all()


def test_a_feature_that_is_not_finite_is_never_asked_of_the_trees() -> None:
    model = fit(TRENDING)
    n_features = 14 + len(model.state["covariate_scales"])
    columns = list(np.random.default_rng(5).normal(size=(n_features, 2, 4)))
    columns[-1] = columns[-1][:, :1]
    whole, _ = model.learned(columns, np.ones((2, 4)))
    columns[0][0, 1], columns[3][1, 0], columns[1][1, 3] = np.inf, -np.inf, np.nan
    found, _ = model.learned(columns, np.ones((2, 4)))
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 1], [1, 0], [1, 3]]
    assert np.array_equal(found[~np.isnan(found)], whole[~np.isnan(found)])
    columns[-1][1] = 1e300  # too large for the trees' own numbers
    assert np.isnan(model.learned(columns, np.ones((2, 4)))[0][1]).all()


def test_noise_teaches_neither_head() -> None:
    generator = np.random.default_rng(0)
    found = [
        weights(
            generator.normal(size=(800, 15)).astype(np.float32), generator.normal(size=800), GradientBoosting().params
        )
        for _ in range(10)
    ]
    for head in ("mean", "log_variance"):
        assert np.median([of[head][0] for of in found]) == 0.0
        assert max(of[head][0] for of in found) < 0.5


def test_a_weekday_s_variance_is_learned_and_widens_that_day() -> None:
    calm = random_history(seed=5, sigma=1.0)
    steps = np.diff(np.log(calm.close), prepend=np.log(100.0))
    wednesday = np.is_busday(calm.dates, "0010000")
    loud = replace(calm, close=100.0 * np.exp(np.cumsum(0.01 * steps * np.where(wednesday, 3.0, 1.0))))
    model = fit(loud)
    assert model.training_metrics()["log_variance_weight"] >= 0.5
    monday = np.array(["2018-02-05"], "datetime64[D]")
    closes = model.simulate(loud, monday, 5, 2000, Shocks(3, model.n_slots))[0].astype(np.float64)
    daily = np.diff(np.log(closes), axis=1).std(axis=0)
    assert daily[1] > 1.5 * max(daily[0], daily[2], daily[3])


def test_without_evidence_the_model_is_the_random_walk() -> None:
    model = fit(NOISE)
    heads = {name: {**head, "weight": 0.0} for name, head in model.state["heads"].items()}
    silent = replace(model, state={**model.state, "heads": heads}).calibrated(NOISE.before(WINDOW.end))
    walk = RandomWalk().fit(NOISE.before(WINDOW.end), WINDOW)
    origins = np.array(["2018-02-08", "2018-02-10"], "datetime64[D]")
    shocks = Shocks(3, model.n_slots)
    assert np.array_equal(
        silent.simulate(NOISE, origins, 14, 50, shocks), walk.simulate(NOISE, origins, 14, 50, shocks)
    )


def test_a_path_s_features_are_those_the_filter_sees_on_the_same_data() -> None:
    """Advancing the state over realised closes must give the states that filtering them gives."""
    model = fit(TRENDING)
    recent, _ = model.recent(TRENDING)
    flat = recent.flat()
    state = tuple(column[500:501, None] for column in flat)
    y = model.transform.forward(TRENDING.observed_close)
    for session in range(500, 520):
        state = model.advance(state, y[session : session + 1, None], np.zeros((1, 1)))
    for column, advanced in zip(flat, state, strict=True):
        assert advanced[0, 0] == pytest.approx(column[520], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("levels", [2, MOST_LEVELS + 1])
def test_bits_do_not_depend_on_the_thread_count(monkeypatch: pytest.MonkeyPatch, levels: int) -> None:
    own = GradientBoosting({"max_depth": levels})
    model = own.fit(TRENDING.before(WINDOW.end), WINDOW)
    origins = np.arange(np.datetime64("2018-02-01"), np.datetime64("2018-02-15"))
    one = model.simulate(TRENDING, origins, 14, 300, Shocks(3, model.n_slots))
    monkeypatch.setattr(trees, "PREDICT_THREADS", 2)
    monkeypatch.setitem(gradient_boosting.PARAMETERS, "nthread", 2)
    again = own.fit(TRENDING.before(WINDOW.end), WINDOW)
    assert again.to_json() == model.to_json()
    assert np.array_equal(again.simulate(TRENDING, origins, 14, 300, Shocks(3, model.n_slots)), one)


def test_covariates_are_those_of_the_last_session_held_over_the_horizon() -> None:
    model = fit(TRENDING)
    day = np.datetime64("2018-02-08")
    later = TRENDING.dates >= day
    changed = {name: np.where(later, values + 50.0, values) for name, values in TRENDING.covariates.items()}
    origins = np.array([day, day + 1])
    before = model.simulate(TRENDING, origins, 14, 50, Shocks(3, model.n_slots))
    after = model.simulate(replace(TRENDING, covariates=changed), origins, 14, 50, Shocks(3, model.n_slots))
    assert np.array_equal(before[0], after[0])


def test_a_missing_covariate_is_named() -> None:
    model = fit(TRENDING)
    lacking = replace(TRENDING, covariates={"temp_mean_c": TRENDING.covariates["temp_mean_c"]})
    with pytest.raises(ValueError, match=r"Random.*'precipitation_mm', 'vix'"):
        model.simulate(lacking, np.array(["2018-02-08"], "datetime64[D]"), 14, 50, Shocks(3, model.n_slots))


def test_rows_without_covariates_are_counted() -> None:
    late = TRENDING.since(np.datetime64("2015-06-01"))
    assert fit(late).training_metrics()["rows_dropped"] == np.busday_count("2015-01-01", "2015-06-01")


def test_model_is_stored_as_the_library_s_json_well_below_a_megabyte() -> None:
    text = fit(TRENDING).to_json()
    assert "gbtree" in text
    assert len(text) < 200_000


def test_calendar_is_continuous_over_the_new_year_and_tells_weekdays_apart() -> None:
    days = np.array(["2017-12-29", "2018-01-01", "2018-01-02", "2018-01-08"], "datetime64[D]")
    points = calendar(days)
    assert points.shape == (4, 4)
    assert points[1, 2:] == pytest.approx(points[3, 2:])
    assert np.abs(points[1, 2:] - points[2, 2:]).max() > 0.3
    assert np.hypot(*(points[0, :2] - points[1, :2])) == pytest.approx(2 * np.sin(np.pi / 12))
