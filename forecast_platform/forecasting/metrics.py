"""Scores of probabilistic and point forecasts: plain functions of arrays. NaN is an unknown value and is left out."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Bools, Dates, Floats
from forecast_platform.forecasting.horizon import suffixes
from forecast_platform.forecasting.summary import Paths, blocks, sorted_paths, summarise_sorted

Samples = NDArray[np.floating]

MEASURES = ("mae", "rmse", "mape", "crps", "coverage_80", "coverage_95", "sharpness_80", "sharpness_95")
"""Measures that forecast_metadata holds for each span of the horizon, as `crps_7d`."""


def score_columns(horizon: int) -> tuple[str, ...]:
    """Columns that `score_dates` returns for paths of `horizon` days."""
    measures = (f"{measure}_{suffix}" for suffix in suffixes(horizon) for measure in MEASURES)
    return (*measures, "dir_day0", "pit", "actuals_available")


_PIT_STREAM = 0x504954
"""First key word of the generator that breaks PIT ties: a stream of its own beside the paths' shocks."""


class AccuracyTest(NamedTuple):
    """A test of equal accuracy; a negative statistic means that the first forecast has the lower loss."""

    statistic: float
    p_value: float


def crps(ordered: Samples, observation: Floats) -> Floats:
    """Continuous ranked probability score, E|X - y| - 1/2 E|X - X'|, of samples sorted along the last axis.

    ordered [..., n], observation [...] to float64 [...], in the unit of the observation; less is better. Both
    expectations run over the samples as they are, with 1/n and 1/n**2: the ensemble's own CRPS (Gneiting and
    Raftery, 2007, eq. 21), not the unbiased estimate with 1/(n(n-1)). With x sorted, the second one is
    sum((2i - n - 1) x_i) / n**2. Raises ValueError where the shapes do not fit.
    """
    observation = np.asarray(observation, np.float64)
    if ordered.shape[:-1] != observation.shape:
        raise ValueError(f"samples {ordered.shape} do not fit observations {observation.shape}: [..., n] and [...]")
    n = ordered.shape[-1]
    rank_weight = (2 * np.arange(1, n + 1) - n - 1) / n**2
    rows, targets = ordered.reshape(-1, n), observation.reshape(-1)
    score = np.empty(len(rows))
    for part in blocks(len(rows), n):
        # The rank weights sum to zero: shifting by the observation keeps digits that large prices would cost.
        error = rows[part] - targets[part, None]
        spread = (error * rank_weight).sum(axis=-1)
        score[part] = np.abs(error, out=error).mean(axis=-1) - spread
    return score.reshape(observation.shape)


def pit(ordered: Samples, observation: Floats, uniform: Floats) -> Floats:
    """Probability integral transform of each observation, in (0, 1): uniform where forecasts are calibrated.

    ordered [..., n], observation [...], uniform [...] in [0, 1) to float64 [...]. The observation's rank among the
    n samples, spread evenly by `uniform` over the samples that tie with it (Czado, Gneiting and Held, 2009):
    (below + uniform * (ties + 1)) / (n + 1), exactly uniform where samples and observation are exchangeable.
    Ties are found in the samples' precision. NaN where the observation is.
    """
    observation = np.asarray(observation)
    n = ordered.shape[-1]
    rows = ordered.reshape(-1, n)
    targets = observation.astype(ordered.dtype).reshape(-1)
    below, ties = np.empty(len(rows)), np.empty(len(rows))
    for row, (samples, target) in enumerate(zip(rows, targets, strict=True)):
        first = np.searchsorted(samples, target, side="left")
        below[row], ties[row] = first, np.searchsorted(samples, target, side="right") - first
    rank = (below.reshape(observation.shape) + uniform * (ties.reshape(observation.shape) + 1)) / (n + 1)
    return np.asarray(np.where(np.isnan(observation), np.nan, rank))


