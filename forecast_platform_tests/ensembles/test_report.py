"""The report's page: each task beside the best single one of its models, and what features are worth."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from forecast_platform.ensembles import report
from forecast_platform.ensembles.members import Setup
from forecast_platform.ensembles.metrics import BLOCKS, Scorer, blocks_of
from forecast_platform.ensembles.tasks import base_members
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


def test_importances_are_those_of_whole_shuffled_columns_and_predict_no_row_again_that_kept_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    n, held = 900, np.arange(100, 400)
    frame = pd.DataFrame({"a": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)), "idle": rng.normal(size=n)})
    frame["kind"] = np.where(rng.random(n) < 0.7, "x", None)
    frame["flat"] = np.where(np.arange(n) < 500, 1.0, 2.0)

    def predict(node: object, rows: pd.DataFrame, split: int) -> np.ndarray:
        asked.append(len(rows))
        found = rows["a"].fillna(3.0) + 2.0 * (rows["kind"] == "x") + rows["flat"]
        return found.to_numpy().reshape(-1, 1)

    asked: list[int] = []
    y = predict(None, frame, 0)[:, 0] + 0.1 * rng.normal(size=n)
    rows = SimpleNamespace(features=frame, y=y, scorers=lambda context: [Scorer("rmse")])
    workflow = SimpleNamespace(context=SimpleNamespace(seed=3))
    split = SimpleNamespace(valid=held)
    run = SimpleNamespace(rows=rows, workflow=workflow, folds={"folds": SimpleNamespace(splits=[split])})
    monkeypatch.setattr(report, "predictor_of", lambda *_: SimpleNamespace(predict=predict))
    end = SimpleNamespace(node={})
    for batch in (6_000, 300):
        monkeypatch.setattr(report, "_IMPORTANCE_BATCH", batch)
        asked.clear()
        found = dict(report.importance(run, {}, end, {}))  # type: ignore[arg-type]
        drawn = np.random.default_rng(3)
        few = np.sort(drawn.permutation(held)[: min(400, max(100, batch // 4))])
        table, score = frame.iloc[few].reset_index(drop=True), Scorer("rmse")
        own = score(y[few], predict(None, table, 0))
        for name in frame.columns:
            shuffled = table.assign(**{name: table[name].to_numpy()[drawn.permutation(len(few))]})
            assert found[name] == pytest.approx(score(y[few], predict(None, shuffled, 0)) - own, abs=1e-12), name
        assert found["idle"] == found["flat"] == 0.0
        assert found["a"] > found["kind"] > 0.3
        assert sum(asked[: -1 - len(frame.columns)]) < 4 * len(few), "of five tables"
