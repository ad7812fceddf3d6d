"""What all stochastic models share: a mean recursion, a conditional variance, and residuals drawn by date.

A model works on y = asinh(close / scale) (`AsinhTransform`), one step an exchange session:

    y[k] = mean(state[k]) + offset + e[k],   e[k] = sqrt(v[k]) * z,   z drawn from the training window's residuals

and v follows `ConditionalVariance`. This is filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper,
1999) around any mean. A subclass of `InnovationsFitted` says only what its mean is:

    filter(history) -> Filtered      innovations [n] and states, arrays [n + 1], for the n observed sessions
    mean(state, step) -> array       the mean of the next y, from the state arrays [rows, n_paths]
    advance(state, y, innovation)    the state after y was seen (a new tuple, the arrays given are not written to)
    offset(history, origins, horizon) -> [n_origins, horizon] or None   a known addition to the mean (covariates)
    shifted(state, move)             the state with every price of it moved by `move`
    start, moments, after_roll       only for a model that also reads the days ahead or scales the innovations
    conditional_variance             only for a model that chooses the variance's parameters in its own way
    standardised                     only for a model that says how z is distributed on each day ahead

Where the history has them, two more things are known than closes. A day's high and low are better news for v than its
close alone (`volatility.range_news`). On a scheduled roll the price of another delivery is quoted: the step's move is
mean_r + sqrt(kappa v) z (`roll_moves`), v is held, and the move shifts the state and is no news to it. What a fit uses
is in its state (`range_ratio`, `own_bars`, `rolls`): one without them simulates as before they were known, to the bit.

and its model's `fit` ends in `Fitted(window, {"scale": ..., <coefficients>}).calibrated(history)`, which adds the
variance's parameters and the residual pool. Rules for a subclass:

- `filter` is causal: innovation k and state k read only the first k (for the innovation: k + 1) observed sessions,
  and the same bits come out however long the history is (no sums over the whole array, no BLAS on it). Innovations
  without meaning (the first ones of a warm-up) are nan. y is `self.transform.forward(history.observed_close)`.
- `mean` and `advance` are elementwise over [rows, n_paths] (arrays may be [rows, 1] on the first step): what one row
  gives must not depend on the others, nor on how many there are. `step` counts trading days from 0.
- `innovation` is y less (mean + offset); in `filter`, subtract the same offset that was known then.
- `offset` is by calendar day, `[o, h]` for the session on origins[o] + h days; it may read history before each
  origin only.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats, History
from forecast_platform.forecasting.roll_moves import RollMoves, roll_moves
from forecast_platform.forecasting.shocks import Shocks, residual_table
from forecast_platform.forecasting.transform import AsinhTransform
from forecast_platform.forecasting.volatility import ConditionalVariance, range_news, range_ratio, squared_ranges
from forecast_platform.models.base import FittedModel, Model, Paths, Reads

State = tuple[Floats, ...]

BLOCK_ORIGINS = 32
"""Origins simulated at once: their work arrays fit a processor's cache. The result does not depend on it."""

BURN_IN = 20
"""Innovations at the start of a window that stay out of the pool: their variance is still the starting value."""

_Fitted = TypeVar("_Fitted", bound="InnovationsFitted")


class Filtered(NamedTuple):
    """A history seen through frozen parameters: `states[i][k]` is state i after the first k observed sessions."""

    innovations: Floats
    states: State
    spreads: Floats | None = None
    """[n]: the factor on sqrt(v[k]) that the model saw beforehand; None is 1."""


class Steps(NamedTuple):
    """Which calendar day of each origin is its n-th trading day."""

    column: NDArray[np.intp]
    """[n_origins, n_steps]: position in the horizon of each origin's trading days; 0 past its last one."""
    reached: NDArray[np.intp]
    """[n_origins, horizon]: how many trading days have passed by the end of each calendar day."""


