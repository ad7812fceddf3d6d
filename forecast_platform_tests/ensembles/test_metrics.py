"""Intervals of scores: a quicker way to the same jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.ensembles.metrics import Scorer, blocks_of, interval, interval_of


@pytest.mark.parametrize("name", ["auc", "accuracy", "log_loss"])
@pytest.mark.parametrize("digits", [1, 12])
def test_an_interval_of_a_metric_is_the_jackknife_of_its_scores_without_each_block(name: str, digits: int) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(700) < 0.3).astype(np.int64)
    # Of one digit most are equal to others: pairs of equal ones count half.
    share = np.clip(np.round(0.3 * y + 0.7 * rng.random(700), digits), 0.01, 0.99)
    predicted, scorer = np.column_stack([1 - share, share]), Scorer(name)
    blocks = blocks_of(700, 3, in_order=False)
    slow = interval(lambda keep: scorer(y[keep], predicted[keep]), blocks)
    assert interval_of(scorer, y, predicted, blocks) == pytest.approx(slow, rel=1e-12)


def test_an_interval_of_an_area_is_not_defined_where_a_block_holds_all_of_a_class() -> None:
    y, blocks = np.repeat([1, 0], [5, 95]), blocks_of(100, 0, in_order=True)
    share = np.linspace(0.1, 0.9, 100)
    assert np.isnan(interval_of(Scorer("auc"), y, np.column_stack([1 - share, share]), blocks)).all()
