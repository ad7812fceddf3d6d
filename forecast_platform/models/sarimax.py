"""ARIMA errors around weather (or the series' covariates), orders found by pmdarima.

With D the once-differenced y = asinh(close / scale), one step a session:

    D[k] = effect[k] + u[k],   effect[k] = sum_j beta[j] x[j, k],   u ~ ARMA(p, q)

x[j, k] is what was known of covariate j on the evening *before* session k: for weather its deviation from the day of
the year's normal, for anything else its change since the evening before session k - 1. A same-day covariate would be
unknown to every forecast, and leaving its part out of the innovations would make the paths too narrow.

Future covariates are projected, never read: a deviation decays towards zero by its training window's autocorrelation
a session, so weather returns to its normal within a week or two, and a change is soon followed by no change.

An effect has to earn its place: each quarter of the window but the first is predicted by ridge regression on those
before it, and the effect is scaled to what these predictions were worth less their uncertainty, or dropped. Orders
are chosen by BIC, for the same reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Dates, Floats, History
from forecast_platform.forecasting.volatility import ConditionalVariance
from forecast_platform.models.arma import Arma, ArmaFitted, training_series
from forecast_platform.models.base import Covariates, FittedModel, TrainingWindow
from forecast_platform.models.innovations import InnovationsModel, trading_steps
from forecast_platform.models.tags import ModelTags

MINIMUM_SESSIONS = 250
LARGEST_ORDER = 3
PARTS = 4
"""Equal parts of the window: an effect must prove itself on each but the first, estimated on those before it."""

STANDARD_ERRORS = 1.645
"""Taken off an effect's worth before it is believed: what pure noise exceeds once in twenty windows."""

PRIOR_CORRELATION = 0.05
"""Correlation with the next session's move that the ridge penalty expects of a covariate: a priori very little."""

LARGEST_PERSISTENCE = 0.98
LARGEST_DEVIATION = 4.0
"""Standard deviations at which an input is cut off: vendor glitches must not move a forecast."""

WEATHER = ("temp_", "precipitation", "humidity", "wind")
"""Prefixes of the columns that have a climate: a normal for each day of the year."""

HARMONICS = 2
YEAR_DAYS = 365.2425


class SarimaxFitted(ArmaFitted):
    """State beside `ArmaFitted`'s: `covariates`, a list of what `describe` gives, with `beta`."""

    def effect(self, history: History) -> Floats | None:
        """See `ArmaFitted`."""
        if not self.state["covariates"]:
            return None
        total = np.zeros(len(history.observed_dates))
        for covariate in self.state["covariates"]:
            total += covariate["beta"] * known_before(history, covariate, history.observed_dates)
        return total

    def offset(self, history: History, origins: Dates, horizon: int) -> Floats | None:
        """See `InnovationsFitted`: what was known on the evening before the origin, decaying by trading day."""
        if not self.state["covariates"]:
            return None
        reached = trading_steps(history.trading(origins, horizon)).reached
        steps = np.maximum(reached - 1, 0)
        total = np.zeros((len(origins), horizon))
        for covariate in self.state["covariates"]:
            value = covariate["beta"] * known_before(history, covariate, origins)
            total += value[:, None] * covariate["persistence"] ** steps
        return total

    def training_metrics(self) -> dict[str, float]:
        """Beside `ArmaFitted`'s: how much of the covariates' effect was kept, and the days dropped without them."""
        return {
            **super().training_metrics(),
            "covariates_offered": float(self.state["covariates_offered"]),
            "covariates_kept": float(len(self.state["covariates"])),
            "effect_kept": float(self.state["effect_kept"]),
            "leading_days_dropped": float(self.state["leading_days_dropped"]),
        }