def pit_uniforms(origins: Dates) -> Floats:
    """The number in [0, 1) that breaks PIT ties on each forecast date, float64 [n]: a function of the date alone."""
    days = np.asarray(origins, "datetime64[D]").astype(np.int64)
    words = [np.random.Philox(key=np.array([_PIT_STREAM, day], np.uint64)).random_raw() for day in days]
    return (np.array(words, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mae(actual: Floats, forecast: Floats) -> Floats:
    """Mean absolute error along the last axis, [..., n] to [...], in the unit of the actuals; unknown ones are left
    out."""
    return _mean(np.abs(actual - forecast))


def rmse(actual: Floats, forecast: Floats) -> Floats:
    """Root mean square error along the last axis, [..., n] to [...], in the unit of the actuals; unknown ones are left
    out."""
    return np.sqrt(_mean((actual - forecast) ** 2))


def mape(actual: Floats, forecast: Floats) -> Floats:
    """Mean absolute percentage error along the last axis, [..., n] to [...], in per cent of |actual|; zero actuals are
    left out."""
    return _mean(100 * _ratio(np.abs(actual - forecast), np.abs(actual)))


def smape(actual: Floats, forecast: Floats) -> Floats:
    """Symmetric MAPE along the last axis, [..., n] to [...], 0 to 200 per cent: 200 |y - f| / (|y| + |f|), as in the M4
    competition (Makridakis, Spiliotis and Assimakopoulos, 2020); 0 where both are zero."""
    error, scale = np.abs(actual - forecast), np.abs(actual) + np.abs(forecast)
    return _mean(200 * np.where(scale == 0, 0.0, _ratio(error, scale)))


def mase(actual: Floats, forecast: Floats, training: Floats, season: int = 1) -> Floats:
    """Mean absolute scaled error along the last axis (Hyndman and Koehler, 2006), [..., n] to [...], without unit.

    The scale is the mean absolute change over `season` steps of `training` [m]. Raises ValueError where the training
    series is too short or never changes.
    """
    if len(training) <= season:
        raise ValueError(f"mase: training has {len(training)} values, more than season = {season} are needed")
    scale = float(np.nanmean(np.abs(training[season:] - training[:-season])))
    if not scale > 0:
        raise ValueError(f"mase: the training series never changes over {season} steps, so it gives no scale")
    return mae(actual, forecast) / scale


def pinball(actual: Floats, quantile: Floats, level: float) -> Floats:
    """Mean pinball loss (Koenker and Bassett, 1978) along the last axis of a forecast of the quantile `level` in 0..1:
    [..., n] to [...], in the unit of the actuals."""
    error = actual - quantile
    return _mean(np.maximum(level * error, (level - 1) * error))


def coverage(actual: Floats, lower: Floats, upper: Floats) -> Floats:
    """Share (0 to 1) of known actuals in lower..upper, bounds included, along the last axis: [..., n] to [...]."""
    return _mean(_inside(actual, lower, upper))


def sharpness(lower: Floats, upper: Floats) -> Floats:
    """Mean width of the band along the last axis, [..., n] to [...], in the price's unit (Gneiting, Balabdaoui and
    Raftery, 2007)."""
    return _mean(upper - lower)


def direction(last_close: Floats, forecast: Floats, actual: Floats) -> Floats:
    """1 where forecast and actual [...] lie on the same side of the last known close, 0 where not, float64 [...].

    0.5 where the forecast does not move (no side was named, so it is a coin's toss); NaN where the actual does not move
    or anything is unknown. Their mean is the direction accuracy.
    """
    called, moved = np.sign(forecast - last_close), np.sign(actual - last_close)
    hit = np.where(called == 0, 0.5, called == moved)
    return np.where(np.isfinite(called) & np.isfinite(moved) & (moved != 0), hit, np.nan)


def skill(score: Floats | float, reference: Floats | float) -> Floats:
    """1 - score / reference, elementwise, [...] as both: the share of the reference's loss that is saved; NaN
    where the reference is zero."""
    return np.asarray(1 - _ratio(np.asarray(score, np.float64), np.asarray(reference, np.float64)))


def diebold_mariano(loss_a: Floats, loss_b: Floats, horizon: int) -> AccuracyTest:
    """Test of equal mean loss (Diebold and Mariano, 1995) with the small-sample correction of Harvey, Leybourne
    and Newbold (1997), two-sided against Student's t with n - 1 degrees of freedom.

    loss_a, loss_b [n] in time order, one an origin; pairs with an unknown loss are left out. The variance of the
    mean difference holds autocovariances to lag horizon - 1, as forecasts that overlap by that much imply; where
    their plain sum is not positive, Bartlett weights (Newey and West, 1987) take its place. The same losses give
    (0, 1); NaN where n is not above the horizon, or where the difference never varies. Raises ValueError for a horizon
    below 1.
    """
    if horizon < 1:
        raise ValueError(f"diebold_mariano: horizon is {horizon}, at least 1")
    difference = np.asarray(loss_a, np.float64) - np.asarray(loss_b, np.float64)
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n <= horizon:
        return AccuracyTest(np.nan, np.nan)
    if not difference.any():
        return AccuracyTest(0.0, 1.0)
    from scipy.special import stdtr  # scipy.stats has the same and takes three seconds to import

    statistic = float(difference.mean() / standard_error(difference, horizon))
    return AccuracyTest(statistic, float(2 * stdtr(n - 1, -abs(statistic))))


def standard_error(values: Floats, horizon: int) -> float:
    """That, in their unit, of the mean of `values` [n], one an origin in time order, whose neighbours overlap by
    `horizon` steps: as in `diebold_mariano`, its small-sample correction included. NaN where n is not above the
    horizon, or nothing varies."""
    n = len(values)
    if n <= horizon:
        return np.nan
    centred = values - values.mean()
    covariance = np.array([centred[lag:] @ centred[: n - lag] for lag in range(horizon)]) / n
    if covariance[0] <= (1e-12 * np.abs(values).max()) ** 2:
        return np.nan
    variance = covariance[0] + 2 * covariance[1:].sum()
    if variance <= 0:
        bartlett = 1 - np.arange(1, horizon) / horizon
        variance = covariance[0] + 2 * bartlett @ covariance[1:]
    if variance <= 0:
        return np.nan
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    return float(np.sqrt(variance / n / correction))


def mann_whitney_greater(recent: Floats, earlier: Floats) -> float:
    """One-sided p-value of Mann and Whitney's U (1947): that values of `recent` [m] tend to be above `earlier`'s [n].

    Exact where one of them holds at most eight values and no two are equal; else normal, with continuity and tie
    correction. As scipy.stats.mannwhitneyu, whose import takes half a second. 1 where all values are equal. Raises
    ValueError where a sample is empty or a value not finite.
    """
    values = np.concatenate([np.asarray(recent, np.float64), np.asarray(earlier, np.float64)])
    m, n = len(recent), len(earlier)
    if m == 0 or n == 0 or not np.isfinite(values).all():
        raise ValueError(f"mann_whitney_greater: {m} and {n} values, at least one each and all finite")
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]
    u = float(ranks[:m].sum()) - m * (m + 1) / 2
    if min(m, n) <= 8 and len(ties) == m + n:
        counts = _rank_sums(min(m, n), max(m, n))
        return float(counts[round(u) :].sum() / counts.sum())
    from scipy.special import ndtr

    size = m + n
    spread = np.sqrt(m * n / 12 * (size + 1 - (ties**3 - ties).sum() / (size * (size - 1))))
    return 1.0 if spread == 0 else float(ndtr(-(u - m * n / 2 - 0.5) / spread))


@lru_cache(maxsize=64)
def _rank_sums(m: int, n: int) -> Floats:
    """How many of the orders of m and n distinct values have each U, [m * n + 1]."""
    # By whether the largest value is of the first kind (it beats all n of the second) or of the second.
    rows = [np.ones(1) for _ in range(m + 1)]
    for second in range(1, n + 1):
        for first in range(1, m + 1):
            total = np.zeros(first * second + 1)
            total[second:] += rows[first - 1]
            total[: len(rows[first])] += rows[first]
            rows[first] = total
    return rows[m]


def score_dates(
    paths: Paths,
    last_close: Floats,
    targets: Floats,
    is_trading: Bools,
    origins: Dates,
    *,
    ordered: Paths | None = None,
) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """The score columns of forecast_metadata for each forecast date: `score_columns` to [n_origins].

    paths: float32 [n_origins, n_paths, horizon]; `ordered` is `sorted_paths(paths)` where the caller has it already.
    last_close: float64 [n_origins], the last close known on each date. targets: float64 [n_origins, horizon], actual
    closes, NaN while unknown. is_trading: bool [n_origins, horizon], whether the exchange trades on the target day.
    origins: datetime64[D] [n_origins].

    `<measure>_<k>d`, for each span k of the horizon, runs over the known *trading* targets in day_1..day_k, NaN where
    there is none: on a held day the forecast may be a point mass at the truth, which would flatter everyone. mae and
    mape score the median, rmse the mean of the paths (the forecasts that minimise them); mape in per cent, coverage as
    a share in 0..1, the others in the price's unit. dir_day0: see `direction`, of the median of day_1 where it trades.
    pit: of the last trading day in the horizon, NaN while its close is unknown. actuals_available: known days, int64.
    Raises ValueError where a shape does not fit that of the paths.
    """
    n_origins, n_paths, horizon = paths.shape
    for name, array, shape in (
        ("last_close", last_close, (n_origins,)),
        ("targets", targets, (n_origins, horizon)),
        ("is_trading", is_trading, (n_origins, horizon)),
        ("origins", origins, (n_origins,)),
    ):
        if array.shape != shape:
            raise ValueError(f"score_dates: {name} has shape {array.shape}, expected {shape} for paths {paths.shape}")
    targets = np.asarray(targets, np.float64)
    use = is_trading & np.isfinite(targets)
    cells = {measure: np.full((n_origins, horizon), np.nan) for measure in MEASURES}
    median_day_1, pits = np.full(n_origins, np.nan), np.full(n_origins, np.nan)
    uniforms = pit_uniforms(origins)
    final = horizon - 1 - np.argmax(is_trading[:, ::-1], axis=1)
    for part in blocks(n_origins, n_paths * horizon):
        known = use[part]
        if not known.any():
            continue
        rows = sorted_paths(paths[part]) if ordered is None else ordered[part]
        actual = np.where(known, targets[part], np.nan)
        summary = summarise_sorted(rows)
        median_day_1[part] = summary.median[:, 0]
        block = {measure: column[part] for measure, column in cells.items()}
        block["mae"][:] = np.abs(actual - summary.median)
        block["rmse"][:] = (actual - summary.mean) ** 2
        block["mape"][:] = 100 * _ratio(block["mae"], np.abs(actual))
        block["crps"][known] = crps(rows[known], actual[known])
        for level in (80, 95):
            lower, upper = summary.band(level)
            block[f"coverage_{level}"][:] = _inside(actual, lower, upper)
            block[f"sharpness_{level}"][:] = np.where(known, upper - lower, np.nan)
        each, last = np.arange(len(rows)), final[part]
        pits[part] = pit(rows[each, last], actual[each, last], uniforms[part])

    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {}
    for suffix, days in suffixes(horizon).items():
        for measure in MEASURES:
            mean = _mean(cells[measure][:, :days])
            columns[f"{measure}_{suffix}"] = np.sqrt(mean) if measure == "rmse" else mean
    # Paths are float32, and so may actuals be: only in that precision is "no move" exactly zero.
    reference, moved = (np.asarray(close, np.float32).astype(np.float64) for close in (last_close, targets[:, 0]))
    columns["dir_day0"] = direction(reference, median_day_1, np.where(use[:, 0], moved, np.nan))
    columns["pit"] = pits
    columns["actuals_available"] = np.isfinite(targets).sum(axis=1)
    return {name: columns[name] for name in score_columns(horizon)}


def unique_origins(last_observed: Dates, forecast_dates: Dates | None = None) -> Bools:
    """True for the latest forecast date of each last observed session, bool [n]: what pooled figures count.

    Forecasts of Saturday, Sunday and Monday rest on Friday's close and share their targets; only Monday's, the
    nearest, counts. Rows are in the order of forecast dates where `forecast_dates` is not given. A row whose last
    observed date is NaT does not count.
    """
    n = len(last_observed)
    order = np.arange(n) if forecast_dates is None else np.argsort(np.asarray(forecast_dates), kind="stable")
    newest_first = np.asarray(last_observed, "datetime64[D]")[order][::-1]
    values, first = np.unique(newest_first, return_index=True)
    keep = np.zeros(n, np.bool_)
    keep[order[n - 1 - first[~np.isnat(values)]]] = True
    return keep


def pooled(values: Floats, keep: Bools, how: Literal["mean", "root_mean_square"] = "mean") -> float:
    """One figure from per-date ones [n], in their unit: over the dates that `keep` (from `unique_origins`) marks and
    that are known.

    `root_mean_square` is for rmse columns. NaN where no date is left.
    """
    chosen = np.asarray(values, np.float64)[keep]
    return float(np.sqrt(_mean(chosen**2))) if how == "root_mean_square" else float(_mean(chosen))


def _inside(actual: Floats, lower: Floats, upper: Floats) -> Floats:
    return np.where(np.isnan(actual), np.nan, (lower <= actual) & (actual <= upper))


def _ratio(above: Floats, below: Floats) -> Floats:
    quotient = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def _mean(values: Floats) -> Floats:
    """Mean of the known values along the last axis; NaN where none is known."""
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    return np.asarray(_ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64)))
