"""What a task says of its models: how much of it each is, and whether it beats the best of them."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.ensembles import combining
from forecast_platform_tests.ensembles.shops import classes, done


def test_a_stack_says_how_much_of_it_each_model_is_and_whether_it_beats_the_best_of_them() -> None:
    found, shop = done(classes(), {"task": "stack_top_any", "stack": {"top_n": 2}}, bases=["linear", "xgboost", "gbm"])
    outcome = found["stack_top_any"]
    weights = {one["name"]: one["weight"] for one in outcome.members}
    assert sorted(weights.values(), key=lambda one: (one is None, one))[-1] is None, "one is not chosen"
    assert sum(one for one in weights.values() if one is not None) == pytest.approx(1)
    assert outcome.against_best is not None
    assert outcome.predicted is not None
    best = outcome.members[0]
    assert outcome.against_best["name"] == best["name"]
    gain = outcome.scores["auc"] - best["scores"]["auc"]
    assert outcome.against_best["gain"] == pytest.approx(gain, abs=1e-12)
    low, high = outcome.against_best["interval"]
    assert low < gain < high


def test_shares_of_a_meta_learner_are_where_its_coefficients_are() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=500)
    good, bad = (y + 0.1 * rng.normal(size=500)).reshape(-1, 1), rng.normal(size=(500, 1))
    assert combining.shares_of(combining.fit_meta("ridge", [good, bad], y, 0)) == pytest.approx([1, 0], abs=0.02)
    for n_classes in (2, 3):
        codes = rng.integers(0, n_classes, 500)
        told = 0.9 * np.eye(n_classes)[codes] + 0.1 / n_classes
        noise = rng.dirichlet(np.ones(n_classes), 500)
        for kind in ("logistic", "classwise"):
            first, second = combining.shares_of(combining.fit_meta(kind, [told, noise], codes, n_classes))
            assert first > 0.9
            assert first + second == pytest.approx(1)
