"""Is a model getting worse? Its newest quarter against its own history and against naive, with tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import Bools, Floats
from forecast_platform.forecasting.horizon import suffix
from forecast_platform.forecasting.metrics import diebold_mariano, mann_whitney_greater
from forecast_platform.host.severity import Severity
from forecast_platform.pages.scores import REFERENCE, ModelKey, counted, horizon_of, overlap, scored

if TYPE_CHECKING:
    import pandas as pd


QUARTER_DAYS = 92
WARNING, CRITICAL = 0.10, 0.25
"""Shares by which a quarter must be worse to be a warning, or critical."""
P_VALUE = 0.05

MIN_RECENT = 30
"""Scored forecasts of distinct last closes that a quarter must have, and MIN_EARLIER that the history must."""
MIN_EARLIER = 120


@dataclass(frozen=True)
class Comparison:
    """One measure of the newest quarter against one reference.

    recent, reference: what `trailing_performance` compares. p_value: 0 to 1, of its test.
    """

    measure: str
    against: str
    recent: float
    reference: float
    worse: float
    """Share by which the quarter is worse; negative where it is better."""
    p_value: float
    market: bool = False
    """True where a volatile market alone makes the quarter worse: never more than a warning."""

    @property
    def severity(self) -> Severity:
        """good, warning (10 % worse at p < 0.05) or critical (25 %)."""
        if not (self.p_value < P_VALUE and self.worse >= WARNING):
            return "good"
        return "critical" if self.worse >= CRITICAL and not self.market else "warning"

    @property
    def text(self) -> str:
        """The comparison in words."""
        return (
            f"{self.measure} {self.recent:.4g} against {self.reference:.4g} of {self.against}: "
            f"{100 * abs(self.worse):.1f} % {'worse' if self.worse > 0 else 'better'} (p = {self.p_value:.3f})"
        )


def trailing_performance(metadata: pd.DataFrame, model: str, version: str) -> list[Comparison]:
    """CRPS, MAE and direction of the newest quarter's forecasts against the model's own history and against naive.

    metadata: forecast_metadata rows of one series, naive's among them. Each last known close counts once. Against
    naive: the same dates, Diebold and Mariano (1995) with HAC variance to the overlap of neighbouring forecasts and
    the Harvey correction. Against the own history: Mann and Whitney's U (1947), one-sided, over means of blocks as
    long as that overlap, so that the values tested are nearly independent; losses are first divided by naive's on
    the same date, because a volatile quarter makes every forecast worse and no model (for naive itself, and where it
    is missing, by the price, which is only a warning then). Direction is a share of hits, so "worse" is how much of it
    is lost. Empty where there is too little of either.
    """
    whole = suffix(horizon_of(metadata))
    groups = scored(metadata, whole)
    own = groups.get(ModelKey(model, version))
    if own is None:
        return []
    naive = _naive(groups, model, version, whole)
    if naive is not None:
        own = own.merge(naive, on="forecast_date", how="left", suffixes=("", "_naive"))
    own = own[counted(own)]
    days = own["forecast_date"].to_numpy("datetime64[D]")
    if len(days) == 0:
        return []
    recent = days > days[-1] - np.timedelta64(QUARTER_DAYS, "D")
    if recent.sum() < MIN_RECENT:
        return []
    found = []
    for measure, column, sessions in (
        ("CRPS", f"crps_{whole}", overlap(whole)),
        ("MAE", f"mae_{whole}", overlap(whole)),
        ("direction", "dir_day0", 1),
    ):
        loss = own[column].to_numpy(np.float64)
        reference = own[f"{column}_naive"].to_numpy(np.float64) if naive is not None else None
        if measure == "direction":
            found += _direction(loss, recent, naive is not None)
            continue
        if reference is not None:
            found += _against_naive(measure, loss[recent], reference[recent], sessions)
            found += _against_history(f"{measure} relative to naive", loss, reference, recent, sessions)
        else:
            price = _price(own, whole)
            found += _against_history(f"{measure} relative to price", loss, price, recent, sessions, market=True)
    return found


def _naive(groups: dict[ModelKey, pd.DataFrame], model: str, version: str, whole: str) -> pd.DataFrame | None:
    """Naive's losses by date: of the same version, else of the version with the most dates."""
    if model == REFERENCE:
        return None
    candidates = {key: rows for key, rows in groups.items() if key.name == REFERENCE}
    if not candidates:
        return None
    best = max(candidates, key=lambda key: (key.version == version, len(candidates[key])))
    return candidates[best][["forecast_date", f"crps_{whole}", f"mae_{whole}", "dir_day0"]]


def _against_naive(measure: str, loss: Floats, naive: Floats, overlap: int) -> list[Comparison]:
    known = np.isfinite(loss) & np.isfinite(naive)
    if known.sum() < MIN_RECENT or not naive[known].mean() > 0:
        return []
    own, other = float(loss[known].mean()), float(naive[known].mean())
    p = diebold_mariano(loss[known], naive[known], overlap).p_value
    return [Comparison(measure, "naive", own, other, own / other - 1, p)]


def _against_history(
    measure: str, loss: Floats, weight: Floats, recent: Bools, overlap: int, *, market: bool = False
) -> list[Comparison]:
    known = np.isfinite(loss) & np.isfinite(weight) & (weight > 0)
    now, before = known & recent, known & ~recent
    if now.sum() < MIN_RECENT or before.sum() < MIN_EARLIER:
        return []
    newest = float(loss[now].sum() / weight[now].sum())
    earlier = float(loss[before].sum() / weight[before].sum())
    if not earlier > 0:
        return []
    blocks = [_blocks(loss[part], overlap) / _blocks(weight[part], overlap) for part in (now, before)]
    return [
        Comparison(
            measure, "its own history", newest, earlier, newest / earlier - 1, mann_whitney_greater(*blocks), market
        )
    ]


def _price(rows: pd.DataFrame, whole: str) -> Floats:
    """The size of the price that each forecast was about: absolute over percentage error; NaN where unknown."""
    absolute, percent = (rows[f"{name}_{whole}"].to_numpy(np.float64) for name in ("mae", "mape"))
    return np.divide(100 * absolute, percent, out=np.full(len(rows), np.nan), where=percent > 0)


def _direction(hits: Floats, recent: Bools, naive: bool) -> list[Comparison]:
    """Shares of right directions; a coin's is what naive, which names no side, gets."""
    known = np.isfinite(hits)
    now, before = hits[known & recent], hits[known & ~recent]
    found = []
    if len(now) < MIN_RECENT:
        return []
    share = float(now.mean())
    if naive:
        p = diebold_mariano(now, np.full(len(now), 0.5), 1).p_value
        found.append(Comparison("direction", "naive", share, 0.5, 1 - share / 0.5, p))
    if len(before) >= MIN_EARLIER and before.mean() > 0:
        earlier = float(before.mean())
        found.append(
            Comparison(
                "direction", "its own history", share, earlier, 1 - share / earlier, mann_whitney_greater(-now, -before)
            )
        )
    return found


def _blocks(values: Floats, size: int) -> Floats:
    """Means of consecutive blocks of `size`, counted from the newest; the oldest, incomplete one is left out."""
    count = max(len(values) // size, 1)
    return values[-min(count * size, len(values)) :].reshape(count, -1).mean(axis=1)
