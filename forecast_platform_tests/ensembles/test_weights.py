"""Weights that are fitted on out-of-fold predictions, against answers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.ensembles.combining import fit_weights


def test_planted_weights_are_found() -> None:
    rng = np.random.default_rng(0)
    models = [rng.normal(size=(4000, 1)) for _ in range(3)]
    y = (0.7 * models[0] + 0.3 * models[2])[:, 0]
    assert fit_weights(models, y, 0) == pytest.approx([0.7, 0.0, 0.3], abs=0.01)
    shares = [rng.beta(1, 1, 20_000) for _ in range(3)]
    truth = 0.7 * shares[0] + 0.3 * shares[2]
    labels = (rng.random(20_000) < truth).astype(np.int64)
    found = fit_weights([np.column_stack([1 - one, one]) for one in shares], labels, 2)
    assert found == pytest.approx([0.7, 0.0, 0.3], abs=0.03)


@pytest.mark.parametrize("count", [200, 5_000])
def test_weights_of_classes_are_the_likeliest_also_of_models_that_say_the_same_or_are_surely_wrong(count: int) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, count)
    models = []
    for skill in (0.5, 2.0, 1.0, 1.2):
        raw = rng.dirichlet(np.ones(3), count)
        raw[np.arange(count), labels] *= 1 + skill
        models.append(raw / raw.sum(axis=1, keepdims=True))
    models += [models[1].copy(), np.eye(3)[(labels + (rng.random(count) < 0.6)) % 3]]
    weights = fit_weights(models, labels, 3)
    taken = np.column_stack([one[np.arange(count), labels] for one in models])
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)
    # The conditions of Karush, Kuhn and Tucker: moving weight to no model makes rows likelier. Weights below 1e-4 are
    # none, so that it is so to that.
    slopes = (taken / (taken @ weights)[:, None]).mean(axis=0)
    assert slopes.max() < 1 + 1e-3
    assert slopes[weights > 0] == pytest.approx(1.0, abs=1e-3)
    # A slow way to the same, which only comes near: the EM iteration (Dempster, Laird and Rubin 1977).
    slow = np.full(len(models), 1 / len(models))
    for _ in range(3_000):
        slow = slow * (taken / (taken @ slow)[:, None]).mean(axis=0)
    assert np.log(taken @ weights).mean() > np.log(taken @ slow).mean() - 1e-6
    assert weights[1] + weights[4] == pytest.approx(slow[1] + slow[4], abs=0.01), "one model, twice"
