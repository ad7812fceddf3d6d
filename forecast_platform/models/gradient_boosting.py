"""Boosted trees on the recent standardised returns, the calendar and the covariates; paths simulated recursively."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.filters import linear_filter
from forecast_platform.forecasting.history import ONE_DAY, Dates, Floats, History
from forecast_platform.forecasting.volatility import ConditionalVariance
from forecast_platform.models.base import Covariates, FittedModel, TrainingWindow, require_sessions
from forecast_platform.models.innovations import (
    BURN_IN,
    Filtered,
    InnovationsFitted,
    InnovationsModel,
    State,
    Steps,
    fitted_transform,
    fitted_variance,
    without_rolls,
)
from forecast_platform.models.tags import Hyperparameter, Hyperparameters
from forecast_platform.models.trees import LibraryTrees, ShallowTrees, loaded, margin, matrix

MINIMUM_SESSIONS = 250
LAGS = 5
SPANS = (5.0, 20.0)
"""Spans, in sessions, of the exponentially weighted mean and root mean square of the standardised returns."""

COVARIATE_SPAN = 20.0
TARGET_LIMIT = 4.0
"""Standardised returns are cut here as training targets and features (not in the residual pool): a price that passes
through zero must not become the one thing that the trees learn."""

SQUARE_LIMIT = 9.0
"""Squared standardised returns are cut here as targets of the variance's trees, like the variance's own news."""

TINY = 1e-6
OBJECTIVES = {"mean": "reg:squarederror", "log_variance": "reg:gamma"}
ROUNDS = 40
PARAMETERS: dict[str, Any] = {
    "eta": 0.05,
    "max_depth": 2,
    "min_child_weight": 40,
    "lambda": 20.0,
    "tree_method": "hist",
    "max_bin": 64,
    "seed": 0,
    "nthread": 1,
}
FOLDS = 4
FIRST_FOLD = 0.4


class Recent(NamedTuple):
    """What the trees see of the past: arrays [n + 1] over history, [rows, n_paths] along paths."""

    y: Floats
    variance: Floats
    lags: tuple[Floats, ...]
    means: tuple[Floats, ...]
    squares: tuple[Floats, ...]

    def flat(self) -> State:
        """As the flat tuple of a state."""
        return (self.y, self.variance, *self.lags, *self.means, *self.squares)

    @classmethod
    def of(cls, state: State) -> Recent:
        """From the beginning of a state."""
        first, second = 2 + LAGS, 2 + LAGS + len(SPANS)
        return cls(state[0], state[1], state[2:first], state[first:second], state[second : second + len(SPANS)])

    def following(self, y: Floats, z: Floats, variance: Floats) -> Recent:
        """What the trees see after a session with the standardised return z; each [rows, n_paths]."""
        return Recent(
            y,
            variance,
            (z, *self.lags[:-1]),
            tuple(mean + gain(span) * (z - mean) for mean, span in zip(self.means, SPANS, strict=True)),
            tuple(square + gain(span) * (z * z - square) for square, span in zip(self.squares, SPANS, strict=True)),
        )

    def columns(self, level: float) -> list[Floats]:
        """The features that differ between paths, [rows, n_paths] each; without unit."""
        return [*self.lags, *self.means, *self.squares, self.variance / level]


N_RECENT = LAGS + 2 * len(SPANS) + 1
N_TIMING = N_RECENT + 4
"""Features that come before the covariates: the recent past and the calendar."""

N_STATE = 2 + LAGS + 2 * len(SPANS)


class GradientBoostingFitted(InnovationsFitted):
    """State: y, the returns' variance, lagged standardised returns and their weighted moments; covariates, calendar."""

    @cached_property
    def trees(self) -> dict[str, ShallowTrees | LibraryTrees]:
        """The trees that have a say, by head, from the library's own JSON."""
        heads = {name: head["trees"] for name, head in self.state["heads"].items() if head["weight"] > 0.0}
        return {name: ShallowTrees.of(trees) or LibraryTrees(trees) for name, trees in heads.items()}

    @cached_property
    def return_variance(self) -> ConditionalVariance:
        """The variance that standardises returns as features: that of the returns, not of the innovations."""
        return ConditionalVariance.from_state(self.state["return_variance"])

    def filter(self, history: History) -> Filtered:
        """See `InnovationsFitted`."""
        recent, returns = self.recent(history)
        if not self.trees:
            return Filtered(returns, recent.flat())
        covariates = self.covariate_features(history)[:-1]
        varying = [column[:-1] for column in recent.columns(self.return_variance.level)]
        features = [*varying, *calendar(history.observed_dates).T, *covariates.T]
        change, spread = self.learned(features, recent.variance[:-1])
        return Filtered(returns - change, recent.flat(), spread)

    def start(
        self, filtered: Filtered, known: NDArray[np.intp], history: History, origins: Dates, steps: Steps
    ) -> State:
        """See `InnovationsFitted`; adds the covariates as known and the calendar of the days ahead."""
        state = super().start(filtered, known, history, origins, steps)
        if not self.trees:
            return state[:1]
        ahead = calendar(origins[:, None] + steps.column * ONE_DAY)
        return (*state, self.covariate_features(history)[known], ahead)

    def mean(self, state: State, step: int) -> Floats:
        """See `InnovationsFitted`."""
        return self.moments(state, step)[0]

    def moments(self, state: State, step: int) -> tuple[Floats, Floats | None]:
        """See `InnovationsFitted`."""
        if not self.trees:
            return state[0], None
        recent = Recent.of(state)
        covariates, ahead = state[N_STATE:]
        fixed = [column[:, None] for column in (*ahead[:, step].T, *covariates.T)]
        features = [*recent.columns(self.return_variance.level), *fixed]
        change, spread = self.learned(features, recent.variance)
        return recent.y + change, spread

    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        """See `InnovationsFitted`."""
        if not self.trees:
            return (y,)
        recent = Recent.of(state)
        change = y - recent.y
        z = limited(change / np.sqrt(recent.variance))
        following = recent.following(y, z, self.return_variance.step(recent.variance, change))
        return (*following.flat(), *state[N_STATE:])

    def after_roll(self, state: State, mean: Floats, move: Floats) -> State:
        """See `InnovationsFitted`: as `recent` has it, a roll day's return is none, of the variance expected."""
        y = mean + move
        if not self.trees:
            return (y,)
        recent = Recent.of(state)
        unsurprising = self.return_variance.step(recent.variance, np.sqrt(recent.variance))
        return (*recent.following(y, np.zeros(y.shape), unsurprising).flat(), *state[N_STATE:])

    def recent(self, history: History) -> tuple[Recent, Floats]:
        """The path features at every observed session, [n + 1]; y's returns [n] (nan on roll days and the first)."""
        y = self.transform.forward(history.observed_close)
        returns = without_rolls(history, np.diff(y, prepend=np.nan))
        variance = self.return_variance.filter(returns)
        z = limited(np.nan_to_num(returns / np.sqrt(variance[:-1])))
        padded = np.concatenate([np.zeros(LAGS), z])
        lags = tuple(padded[LAGS - lag : len(padded) - lag] for lag in range(LAGS))
        recent = Recent(
            np.concatenate([y[:1], y]),
            variance,
            tuple(np.concatenate([[0.0], lag]) for lag in lags),
            tuple(weighted(z, span, 0.0) for span in SPANS),
            tuple(weighted(z * z, span, 1.0) for span in SPANS),
        )
        return recent, returns

    def covariate_features(self, history: History) -> Floats:
        """Covariates less means, in training deviations, [n + 1, n_cov]. Raises ValueError where one is missing."""
        scales = self.state["covariate_scales"]
        missing = [name for name in scales if name not in history.covariates]
        if missing:
            raise ValueError(f"{history.series}: the model was fitted with {missing}, which the history lacks")
        known = np.zeros((len(history.observed_index) + 1, len(scales)))
        for column, (name, scale) in enumerate(sorted(scales.items())):
            known[1:, column] = deviations(history.observed_covariate(name)) / scale
        return known

    def learned(self, features: Sequence[Floats], variance: Floats) -> tuple[Floats, Floats | None]:
        """Mean return on the model's scale, factor on its standard deviation: [...] for features that are each [...] or
        broadcast to it.

        NaN where a feature is not finite: the trees would take it for a missing one, and go on as if nothing were
        wrong.
        """
        with np.errstate(over="ignore"):
            columns = [column.astype(np.float32) for column in features]
        bad = [~finite for finite in map(np.isfinite, columns) if not finite.all()]
        asked = [np.nan_to_num(column) for column in columns] if bad else columns
        predicted = {}
        for name, trees in self.trees.items():
            found = trees.margin(asked).astype(np.float64)
            for missing in bad:
                found[np.broadcast_to(missing, found.shape)] = np.nan
            predicted[name] = self.state["heads"][name]["weight"] * found
        shape = np.broadcast_shapes(*(column.shape for column in columns))
        change = predicted["mean"] * np.sqrt(variance) if "mean" in predicted else np.zeros(shape)
        return change, np.exp(0.5 * predicted["log_variance"]) if "log_variance" in predicted else None

    def training_metrics(self) -> dict[str, float]:
        """Each head's weight and out-of-sample gain, rows dropped, and the variance's parameters."""
        heads = self.state["heads"].items()
        figures = {f"{name}_{key}": float(head[key]) for name, head in heads for key in ("weight", "gain")}
        return {**figures, "rows_dropped": float(self.state["rows_dropped"]), **self.variance.to_state()}


