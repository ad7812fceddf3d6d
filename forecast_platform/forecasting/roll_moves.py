"""What a scheduled roll does to a nearby price: the mean and the variance of its move, learnt from earlier rolls.

On the first session in the next contract the price of another delivery is quoted, and moves twice as much as on an
ordinary day (1.3 to 2.8 times by series, `doctor`'s measure). z, the standardised move of a roll, is a Gaussian process
in time plus noise of the ordinary day's size: rolls close in time, and those of the same delivery month, resemble each
other, for they are the curve's slope.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.filters import linear_filter
from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats, History, RollSchedule
from forecast_platform.forecasting.rolls import nearest

HALF_LIFE = 20.0
"""Sessions of the average absolute move that standardises a roll's, roll days included."""

TO_DEVIATION = 1.25
"""Standard deviation over mean absolute value, of a normal variable."""

FIRST_SESSION = 30
"""Sessions before a roll's that the average must have seen. They are the training window's: a fit and its forecasts
read nothing before it, as the lineage shows, and would gain nothing (docs/quality.md)."""

LARGEST_Z = 5.0
LARGEST_SQUARE = 16.0
PRIOR_ROLLS, PRIOR_SQUARES = 8.0, 16.0
"""What is supposed of a series with no roll behind it: eight of twice an ordinary day's variance."""

LEAST_EXCESS = 0.05
YEARS = 5.0
YEAR_DAYS = 365.25
FEWEST = 5
"""Earlier rolls from which on they foretell a mean."""

SHRINK = 0.8
SELF = 1.14
"""The kernel of a roll with itself."""

GAP_SHARE, GAP_LIMIT = 0.63, 0.08
"""Share of the gap to the second contract that a roll closes, and where the gap (its logarithm) is cut."""


class RollMoves(NamedTuple):
    """The moves of the rolls ahead, by origin and trading day: y += mean + sqrt(kappa v) z on a roll's."""

    rolled: Bools
    """[n_origins, n_steps]: whether the contract changes on it."""
    mean: Floats
    """[n_origins, n_steps], on the model's scale; zero elsewhere."""
    kappa: Floats
    """[n_origins, n_steps], the variance over an ordinary day's; one elsewhere."""

    def of(self, origins: slice) -> RollMoves:
        """Those of some origins."""
        return RollMoves(self.rolled[origins], self.mean[origins], self.kappa[origins])


class PastRolls(NamedTuple):
    """The rolls of a history that can be learnt from, by session; and the size of a move after each session."""

    session: NDArray[np.intp]
    """[n_rolls]: positions among the observed sessions."""
    dates: Dates
    months: NDArray[np.int64]
    z: Floats
    size: Floats
    """[n + 1]: TO_DEVIATION times the average absolute move of the first k sessions; nan before there is one."""


def past_rolls(history: History, schedule: RollSchedule, y: Floats) -> PastRolls:
    """The standardised moves of the rolls in `history`; y [n_observed] is the close on the model's scale.

    Causal: a roll, and the size after k sessions, depend on the first k sessions and the calendar alone.
    """
    moves = np.diff(y, prepend=np.nan)
    seen = np.isfinite(moves)
    decay = 0.5 ** (1.0 / HALF_LIFE)
    total = linear_filter([1.0], [1.0, -decay], np.where(seen, np.abs(moves), 0.0))
    weight = linear_filter([1.0], [1.0, -decay], seen.astype(np.float64))
    size = np.full(len(y) + 1, np.nan)
    np.divide(TO_DEVIATION * total, weight, out=size[1:], where=weight > 0.0)
    dates = history.observed_dates
    at = np.flatnonzero(history.rolls[history.observed_index]) if history.rolls is not None else np.empty(0, np.intp)
    at = at[at >= FIRST_SESSION]
    place = nearest(schedule, dates[at])
    keep = (place >= 0) & (size[at] > 0.0)
    at, place = at[keep], place[keep]
    z = np.clip(moves[at] / size[at], -LARGEST_Z, LARGEST_Z)
    return PastRolls(at, dates[at], schedule.months[place], z, size)


