"""The base models of the extra `ensembles`: fitted, kept without pickles, the same afterwards and in a workflow."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.learners import Learner
from forecast_platform_tests.ensembles.shops import classes, done, first_missing, two_groups
from forecast_platform_tests.ensembles.test_ending import ended

pytestmark = pytest.mark.extra

NAMES = ("lightgbm", "lightgbm_extra", "catboost", "realmlp", "tabnet")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("numbers", [False, True])
def test_a_learner_learns_and_is_the_same_from_its_files(name: str, numbers: bool) -> None:
    base = BASES[name]
    frame = two_groups(400) if numbers else classes(400)
    y = frame["target"].to_numpy()
    codes = y if numbers else np.unique(y, return_inverse=True)[1].astype(np.int64)
    n_classes = 0 if numbers else 3
    features = frame.drop(columns="target")
    encoder, x = Encoder.fit(base.encoding, features, codes, n_classes, 0, {})
    learner = Learner.fit(base, x, codes, n_classes, 0)
    found = learner.predict(encoder.apply(features))
    if numbers:
        assert np.corrcoef(found[:, 0], codes)[0, 1] > 0.6
    else:
        assert (np.argmax(found, axis=1) == codes).mean() > 0.7
    fitted = Fitted(base, encoder, {-1: learner}, found, 0.0)
    again = Fitted.load(base, fitted.files())
    rows = again.encoder.apply(features)
    assert np.allclose(again.predict(rows, None, None), found, atol=1e-6)
    assert np.array_equal(again.predict(rows, None, None), again.predict(rows, None, None))
    other = Learner.fit(base, x, codes, n_classes, 0)
    assert np.allclose(other.predict(x), learner.predict(x), atol=1e-6), "the same seed gives the same model"


@pytest.mark.parametrize("name", ["lightgbm", "catboost"])
def test_a_price_that_is_missing_for_the_first_time_is_no_extreme(name: str) -> None:
    missing, low, high = first_missing(name)
    assert missing < 3
    assert min(low, high) > 6


def test_every_boost_method_runs_and_automl_takes_the_best() -> None:
    for method in ("lightgbm", "catboost", "automl", "dl", "tf", "pytorch"):
        outcomes, _ = done(classes(120), {"task": "boost", "boost": {"method": method}}, folds=2)
        assert outcomes["boost"].scores["auc"] > 0.7, method
        if method == "automl":
            assert len(outcomes["boost"].members) == 4


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("lightgbm", {"n_estimators": 10**7}),
        ("catboost", {"iterations": 10**7}),
        ("realmlp", {"n_epochs": 10**6}),
        ("tabnet", {"max_epochs": 10**6}),
    ],
)
def test_a_fit_at_work_is_ended_with_its_task_s_time(name: str, params: dict) -> None:
    ended(name, params)


def test_boost_of_tabnet_is_a_task_like_another() -> None:
    found, shop = done(classes(120), {"task": "boost", "boost": {"method": "tabnet"}}, folds=2)
    outcome = found["boost"]
    assert [one["name"] for one in outcome.members] == ["tabnet (boost)"]
    assert outcome.fits == 2
    assert outcome.predicted is not None
    assert np.isfinite(outcome.predicted).all()
    assert outcome.predicted.sum(axis=1) == pytest.approx(np.ones(120))
    assert outcome.node is not None
    assert outcome.node["base"] == "tabnet"
