"""Intervals of scores: a quicker way to the same jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.ensembles.metrics import Scorer, blocks_of, gain_interval_of, interval, interval_of


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


@pytest.mark.parametrize("name", ["rmse", "mae", "r2"])
def test_an_interval_of_numbers_is_the_jackknife_of_the_scores_without_each_block(name: str) -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=503)
    predicted, scorer, blocks = (y + rng.normal(size=503))[:, None], Scorer(name), blocks_of(503, 3, in_order=False)
    slow = interval(lambda keep: scorer(y[keep], predicted[keep]), blocks)
    assert interval_of(scorer, y, predicted, blocks) == pytest.approx(slow, rel=1e-10)


@pytest.mark.parametrize("name", ["rmse", "mae"])
def test_an_interval_where_nearly_all_loss_is_in_one_block_is_that_of_the_others(name: str) -> None:
    """A sum of all less the block's would cancel: its root was no number, and the interval none."""
    for seed in range(40):
        y = np.zeros(400)
        y[205:212] = np.random.default_rng(seed).gamma(2, 5, 7)
        scorer, blocks, predicted = Scorer(name), blocks_of(400, 0, in_order=True), np.zeros((400, 1))
        slow = interval(lambda keep, y=y, scorer=scorer: scorer(y[keep], np.zeros((int(keep.sum()), 1))), blocks)
        assert interval_of(scorer, y, predicted, blocks) == pytest.approx(slow, rel=1e-10)
    one = interval_of(scorer, y, predicted, np.zeros(400, np.int64))
    assert np.isnan(one).all(), "of one block nothing is left out"


CLASSES = pytest.mark.parametrize("classes", [2, 4])


def said(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and probabilities of 600 rows, of which none is of the last of four classes nor taken for it."""
    rng = np.random.default_rng(classes)
    y = rng.integers(0, min(classes, 3), 600)
    predicted = rng.dirichlet(np.ones(classes), 600)
    predicted[np.arange(600), y] += 0.2
    if classes == 4:
        predicted[:, 3] = 0.0
    return y, predicted / predicted.sum(axis=1, keepdims=True)


@CLASSES
@pytest.mark.parametrize("average", ["weighted", "macro", "micro", "binary"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1", "accuracy", "auc"])
def test_scores_of_classes_are_scikit_learn_s_and_their_intervals_the_jackknife(
    name: str, average: str, classes: int
) -> None:
    from sklearn import metrics

    if average == "binary" and classes > 2:
        pytest.skip("refused before")
    y, predicted = said(classes)
    scorer, labels = Scorer(name, average), predicted.argmax(axis=1)
    if name == "accuracy":
        expected = metrics.accuracy_score(y, labels)
    elif name == "auc":
        kind = {"multi_class": "ovr", "average": "weighted" if average == "weighted" else "macro", "labels": [0, 1, 2]}
        expected = metrics.roc_auc_score(
            y, *([predicted[:, 1]] if classes == 2 else [predicted[:, :3]]), **({} if classes == 2 else kind)
        )
    else:
        score = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}[name]
        expected = score(y, labels, average=average, zero_division=0.0)
    assert scorer(y, predicted) == pytest.approx(expected, rel=1e-14)
    blocks = blocks_of(600, 3, in_order=False)
    slow = interval(lambda keep: scorer(y[keep], predicted[keep]), blocks)
    assert interval_of(scorer, y, predicted, blocks) == pytest.approx(slow, rel=1e-10)


def test_a_class_that_is_never_taken_and_one_that_no_row_is_of_count_as_scikit_learn_counts_them() -> None:
    from sklearn.metrics import f1_score, precision_score

    y, taken = np.array([0, 0, 1, 1, 2]), np.array([0, 3, 0, 3, 0])
    predicted = np.eye(5)[taken]
    for average in ("macro", "weighted", "micro"):
        assert Scorer("f1", average)(y, predicted) == f1_score(y, taken, average=average, zero_division=0.0)
        expected = precision_score(y, taken, average=average, zero_division=0.0)
        assert Scorer("precision", average)(y, predicted) == expected


def test_intervals_cost_no_score_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    y, predicted = said(4)
    monkeypatch.setattr(Scorer, "__call__", lambda *_: pytest.fail("a score of rows without a block"))
    for name in ("accuracy", "precision", "recall", "f1", "auc"):
        low, high = interval_of(Scorer(name), y, predicted, blocks_of(600, 0, in_order=False))
        assert low < high


def test_an_interval_of_an_area_is_not_defined_where_a_block_holds_all_of_a_class() -> None:
    y, blocks = np.repeat([1, 0], [5, 95]), blocks_of(100, 0, in_order=True)
    share = np.linspace(0.1, 0.9, 100)
    assert np.isnan(interval_of(Scorer("auc"), y, np.column_stack([1 - share, share]), blocks)).all()


@pytest.mark.parametrize("name", ["rmse", "auc", "accuracy", "log_loss"])
def test_a_paired_interval_is_that_of_the_difference_on_the_same_rows(name: str) -> None:
    rng = np.random.default_rng(1)
    n, scorer = 2000, Scorer(name)
    blocks = blocks_of(n, 0, in_order=False)
    if name == "rmse":
        y: np.ndarray = rng.normal(size=n)
        noise = rng.normal(size=n)
        new, old = (y + 0.50 * noise).reshape(-1, 1), (y + 0.55 * noise).reshape(-1, 1)
    else:
        y = (rng.random(n) < 0.4).astype(np.int64)
        noise = rng.normal(size=n)
        new, old = (
            np.column_stack([1 - share, share])
            for share in (1 / (1 + np.exp(-(2 * y - 1 + scale * noise))) for scale in (1.0, 1.4))
        )
    sign = -1 if scorer.smaller_is_better else 1

    def gain(keep: np.ndarray) -> float:
        return sign * (scorer(y[keep], new[keep]) - scorer(y[keep], old[keep]))

    low, high = gain_interval_of(scorer, y, new, old, blocks)
    assert (low, high) == pytest.approx(interval(gain, blocks), rel=1e-9)
    assert low > 0, "it is surely better"
    alone = interval_of(scorer, y, new, blocks)
    assert high - low < alone[1] - alone[0], "what is hard for both is in neither's favour"