class InnovationsFitted(FittedModel):
    """A fitted model of the form above. `state` holds scale, variance, residuals and the subclass's coefficients."""

    expected_spreads: ClassVar[bool] = False
    """Whether the factors on sqrt(v) are no news: v then follows the innovations divided by them."""

    @abstractmethod
    def filter(self, history: History) -> Filtered:
        """Innovations and states over the observed sessions of `history`; see the module's rules."""

    @abstractmethod
    def mean(self, state: State, step: int) -> Floats:
        """The mean of the next session's y, on the model's scale, [rows, n_paths] or broadcastable to it."""

    @abstractmethod
    def advance(self, state: State, y: Floats, innovation: Floats) -> State:
        """The state after y, [rows, n_paths] each."""

    def shifted(self, state: State, move: Floats) -> State:
        """The state with every price of it moved by `move`, [rows, n_paths]; here the first array is such a price."""
        return (state[0] + move, *state[1:])

    def after_roll(self, state: State, mean: Floats, move: Floats) -> State:
        """The state after a roll day on which y was mean + move, [rows, n_paths] each: nothing was news, and every
        price moved."""
        return self.shifted(self.advance(state, mean, np.zeros(mean.shape)), move)

    def moments(self, state: State, step: int) -> tuple[Floats, Floats | None]:
        """`mean`, and a factor on the innovation's standard deviation (None is 1), [rows, n_paths] each: for a model
        that has one."""
        return self.mean(state, step), None

    def offset(self, history: History, origins: Dates, horizon: int) -> Floats | None:
        """A known addition to the mean by calendar day, [n_origins, horizon], on the model's scale; None where there is
        none."""
        return None

    def start(
        self, filtered: Filtered, known: NDArray[np.intp], history: History, origins: Dates, steps: Steps
    ) -> State:
        """The state at each origin, arrays [n_origins, 1]; what else is known of the days ahead (a calendar feature)
        may be added as further arrays [n_origins, ...] that `advance` hands on."""
        return tuple(state[known][:, None] for state in filtered.states)

    @property
    def transform(self) -> AsinhTransform:
        """Between closes and the model's scale."""
        return AsinhTransform(float(self.state["scale"]))

    @property
    def variance(self) -> ConditionalVariance:
        """The innovations' conditional variance."""
        return ConditionalVariance.from_state(self.state["variance"])

    def calibrated(self: _Fitted, history: History) -> _Fitted:
        """This model with the variance's parameters and the residual pool of the training `history`.

        Raises ValueError, naming the series, where the innovations do not vary.
        """
        filtered = self.filter(history)
        innovations, ranges = self._news(history, filtered, own_bars=True)
        variance = self.conditional_variance(history, innovations, ranges)
        ratio = range_ratio(innovations, ranges, variance.level)
        used = {} if ratio is None else {"range_ratio": ratio, "own_bars": True}
        used |= {"rolls": True} if history.schedule else {}
        residuals = innovations / np.sqrt(variance.filter(innovations, range_news(innovations, ranges, ratio))[:-1])
        if filtered.spreads is not None and not self.expected_spreads:
            residuals /= filtered.spreads
        residuals[:BURN_IN] = np.nan
        table = residual_table(self.window.pool, history.observed_dates, residuals)
        # Not scaled to unit variance: bounded news lets v settle below the innovations' variance, and the residuals'
        # own size makes up for it.
        table -= table.mean()
        return replace(self, state={**self.state, "variance": variance.to_state(), "residuals": table, **used})

    def conditional_variance(self, history: History, innovations: Floats, ranges: Floats) -> ConditionalVariance:
        """The variance's parameters for a training window's innovations and squared ranges [n], both on the model's
        scale, nan on roll days."""
        return fitted_variance(history, innovations)

    def variances(self, history: History, filtered: Filtered) -> Floats:
        """v by observed session, [n + 1], in squares of the model's scale: nearly those of log returns."""
        innovations, ranges = self._news(history, filtered, own_bars=bool(self.state.get("own_bars")))
        ratio = self.state.get("range_ratio")
        if ratio is None:
            return self.variance.filter(innovations)
        return self.variance.filter(innovations, range_news(innovations, ranges, float(ratio)))

    def _news(self, history: History, filtered: Filtered, *, own_bars: bool) -> tuple[Floats, Floats]:
        """What v follows: innovations without those of roll days, and squared ranges, [n] each; `own_bars`: whether a
        bar that repeats the session before's is none."""
        innovations = without_rolls(history, filtered.innovations)
        ranges = squared_ranges(history, self.transform, repeats=not own_bars)
        if filtered.spreads is None or not self.expected_spreads:
            return innovations, ranges
        return innovations / filtered.spreads, ranges / filtered.spreads**2

    def rolls_ahead(self, history: History, origins: Dates, known: NDArray[np.intp], steps: Steps) -> RollMoves | None:
        """The moves of the scheduled rolls within the horizon, in transformed units; None where there are none, or the
        fit knows of none. origins [n]; known [n]: the position of each one's newest close.

        Raises ValueError where the fit knows of some and the history has no schedule.
        """
        if not self.state.get("rolls"):
            return None
        if history.schedule is None:
            raise ValueError(
                f"{history.series}: the model was fitted with a roll schedule, which the settings no longer give: set "
                "roll_rule of the series as it was, or train the model again"
            )
        y = self.transform.forward(history.observed_close)
        targets = origins[:, None] + steps.column * ONE_DAY
        return roll_moves(history, history.schedule, y, known, targets, steps.reached[:, -1])

    def standardised(
        self, history: History, origins: Dates, known: NDArray[np.intp], steps: Steps, n_paths: int, shocks: Shocks
    ) -> Floats | None:
        """z (without unit) by trading day and path, [n_origins, n_steps, n_paths]; None where it is the residual of the
        drawn date."""
        return None

    def simulate(self, history: History, origins: Dates, horizon: int, n_paths: int, shocks: Shocks) -> Paths:
        """See `FittedModel.simulate`."""
        check_inputs(self, history, shocks)
        origins = np.asarray(origins, "datetime64[D]")
        known = history.known_sessions(origins)
        steps = trading_steps(history.trading(origins, horizon))
        filtered = self.filter(history)
        variances = self.variances(history, filtered)
        offsets = self.offset(history, origins, horizon)
        rolls = self.rolls_ahead(history, origins, known, steps)
        state_at = self.start(filtered, known, history, origins, steps)
        standardised = self.standardised(history, origins, known, steps, n_paths, shocks)
        closes = np.empty((horizon, len(origins), n_paths), np.float32)
        for start in range(0, len(origins), BLOCK_ORIGINS):
            block = slice(start, min(start + BLOCK_ORIGINS, len(origins)))
            at = known[block]
            hold(closes[:, block], steps.reached[block], 0, history.observed_close[at - 1][:, None])
            self._simulate_block(
                closes[:, block],
                Steps(steps.column[block], steps.reached[block]),
                tuple(state[block] for state in state_at),
                variances[at][:, None],
                None if offsets is None else offsets[block],
                None if rolls is None else rolls.of(block),
                shocks.slots(origins[block], n_paths, horizon) if standardised is None else standardised[block],
            )
        return np.moveaxis(closes, 0, 2)

    def _simulate_block(
        self,
        closes: NDArray[np.float32],
        steps: Steps,
        state: State,
        variance: Floats,
        offsets: Floats | None,
        rolls: RollMoves | None,
        drawn: NDArray[np.uint32] | Floats,
    ) -> None:
        """`drawn`: slots of the pool [n, horizon, n_paths], or z itself [n, n_steps, n_paths]."""
        rows = np.arange(len(drawn))
        given = drawn.dtype.kind == "f"
        transform, dynamics, residuals = self.transform, self.variance, self.state["residuals"]
        for step in range(steps.column.shape[1]):
            column = steps.column[:, step]
            innovation = drawn[:, step].astype(np.float64) if given else residuals.take(drawn[rows, column])
            innovation *= np.sqrt(variance)
            mean, spread = self.moments(state, step)
            if spread is not None:
                innovation *= spread
            y = innovation + mean
            if offsets is not None:
                y += offsets[rows, column][:, None]
            rolling = rows[:0] if rolls is None else np.flatnonzero(rolls.rolled[:, step])
            if rolls is not None and len(rolling):
                move = np.sqrt(rolls.kappa[rolling, step, None]) * innovation[rolling] + rolls.mean[rolling, step, None]
                expected = y[rolling] - innovation[rolling]
                y[rolling] = expected + move
            hold(closes, steps.reached, step + 1, transform.inverse(y))
            if step + 1 < steps.column.shape[1]:
                before, held = state, variance
                state = self.advance(before, y, innovation)
                news = innovation if spread is None or not self.expected_spreads else innovation / spread
                variance = dynamics.step(held, news)
                if len(rolling):
                    after = self.after_roll(tuple(part[rolling] for part in before), expected, move)
                    state = tuple(_with_rows(part, rolling, new) for part, new in zip(state, after, strict=True))
                    variance[rolling] = held[rolling]