class GradientBoosting(InnovationsModel):
    """Shallow trees (Chen and Guestrin, 2016) for the mean and the log variance of the next standardised return.

    Features: the last five standardised returns, exponentially weighted means and mean squares of them, the variance
    against its level, month and weekday of the target session on the circle, and each covariate's deviation from its
    weighted mean as known at the last observed session, held over the horizon. The log variance is learned from the
    first three kinds alone, by gamma deviance, as a correction to `ConditionalVariance`. What a head says is
    multiplied by a weight in [0, 1] from expanding folds of the training window, chosen with a standard error of
    caution: a head with no evidence behind it says nothing, and with neither the model is the random walk.
    """

    name: ClassVar[str] = "xgboost"
    description: ClassVar[str] = "Boosted trees on lags, rolling statistics, calendar and covariates."
    algorithm_version: ClassVar[int] = 3
    covariates: ClassVar[Covariates] = "series"
    hyperparameters: ClassVar[Hyperparameters] = {
        "rounds": Hyperparameter(ROUNDS, "Trees of each head.", least=1, most=2000),
        "eta": Hyperparameter(PARAMETERS["eta"], "Shrinkage of each tree.", least=0.001, most=1.0),
        "max_depth": Hyperparameter(
            PARAMETERS["max_depth"], "Splits from a tree's root to its leaves.", least=1, most=8
        ),
        "min_child_weight": Hyperparameter(PARAMETERS["min_child_weight"], "Rows that a leaf has at least.", least=1),
        "lambda": Hyperparameter(PARAMETERS["lambda"], "Ridge penalty on the leaves.", least=0.0),
    }
    fitted_type: ClassVar[type[FittedModel]] = GradientBoostingFitted

    def fit(self, history: History, window: TrainingWindow) -> GradientBoostingFitted:
        """See `Model.fit`; at least 250 observed sessions. Days before the covariates begin are no rows."""
        closes = require_sessions(history, MINIMUM_SESSIONS, self.name)
        transform = fitted_transform(history)
        returns = without_rolls(history, np.diff(transform.forward(closes), prepend=np.nan))
        scales = {}
        for name in sorted(history.covariates):
            spread = float(np.std(deviations(history.observed_covariate(name))[BURN_IN:]))
            if spread > 0.0:
                scales[name] = spread
        draft = GradientBoostingFitted(
            window,
            {
                "scale": transform.scale,
                "return_variance": fitted_variance(history, returns).to_state(),
                "covariate_scales": scales,
                "rows_dropped": float(np.busday_count(window.start, history.dates[0])),
            },
        )
        features, target = training_rows(draft, history)
        heads = {
            name: {"weight": weight, "gain": gain_found, "trees": boost(name, features, target, self.params)}
            for name, (weight, gain_found) in weights(features, target, self.params).items()
        }
        return GradientBoostingFitted(window, {**draft.state, "heads": heads}).calibrated(history)