def roll_moves(
    history: History,
    schedule: RollSchedule,
    y: Floats,
    known: NDArray[np.intp],
    targets: Dates,
    steps: NDArray[np.intp],
) -> RollMoves | None:
    """The moves of the rolls ahead; None where none lies within any origin's horizon.

    y: closes on the model's scale, [n_observed]. known: observed sessions before each origin, [n_origins]. targets:
    dates of the trading days, [n_origins, n_steps], of which the first `steps` [n_origins] are meant. A roll falls on
    the first trading day on or after its date, and none is expected that was seen before the origin. What lies ahead
    comes from the calendar alone.
    """
    last = history.observed_dates[known - 1]
    ends = np.searchsorted(schedule.dates, targets, side="right")
    begins = np.concatenate([np.searchsorted(schedule.dates, last, side="right")[:, None], ends[:, :-1]], axis=1)
    rolled = (ends > begins) & (np.arange(targets.shape[1]) < steps[:, None])
    if not rolled.any():
        return None
    past = past_rolls(history, schedule, y)
    flagged = np.flatnonzero(history.rolls[history.observed_index]) if history.rolls is not None else past.session
    done = np.concatenate([[-1], np.maximum.accumulate(nearest(schedule, history.observed_dates[flagged]))])
    rolled &= ends - 1 > done[np.searchsorted(flagged, known)][:, None]
    mean, kappa = np.zeros(rolled.shape), np.ones(rolled.shape)
    solved: dict[tuple[int, int], tuple[float, float]] = {}
    gap = _gap(history, known)
    for row, step in np.argwhere(rolled):
        entry, count = int(ends[row, step]) - 1, int(np.searchsorted(past.session, known[row]))
        if (entry, count) not in solved:
            solved[entry, count] = foretold(past, schedule.dates[entry], int(schedule.months[entry]), count)
        expected, kappa[row, step] = solved[entry, count]
        size = past.size[known[row]]
        mean[row, step] = expected * size if np.isfinite(size) else 0.0
        if np.isfinite(gap[row]) and not rolled[row, :step].any():
            mean[row, step] = gap[row]
    return RollMoves(rolled, mean, kappa)


def foretold(past: PastRolls, date: np.datetime64, month: int, count: int) -> tuple[float, float]:
    """The standardised mean, and the variance over an ordinary day's, of the roll to `month` on `date`.

    From the last five years of the first `count` rolls: the posterior of a Gaussian process (Rasmussen and Williams,
    2006, equations 2.25 and 2.26), its mean shrunk.
    """
    age = (date - past.dates[:count]) / ONE_DAY / YEAR_DAYS
    recent = age <= YEARS
    z, months, age = past.z[:count][recent], past.months[:count][recent], age[recent]
    excess = excess_variance(z)
    if len(z) < FEWEST:
        return 0.0, 1.0 + excess
    between = excess * kernel(np.abs(age[:, None] - age), months[:, None] == months)
    ahead = excess * kernel(age, months == month)
    # Below a hundred rows LAPACK works on one thread: the bits do not depend on the machine's cores.
    weights = np.linalg.solve(between + np.eye(len(z)), np.stack([z, ahead], axis=1))
    mean, known = (float((ahead * column).sum()) for column in weights.T)
    return SHRINK * mean, 1.0 + SELF * excess - known


def excess_variance(z: Floats) -> float:
    """A roll's variance less an ordinary day's, in units of the latter, from the z of past rolls [n]."""
    squares = float(np.minimum(z**2, LARGEST_SQUARE).sum())
    return max((squares + PRIOR_SQUARES) / (len(z) + PRIOR_ROLLS) - 1.0, LEAST_EXCESS)


def kernel(years: Floats, same: Bools) -> Floats:
    """The covariance of two rolls' z `years` [...] apart, `same` [...] where to the same delivery month: [...], in
    units of the excess variance."""
    alike = np.where(same, 0.05 * np.exp(-years / 8.0) + 0.18 * np.exp(-years / 2.0), 0.0)
    return 0.23 * np.exp(-years / 8.0) + alike + 0.68 * np.exp(-years / 0.7)


def _gap(history: History, known: NDArray[np.intp]) -> Floats:
    """The mean that the second contract foretells, [n_origins]; nan where its close of the last session is unknown."""
    found = np.full(len(known), np.nan)
    if history.close_2 is None:
        return found
    near = history.observed_close[known - 1]
    second = history.close_2[history.observed_index][known - 1]
    both = np.isfinite(second) & (second > 0.0) & (near > 0.0)
    found[both] = GAP_SHARE * np.clip(np.log(second[both] / near[both]), -GAP_LIMIT, GAP_LIMIT)
    return found