class SarimaxAutoWeather(InnovationsModel):
    """ARMA errors around lagged covariates; p and q by Hyndman and Khandakar's stepwise search (2008), d is 1.

    A close is a price: it has no level to return to and, out of sample, no drift worth having (DESIGN.md).
    """

    name: ClassVar[str] = "sarimax_auto_weather"
    description: ClassVar[str] = "ARIMA errors around weather covariates, orders found by pmdarima."
    algorithm_version: ClassVar[int] = 3
    covariates: ClassVar[Covariates] = "weather_or_series"
    tags: ClassVar[ModelTags] = ModelTags(slow_fit=True)
    fitted_type: ClassVar[type[FittedModel]] = SarimaxFitted

    def fit(self, history: History, window: TrainingWindow) -> SarimaxFitted:
        """See `Model.fit`. Days before the first one with all covariates are not in `history`; they are counted."""
        transform, y = training_series(history, MINIMUM_SESSIONS, self.name)
        moves = np.diff(y)
        offered = [describe(history, name) for name in covariate_names(history)]
        moving = [covariate for covariate in offered if covariate["scale"] > 0.0]
        known = [known_before(history, covariate, history.observed_dates)[1:] for covariate in moving]
        x = np.stack(known, axis=1) if known else np.empty((len(moves), 0))
        beta, kept = worthwhile_effect(moves, x)
        arma = search_orders(moves - x @ beta)
        if kept and arma.is_admissible and (arma.ar or arma.ma):
            whitened = np.stack([arma.innovations(column) for column in x.T], axis=1)
            residuals = arma.innovations(moves)
            beta = kept * ridge(whitened, residuals, one_over_deviation(residuals))
            arma = refit(moves - x @ beta, arma)
        arma, admissible = arma.or_simpler()
        state = {
            "scale": transform.scale,
            "arma": arma.to_state(),
            "fell_back": not admissible,
            "covariates": [{**covariate, "beta": float(b)} for covariate, b in zip(moving, beta, strict=True) if kept],
            "covariates_offered": len(offered),
            "effect_kept": kept,
            "leading_days_dropped": int((history.dates[0] - window.start) / ONE_DAY),
        }
        return SarimaxFitted(window, state).calibrated(history)


def covariate_names(history: History) -> list[str]:
    """The weather columns of a history, or all of its covariates where it has no weather; sorted."""
    weather = [name for name in history.covariates if name.startswith(WEATHER)]
    return sorted(weather or history.covariates)


def describe(history: History, name: str) -> dict[str, Any]:
    """What turns a covariate into the model's input: its normal (weather) or size (others), scale and persistence.

    The scale is zero for a covariate that does not vary.
    """
    column = history.covariates[name]
    entry: dict[str, Any] = {"name": name, "normal": [], "size": 1.0, "scale": 1.0, "persistence": 0.0}
    if name.startswith(WEATHER):
        harmonics = HARMONICS if len(history) >= 2 * YEAR_DAYS else 0
        terms = np.stack(_harmonics(history.dates, harmonics), axis=1)
        entry["normal"] = np.linalg.lstsq(terms, column, rcond=None)[0]
    else:
        entry["size"] = float(np.median(np.abs(column))) or 1.0
    values = known_before(history, entry, history.observed_dates)[1:]
    spread = float(values.std())
    if spread <= 1e-9 * (1.0 + float(np.abs(column).max())):
        return {**entry, "scale": 0.0}
    centred = values - values.mean()
    persistence = float(centred[1:] @ centred[:-1] / (centred @ centred))
    return {**entry, "scale": spread, "persistence": min(max(persistence, 0.0), LARGEST_PERSISTENCE)}