def training_rows(draft: GradientBoostingFitted, history: History) -> tuple[NDArray[np.float32], Floats]:
    """Features [rows, n_features] and standardised returns [rows], after the burn-in and without roll days."""
    recent, returns = draft.recent(history)
    columns = [column[:-1] for column in recent.columns(draft.return_variance.level)]
    fixed = [*calendar(history.observed_dates).T, *draft.covariate_features(history)[:-1].T]
    target = returns / np.sqrt(recent.variance[:-1])
    keep = np.isfinite(target)
    keep[:BURN_IN] = False
    return matrix([*columns, *fixed])[keep], limited(target[keep])


def weights(features: NDArray[np.float32], target: Floats, params: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Each head's weight, and the loss it saved (share of squared error; nats of gamma deviance), on later folds.

    features: float32 [n, n_features], target: standardised returns [n], without unit; both in time's order.
    """
    edges = (np.linspace(FIRST_FOLD, 1.0, FOLDS + 1) * len(target)).astype(int)
    margins: dict[str, list[Floats]] = {name: [] for name in OBJECTIVES}
    scale = []
    for begin, end in pairwise(edges.tolist()):
        for name, found in margins.items():
            trees = loaded(boost(name, features[:begin], target[:begin], params), 1)
            found.append(margin(trees, features[begin:end]))
        scale.append(np.full(end - begin, mean_square(target[:begin])))
    later = target[edges[0] :]
    return {
        "mean": mean_weight(np.concatenate(margins["mean"]), later),
        "log_variance": variance_weight(np.concatenate(margins["log_variance"]), later, np.concatenate(scale)),
    }


def mean_weight(predicted: Floats, target: Floats) -> tuple[float, float]:
    """The slope (least squares) of target [n] on predicted [n] less its standard error, in [0, 1], and its gain."""
    energy = float(np.sum(predicted**2))
    if energy == 0.0:
        return 0.0, 0.0
    slope = float(np.sum(predicted * target)) / energy
    error = float(np.sqrt(np.mean((target - slope * predicted) ** 2) / energy))
    weight = min(1.0, max(0.0, slope - error))
    return weight, 1.0 - float(np.sum((target - weight * predicted) ** 2) / np.sum(target**2))


def variance_weight(predicted: Floats, target: Floats, mean_squares: Floats) -> tuple[float, float]:
    """The weight of least gamma deviance (QLIKE) plus a standard error of its difference from none; its gain, nats.

    predicted: log variances [n], target: standardised returns [n], mean_squares: of the rows fitted on, [n].
    """
    squares = np.minimum(target**2, SQUARE_LIMIT) / mean_squares
    best = (0.0, 0.0, 0.0)
    for weight in (0.25, 0.5, 0.75, 1.0):
        lost = weight * predicted + squares * np.expm1(-weight * predicted)
        bound = float(lost.mean() + lost.std() / np.sqrt(len(lost)))
        best = min(best, (bound, weight, -float(lost.mean())))
    return best[1], best[2]


def boost(head: str, features: NDArray[np.float32], target: Floats, params: Mapping[str, Any]) -> str:
    """Trees of a head as the library's JSON. The mean's learn deviations from the target's mean: no drift.

    head: of OBJECTIVES; features: float32 [n, n_features], target: standardised returns [n], without unit; params:
    XGBoost's, and `rounds`.
    """
    import xgboost

    if head == "mean":
        label, base = target - target.mean(), 0.0
    else:
        label, base = (np.minimum(target**2, SQUARE_LIMIT) + TINY) / mean_square(target), 1.0
        features = np.where(np.arange(features.shape[1]) < N_TIMING, features, np.float32(0))
    rows = xgboost.DMatrix(features, label=label, nthread=1)
    own = {name: value for name, value in params.items() if name != "rounds"}
    options = {**PARAMETERS, **own, "objective": OBJECTIVES[head], "base_score": base}
    return bytes(xgboost.train(options, rows, num_boost_round=params["rounds"]).save_raw("json")).decode("utf8")


def mean_square(target: Floats) -> float:
    """Mean of the squared targets [n] as the variance's trees see them."""
    return float(np.mean(np.minimum(target**2, SQUARE_LIMIT))) + TINY


def calendar(dates: Dates) -> Floats:
    """Month and weekday of dates [...] as points on the circle, [..., 4]."""
    days = dates.astype("datetime64[D]")
    month = (days.astype("datetime64[M]").astype(np.int64) % 12) * (2 * np.pi / 12)
    weekday = ((days.astype(np.int64) - 4) % 7) * (2 * np.pi / 7)
    return np.stack([np.sin(month), np.cos(month), np.sin(weekday), np.cos(weekday)], axis=-1)


def deviations(values: Floats) -> Floats:
    """A covariate [n] less its exponentially weighted mean, which starts at the first value; in its unit, [n]."""
    return values - weighted(values, COVARIATE_SPAN, float(values[0]))[1:]


def weighted(values: Floats, span: float, initial: float) -> Floats:
    """Exponentially weighted means of values [n], [n + 1]: element k is of the first k, starting from `initial`."""
    a = gain(span)
    return linear_filter([1.0], [1.0, a - 1.0], np.concatenate([[initial], a * values]))


def gain(span: float) -> float:
    """The weight of the newest value."""
    return 2.0 / (span + 1.0)


def limited(z: Floats) -> Floats:
    """Standardised returns [...] cut at the limit."""
    return np.clip(z, -TARGET_LIMIT, TARGET_LIMIT)