class InnovationsModel(Model):
    """A model of the form above: it reads what the framework can make use of, beside closes."""

    reads: ClassVar[Reads] = ("range", "rolls", "second_contract")
    continues: ClassVar[tuple[int, ...]] = (1, 2)
    """Version 1 knew neither ranges nor schedules, and version 2 took a repeated bar for the day's own: what a fit
    knows is in its state."""


def fitted_transform(history: History) -> AsinhTransform:
    """`AsinhTransform.fit` on the observed closes, its error naming the series.

    Raises ValueError where more than half of the closes are zero.
    """
    try:
        return AsinhTransform.fit(history.observed_close)
    except ValueError as error:
        raise ValueError(f"{history.series}, {history.dates[0]} to {history.dates[-1]}: {error}") from error


def fitted_variance(history: History, innovations: Floats) -> ConditionalVariance:
    """`ConditionalVariance.fit` of innovations [n], its error naming the series. Raises ValueError where they do not
    vary."""
    try:
        return ConditionalVariance.fit(innovations)
    except ValueError as error:
        raise ValueError(f"{history.series}, {history.dates[0]} to {history.dates[-1]}: {error}") from error


def check_inputs(fitted: FittedModel, history: History, shocks: Shocks) -> None:
    """Raises ValueError where the history or the shocks are not those the model was fitted for."""
    if history.dates[0] < fitted.window.start:
        raise ValueError(
            f"{history.series}: history starts on {history.dates[0]}, before the training window's "
            f"{fitted.window.start}: pass history.since(window.start)"
        )
    if shocks.n_slots != fitted.n_slots:
        raise ValueError(
            f"{history.series}: shocks draw from {shocks.n_slots} dates, the model's pool has {fitted.n_slots}: "
            "make them with fitted.n_slots"
        )


