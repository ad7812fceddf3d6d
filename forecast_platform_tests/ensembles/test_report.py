"""The report's page: each task beside the best single one of its models."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import t

from forecast_platform.ensembles import report
from forecast_platform.ensembles.metrics import BLOCKS, blocks_of
from forecast_platform.ensembles.tasks import base_members
from forecast_platform.ensembles.workshop import Setup
from forecast_platform_tests.ensembles.shops import done, two_groups


def test_the_column_against_the_best_model_is_the_paired_difference_of_their_errors() -> None:
    """Of mean absolute errors over blocks of one size the jackknife has a closed form: the blocks' mean differences."""
    vote, alone = {"task": "vote_mix"}, {"task": "boost", "boost": {"method": "gbm"}, "depends_on": ["vote_mix"]}
    outcomes, shop = done(two_groups(), vote, alone, metric={"regression": ["mae"]})
    y = shop.rows.y
    errors = {one.name: np.abs(one.predicted[:, 0] - y) for one in base_members(shop, Setup())}
    best = min(errors, key=lambda name: float(errors[name].mean()))
    predicted = outcomes["vote_mix"].predicted
    assert predicted is not None
    gained = errors[best] - np.abs(predicted[:, 0] - y)
    blocks = blocks_of(len(y), 42, in_order=False)
    means = np.array([gained[blocks == block].mean() for block in range(BLOCKS)])
    half = float(t.ppf(0.975, BLOCKS - 1) * means.std(ddof=1) / np.sqrt(BLOCKS))
    found = outcomes["vote_mix"].against_best
    assert found is not None
    assert (found["name"], found["metric"]) == (best, "mae")
    assert found["gain"] == pytest.approx(means.mean(), rel=1e-9)
    assert found["interval"] == pytest.approx([means.mean() - half, means.mean() + half], rel=1e-9)

    single = {"name": best, "scores": {"mae": 1.0}, "interval": (0.0, 2.0)}
    page = report._ends(outcomes, ["mae"], single, "mae")
    last = {
        cells[0]: cells[-1]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.S)
        if (cells := re.findall(r"<td[^>]*>(.*?)</td>", row, re.S))
    }
    low, high = means.mean() - half, means.mean() + half
    assert last["vote_mix"] == f"{means.mean():+.3g} ({low:.4g} to {high:.4g}), {best}"
    assert last["boost"] == "+0 (0 to 0), gbm (boost)", "a model alone is as good as itself"
    assert last[f"best single: {best}"] == ""