def known_before(history: History, covariate: Mapping[str, Any], dates: Dates) -> Floats:
    """The model's input as known on the evening before each date, in training standard deviations, [n_dates].

    Weather: deviation from the day of the year's normal. Others: asinh(x / size) less its value on the evening
    before the last session known then; zero where there was none.
    """
    column = history.covariates[covariate["name"]]
    evening = _position(history, dates - ONE_DAY)
    if len(covariate["normal"]):
        terms = _harmonics(history.dates[evening], len(covariate["normal"]) // 2)
        normal = np.zeros(len(evening))
        for coefficient, term in zip(covariate["normal"], terms, strict=True):
            normal += coefficient * term
        return _bounded((column[evening] - normal) / covariate["scale"])
    level = np.arcsinh(column / covariate["size"])
    sessions = history.observed_dates
    last = np.maximum(np.searchsorted(sessions, dates, side="left") - 1, 0)
    return _bounded((level[evening] - level[_position(history, sessions[last] - ONE_DAY)]) / covariate["scale"])


def worthwhile_effect(moves: Floats, x: Floats) -> tuple[Floats, float]:
    """Coefficients [n_covariates] of moves [n] (on the model's scale) on x [n, n_covariates], and the share of their
    estimate that was kept, 0 to 1.

    Each of the window's parts but the first is predicted from those before it. The share is the best multiple of
    the predicted effects under a standard normal prior, less STANDARD_ERRORS of that multiple. All sums weigh a
    session by 1 / variance, so that a crisis does not decide.
    """
    weight = one_over_deviation(moves)
    edges = np.linspace(0, len(moves), PARTS + 1).astype(int)
    effect = np.zeros(len(moves))
    for start, end in pairwise(edges[1:]):
        effect[start:end] = x[start:end] @ ridge(x[:start], moves[:start], weight[:start])
    effect, target = (effect * weight)[edges[1] :], (moves * weight)[edges[1] :]
    power = float(effect @ effect)
    if not power > 0.0:
        return np.zeros(x.shape[1]), 0.0
    best = float(effect @ target) / power
    error = float(np.std(target - best * effect)) / np.sqrt(power)
    # The posterior of the multiple under a prior N(0, 1): where the predictions say little, so does their worth.
    shrink = 1.0 / (1.0 + error**2)
    kept = float(np.clip(shrink * best - STANDARD_ERRORS * error * np.sqrt(shrink), 0.0, 1.0))
    return (kept * ridge(x, moves, weight) if kept else np.zeros(x.shape[1])), kept


def one_over_deviation(moves: Floats) -> Floats:
    """1 / the conditional standard deviation (`ConditionalVariance`) of each of `moves` [n], [n]. Raises ValueError
    where they do not vary."""
    return 1.0 / np.sqrt(ConditionalVariance.fit(moves).filter(moves)[:-1])


def ridge(x: Floats, target: Floats, weight: Floats) -> Floats:
    """Weighted ridge coefficients (Hoerl and Kennard, 1970) of target [n] on x [n, n_covariates], [n_covariates];
    weight is 1 / the target's standard deviation, [n].

    The penalty is the normal prior under which a covariate of unit spread correlates PRIOR_CORRELATION with target.
    """
    typical = 1.0 / weight.mean()
    weighted_x, weighted = x * (weight * typical)[:, None], target * weight
    penalty = np.eye(x.shape[1]) / PRIOR_CORRELATION**2
    return np.linalg.solve(weighted_x.T @ weighted_x + penalty, weighted_x.T @ weighted) * typical


def search_orders(series: Floats) -> Arma:
    """pmdarima's stepwise search (Hyndman and Khandakar, 2008) by BIC on a stationary series [n], without mean and
    season, on one BLAS thread."""
    import pmdarima
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found = pmdarima.auto_arima(
            series / series.std(),
            d=0,
            start_p=0,
            start_q=0,
            max_p=LARGEST_ORDER,
            max_q=LARGEST_ORDER,
            seasonal=False,
            stepwise=True,
            with_intercept=False,
            information_criterion="bic",
            suppress_warnings=True,
            error_action="ignore",
        )
        p, _, q = found.order
        ar, ma = found.arparams()[:p], found.maparams()[:q]
    return Arma(tuple(float(a) for a in ar), tuple(float(a) for a in ma))


def refit(series: Floats, arma: Arma) -> Arma:
    """The same orders, coefficients by exact likelihood on a stationary series [n], starting from those of `arma`.

    Where the optimiser does not converge, those of `arma` stay: they are consistent, and the series hardly differs.
    """
    from statsmodels.tools.sm_exceptions import ConvergenceWarning
    from statsmodels.tsa.statespace.sarimax import SARIMAX
    from threadpoolctl import threadpool_limits

    p, q = len(arma.ar), len(arma.ma)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = SARIMAX(series / series.std(), order=(p, 0, q)).fit([*arma.ar, *arma.ma, 1.0], disp=0)
    if not found.mle_retvals["converged"]:
        return arma
    return replace(arma, ar=tuple(map(float, found.params[:p])), ma=tuple(map(float, found.params[p : p + q])))


def _bounded(values: Floats) -> Floats:
    return np.clip(values, -LARGEST_DEVIATION, LARGEST_DEVIATION)


def _harmonics(dates: Dates, count: int) -> list[Floats]:
    """One, then cosine and sine of 1..count cycles a year, [n_dates] each."""
    phase = (dates - np.datetime64("2000-01-01")) / ONE_DAY * (2.0 * np.pi / YEAR_DAYS)
    waves = [wave(cycle * phase) for cycle in range(1, count + 1) for wave in (np.cos, np.sin)]
    return [np.ones(len(dates)), *waves]


def _position(history: History, dates: Dates) -> Any:
    """Positions of dates on the day grid; a date beyond either end counts as that end."""
    return np.clip(((dates - history.dates[0]) / ONE_DAY).astype(np.intp), 0, len(history) - 1)