def without_rolls(history: History, innovations: Floats) -> Floats:
    """Innovations [n_observed], in their unit, with nan on the days on which the nearby contract changed."""
    if history.rolls is None:
        return innovations
    return np.where(history.rolls[history.observed_index], np.nan, innovations)


def trading_steps(trading: Bools) -> Steps:
    """The trading days of each origin, from `History.trading` [n_origins, horizon]."""
    reached = np.cumsum(trading, axis=1, dtype=np.intp)
    column = np.argmax(reached[:, None, :] > np.arange(reached.max(initial=0))[:, None], axis=2)
    return Steps(column, reached)


def _with_rows(part: Floats, rows: NDArray[np.intp], new: Floats) -> Floats:
    """A state array with other rows; the array given, which may be shared with the state before, stays as it is."""
    changed = np.array(np.broadcast_to(part, (len(part), *np.broadcast_shapes(part.shape[1:], new.shape[1:]))))
    changed[rows] = new
    return changed


def hold(closes: NDArray[np.float32], reached: NDArray[np.intp], step: int, values: Floats) -> None:
    """Write each origin's close after `step` trading days, [n_origins, n_paths or 1], to the calendar days of it.

    closes: float32 [horizon, n_origins, n_paths], in the price's unit, written to. reached: `Steps.reached`.
    """
    for day in range(len(closes)):
        rows = np.flatnonzero(reached[:, day] == step)
        if len(rows) == len(reached):
            closes[day] = values
        elif len(rows):
            closes[day, rows] = values[rows]
