"""Several models' predictions as one: meta-learners, fitted weights, and votes; every fitted state is JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SMALLEST = 1e-6
"""Probabilities are kept this far from 0 and 1 before a logarithm."""
_RANKS = 1001
_SURE, _MOST_STEPS = 1e-8, 100


class CombineError(ValueError):
    """Predictions cannot be combined so; the message says why and what to do."""


def fit_meta(kind: str, predictions: Sequence[Floats], y: NDArray[Any], n_classes: int) -> dict[str, Any]:
    """A meta-learner over predictions, each [n, classes] or [n, 1].

    kind: `logistic` (multinomial over log-probabilities), `ridge` (over numbers), `classwise` (a logistic one a class,
    over the models' log-odds of that class), `auto`. Raises CombineError: it does not suit the target.
    """
    refuse_meta(kind, n_classes)
    kind = ("logistic" if n_classes else "ridge") if kind == "auto" else kind
    if kind == "ridge":
        return _ridge(np.column_stack([one[:, 0] for one in predictions]), y)
    present = np.unique(y)
    if len(present) < 2:
        raise CombineError("the rows that the meta-learner is fitted on have one class: stratify the folds")
    if kind == "classwise":
        learners = [
            _logistic(_log_odds(predictions, code), (y == code).astype(np.int64)) if code in present else None
            for code in range(n_classes)
        ]
        return {"kind": "classwise", "learners": learners}
    found = _logistic(_inputs(predictions, n_classes), np.searchsorted(present, y))
    return {"kind": "logistic", **found, "present": present.tolist(), "n_classes": n_classes}


def refuse_meta(kind: str, n_classes: int) -> None:
    """Raises CombineError where a meta-learner does not suit the target, of n_classes (0: a number)."""
    if kind == "ridge" and n_classes:
        raise CombineError("meta: ridge is of numbers, and the target has classes: name logistic, or leave it out")
    if kind == "classwise" and not n_classes:
        raise CombineError("stack_classwise needs classes, and the target is a number: use stack_top_any")
    if kind == "logistic" and not n_classes:
        raise CombineError("meta: logistic is of classes, and the target is a number: name ridge, or leave it out")


def apply_meta(state: dict[str, Any], predictions: Sequence[Floats]) -> Floats:
    """What a fitted meta-learner makes of predictions, [n, classes] or [n, 1] each: one such array, of probabilities or
    in the target's unit."""
    if state["kind"] == "ridge":
        x = np.column_stack([one[:, 0] for one in predictions])
        return (x @ np.asarray(state["coef"]) + state["intercept"]).reshape(-1, 1)
    if state["kind"] == "classwise":
        columns = [
            np.full(len(predictions[0]), _SMALLEST) if one is None else _sure(one, _log_odds(predictions, code))[:, 1]
            for code, one in enumerate(state["learners"])
        ]
        return normalised(np.column_stack(columns))
    made = np.zeros((len(predictions[0]), state["n_classes"]))
    made[:, state["present"]] = _sure(state, _inputs(predictions, state["n_classes"]))
    return made


def shares_of(state: dict[str, Any]) -> list[float]:
    """How much of a meta-learner each model's predictions are, summing to one: of numbers its coefficient, of classes
    the sum of its coefficients' sizes over what it says of the classes."""
    if state["kind"] == "ridge":
        sizes = np.asarray(state["coef"])
        return (sizes / sizes.sum()).tolist() if sizes.sum() > 0 else sizes.tolist()
    learners = [one for one in state["learners"] if one] if state["kind"] == "classwise" else [state]
    found: Floats | None = None
    for one in learners:
        sizes = np.abs(np.asarray(one["coef"])).sum(axis=0)
        if state["kind"] == "logistic" and state["n_classes"] > 2:
            sizes = sizes.reshape(-1, state["n_classes"]).sum(axis=1)
        found = sizes if found is None else found + sizes
    assert found is not None  # noqa: S101 - two classes at least
    return (found / (found.sum() or 1.0)).tolist()


def _ridge(x: Floats, y: NDArray[Any]) -> dict[str, Any]:
    from sklearn.linear_model import Ridge

    # In units of the target, so that the penalty means the same for every table.
    scale = float(y.std()) or 1.0
    found = Ridge(alpha=1.0).fit((x - y.mean()) / scale, (y - y.mean()) / scale)
    intercept = float(y.mean() * (1 - found.coef_.sum()) + found.intercept_ * scale)
    return {"kind": "ridge", "coef": found.coef_.tolist(), "intercept": intercept}


def _logistic(x: Floats, y: NDArray[Any]) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression

    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    found = LogisticRegression(C=0.1, max_iter=500).fit((x - centre) / spread, y)
    return {
        "coef": (found.coef_ / spread).tolist(),
        "intercept": (found.intercept_ - (found.coef_ / spread) @ centre).tolist(),
    }


def _sure(state: dict[str, Any], x: Floats) -> Floats:
    scores = x @ np.asarray(state["coef"]).T + np.asarray(state["intercept"])
    if scores.shape[1] == 1:
        from scipy.special import expit

        return np.column_stack([expit(-scores[:, 0]), expit(scores[:, 0])])
    from scipy.special import softmax

    return np.asarray(softmax(scores, axis=1))


def _inputs(predictions: Sequence[Floats], n_classes: int) -> Floats:
    """Of two classes the log-odds of the second, of more the log-probabilities, side by side."""
    if n_classes == 2:
        return _log_odds(predictions, 1)
    return np.column_stack([np.log(np.clip(one, _SMALLEST, 1.0)) for one in predictions])


def _log_odds(predictions: Sequence[Floats], code: int) -> Floats:
    shares = np.clip(np.column_stack([one[:, code] for one in predictions]), _SMALLEST, 1 - _SMALLEST)
    return np.log(shares) - np.log1p(-shares)


def fit_weights(predictions: Sequence[Floats], y: NDArray[Any], n_classes: int) -> Floats:
    """Weights of a linear pool that are best on these rows: [members], non-negative, of sum one.

    predictions: each member's of the rows, [n, width]: probabilities by class, or numbers in the target's unit. y:
    class codes or numbers, [n].

    Of least squares for numbers, of the log-likelihood for classes; both are convex (Hall and Mitchell 2007).
    """
    if not n_classes:
        from scipy.optimize import nnls

        x = np.column_stack([one[:, 0] for one in predictions])
        scale = float(y.std()) or 1.0
        # The sum is held by one heavy row.
        heavy = 1e4 * np.sqrt(len(y))
        rows = np.vstack([(x - y.mean()) / scale, np.full((1, x.shape[1]), heavy)])
        weights, _ = nnls(rows, np.append((y - y.mean()) / scale, heavy))
    else:
        taken = np.clip(np.column_stack([one[np.arange(len(y)), y] for one in predictions]), 1e-12, None)
        weights = _likeliest(taken)
    weights = np.where(weights < 1e-4, 0.0, weights)
    return weights / weights.sum()


def _likeliest(taken: Floats) -> Floats:
    """The weights of a mixture, [members], under which rows are likeliest, to _SURE nats a row of the best.

    taken: each member's probability of what a row was, [n, members]. Sequential quadratic programming over weights
    that are not held to sum to one, as the best ones do by themselves (Kim, Carbonetto, Stephens and Anitescu 2020).
    """
    from scipy.optimize import nnls

    n, count = taken.shape
    weights = np.full(count, 1 / count)
    pool = taken @ weights
    for _ in range(_MOST_STEPS):
        shares = taken / pool[:, None]
        slopes = shares.sum(axis=0) / n
        # By the dual: no weights are better by more.
        if slopes.max() - 1 < _SURE:
            break
        curved = shares.T @ shares / n
        # Members that say the same leave it flat between them.
        held = 1e-9 * np.trace(curved) / count
        half = np.linalg.cholesky(curved + held * np.eye(count))
        aim, _ = nnls(half.T, np.linalg.solve(half, 2 * slopes - 1 + held * weights))
        aim /= aim.sum()
        aimed, before, step = taken @ aim, np.log(pool).mean(), 1.0
        while step > _SURE and np.log(pool + step * (aimed - pool)).mean() < before:
            step /= 2
        if step <= _SURE:
            break
        weights = weights + step * (aim - weights)
        pool = taken @ weights
    return weights


def pooled(predictions: Sequence[Floats], weights: Floats) -> Floats:
    """The linear pool (Stone, 1961) of predictions, [n, width] each, by weights [members] that sum to 1: [n, width], in
    their unit."""
    made = np.zeros_like(predictions[0])
    for one, weight in zip(predictions, weights, strict=True):
        if weight:
            made += weight * one
    return made


def fit_mix(mix: str, predictions: Sequence[Floats], y: NDArray[Any], n_classes: int) -> dict[str, Any]:
    """What a mix needs beside the predictions, [n, width] each: of `mean of ranks` where each model's lie.

    y: class codes or numbers, [n]. Raises CombineError for a majority of numbers, and a geometric mean of numbers that
    are not above zero.
    """
    refuse_mix(mix, n_classes)
    if mix == "geometric mean" and not n_classes and not all((one > 0).all() for one in predictions):
        raise CombineError("vote.mix geometric mean needs predictions above zero: name mean")
    state: dict[str, Any] = {"kind": "mix", "mix": mix, "n_classes": n_classes}
    if mix == "mean of ranks":
        levels = np.linspace(0, 1, _RANKS)
        state["quantiles"] = [np.quantile(one, levels, axis=0).T.tolist() for one in predictions]
        if n_classes:
            state["shares"] = [float(np.mean(y == code)) for code in range(n_classes)]
        else:
            state["target"] = np.quantile(y, levels).tolist()
    return state


def refuse_mix(mix: str, n_classes: int) -> None:
    """Raises CombineError where a mix does not suit the target, of n_classes (0: a number)."""
    if mix == "majority" and not n_classes:
        raise CombineError("vote.mix majority is of classes, and the target is a number: name mean")


def apply_mix(state: dict[str, Any], predictions: Sequence[Floats]) -> Floats:
    """A vote of predictions, [n, classes] or [n, 1] each: one such array, of probabilities or in the target's unit."""
    mix, n_classes = state["mix"], state["n_classes"]
    if mix == "mean":
        return np.mean(predictions, axis=0)
    if mix == "geometric mean":
        logs = np.exp(np.mean([np.log(np.clip(one, 1e-12, None)) for one in predictions], axis=0))
        return normalised(logs) if n_classes else np.asarray(logs)
    if mix == "majority":
        votes = np.mean([one == one.max(axis=1, keepdims=True) for one in predictions], axis=0)
        # Equal votes are told apart by the mean, which weighs less than one vote.
        return normalised(votes + np.mean(predictions, axis=0) / (2 * len(predictions)))
    levels = np.linspace(0, 1, _RANKS)
    ranks = np.mean(
        [
            np.column_stack([np.interp(one[:, k], np.asarray(q), levels) for k, q in enumerate(quantiles)])
            for one, quantiles in zip(predictions, state["quantiles"], strict=True)
        ],
        axis=0,
    )
    if not n_classes:
        return np.interp(ranks[:, 0], levels, state["target"]).reshape(-1, 1)
    # A rank is no probability: odds of the rank times those of the class keep the classes' shares about right.
    shares = np.clip(np.asarray(state["shares"]), _SMALLEST, 1 - _SMALLEST)
    ranks = np.clip(ranks, _SMALLEST, 1 - _SMALLEST)
    return normalised(ranks / (1 - ranks) * shares / (1 - shares))


def apply_node(node: Mapping[str, Any], predictions: Sequence[Floats]) -> Floats:
    """What a combination says of its members' predictions, [n, width] each: [n, width], in their unit."""
    if node["kind"] == "meta":
        return apply_meta(node["state"], predictions)
    if node["kind"] == "mix":
        return apply_mix(node["state"], predictions)
    return pooled(predictions, np.asarray(node["weights"]))


def normalised(values: Floats) -> Floats:
    """Rows, [n, classes], divided by their sums: each sums to one, but one of zeros stays."""
    total = values.sum(axis=1, keepdims=True)
    return values / np.where(total > 0, total, 1.0)


def fit_calibration(kind: str, predicted: Floats, y: NDArray[Any]) -> dict[str, Any]:
    """A calibration of each class' probability: `sigmoid` (Platt 1999) or `isotonic` (Zadrozny and Elkan 2002).

    predicted: probabilities, [n, classes]; y: class codes, [n].
    """
    curves: list[Any] = []
    for code in range(predicted.shape[1]):
        target = (y == code).astype(np.float64)
        if target.min() == target.max():
            curves.append(None)
        elif kind == "sigmoid":
            curves.append(_logistic(_log_odds([predicted], code), target.astype(np.int64)))
        else:
            from sklearn.isotonic import IsotonicRegression

            found = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(predicted[:, code], target)
            curves.append({"x": found.X_thresholds_.tolist(), "y": found.y_thresholds_.tolist()})
    return {"kind": kind, "curves": curves}


def calibrated(state: dict[str, Any] | None, predicted: Floats) -> Floats:
    """Probabilities, [n, classes], as a calibration has them; as they are where there is none."""
    if state is None:
        return predicted
    columns = []
    for code, curve in enumerate(state["curves"]):
        if curve is None:
            columns.append(predicted[:, code])
        elif state["kind"] == "sigmoid":
            columns.append(_sure(curve, _log_odds([predicted], code))[:, 1])
        else:
            columns.append(np.interp(predicted[:, code], curve["x"], curve["y"]))
    return normalised(np.clip(np.column_stack(columns), 1e-9, None))
