"""Comparisons over all series from forecast_metadata rows, with confidence intervals; and whether bands hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting import horizon
from forecast_platform.forecasting.pooling import Losses, PooledSkill, pooled_skill
from forecast_platform.pages.scores import REFERENCE, ModelKey, counted, horizon_of, horizon_of_all, overlap, scored

if TYPE_CHECKING:
    import pandas as pd

PRICE = "price"
"""Column of the frames given here: the last close that the forecast knew, which its losses are divided by."""

POOLED_POINTS, SERIES_POINTS = 1.5, 3.0
"""Points by which a band's hit rate may be off its level: over all series, and of one series over JUDGED_YEARS."""

JUDGED_YEARS, JUDGED_SERIES_YEARS = 10.0, 40.0
"""Years of one series, and of all together, below which nobody is told that bands hold or do not: half the points take
four times the forecasts."""

COLUMNS = ("model_name", "model_version", "horizon", "n_series", "n_dates", "skill", "low", "high", "dm_p")


def pooled_board(metadata: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a model, version and horizon over all series, best of the whole horizon first: COLUMNS, skill as a share.

    metadata: by series its forecast_metadata rows with the column PRICE. Each model is compared with naive of the same
    version tag on the dates that both have (`pooling.pooled_skill`); low and high are the 95 % confidence interval's
    ends. Naive itself has no row.
    """
    import pandas as pd

    rows = []
    days = horizon_of_all(metadata)
    for suffix in horizon.suffixes(days):
        groups = {name: scored(frame, suffix) for name, frame in metadata.items() if len(frame)}
        for key in sorted({key for found in groups.values() for key in found if key.name != REFERENCE}):
            pairs = [_losses(found, key, ModelKey(REFERENCE, key.version), suffix) for found in groups.values()]
            result = pooled_skill([pair for pair in pairs if pair is not None], overlap(suffix))
            if result.n_dates:
                counts = (result.n_series, result.n_dates)
                rows.append((*key, suffix, *counts, result.skill, result.low, result.high, result.p_value))
    board = pd.DataFrame(rows, columns=list(COLUMNS))
    last = {
        (row.model_name, row.model_version): row.skill
        for row in board.itertuples()
        if row.horizon == horizon.suffix(days)
    }
    rank = [-last.get(key, -np.inf) for key in zip(board["model_name"], board["model_version"], strict=True)]
    # A stable sort keeps 1d before 7d before 14d within a model.
    order = np.lexsort((np.arange(len(board)), board["model_version"], board["model_name"], rank))
    return board.iloc[order].reset_index(drop=True)


def pooled_duel(
    metadata: Mapping[str, pd.DataFrame], a: ModelKey, b: ModelKey, suffix: str | None = None
) -> PooledSkill:
    """The share (0 to 1) of `a`'s CRPS that `b` saves over all series that have both; suffix None: over the whole
    horizon.

    metadata: by series its forecast_metadata rows with the column PRICE. Raises ValueError for a span that the horizon
    does not have.
    """
    suffix = suffix or horizon.suffix(horizon_of_all(metadata))
    groups = [scored(frame, suffix) for frame in metadata.values() if len(frame)]
    pairs = [_losses(found, b, a, suffix) for found in groups]
    return pooled_skill([pair for pair in pairs if pair is not None], overlap(suffix))


def shared_skills(frame: pd.DataFrame, least: int) -> tuple[dict[str, float], int]:
    """The models of one series and version on the dates that all of them have: CRPS skill against naive over the
    horizon by model, naive's 0 among them, and how many dates that is.

    frame: forecast_metadata rows with the column PRICE, which losses are divided by. Models with fewer than `least`
    distinct last closes are left out, or they would leave the others no dates; empty where naive is.
    """
    whole = horizon.suffix(horizon_of(frame))
    groups = {key.name: rows for key, rows in scored(frame, whole).items() if counted(rows).sum() >= least}
    if REFERENCE not in groups:
        return {}, 0
    shared = reduce(np.intersect1d, [rows["forecast_date"].to_numpy() for rows in groups.values()])
    own = {name: rows[rows["forecast_date"].isin(shared)] for name, rows in groups.items()}
    keep = counted(own[REFERENCE])
    days, price = (own[REFERENCE][name].to_numpy()[keep] for name in ("forecast_date", PRICE))
    losses = {name: rows[f"crps_{whole}"].to_numpy(np.float64)[keep] for name, rows in own.items()}
    found = {
        name: pooled_skill([Losses(days.astype("datetime64[D]"), loss, losses[REFERENCE], price)], overlap(whole))
        for name, loss in losses.items()
    }
    return {name: one.skill for name, one in found.items()}, min(one.n_dates for one in found.values())


def _losses(groups: Mapping[ModelKey, pd.DataFrame], key: ModelKey, against: ModelKey, suffix: str) -> Losses | None:
    own, other = groups.get(key), groups.get(against)
    if own is None or other is None:
        return None
    common = np.intersect1d(own["forecast_date"].to_numpy(), other["forecast_date"].to_numpy())
    own, other = (frame[frame["forecast_date"].isin(common)] for frame in (own, other))
    keep = counted(own)
    values = (own[f"crps_{suffix}"], other[f"crps_{suffix}"], own[PRICE])
    days = own["forecast_date"].to_numpy("datetime64[D]")[keep]
    return Losses(days, *(column.to_numpy(np.float64)[keep] for column in values))


@dataclass(frozen=True)
class Calibration:
    """Hit rates of a model's bands, over the series that have it or in one."""

    model: ModelKey
    series: str | None
    """None: over all series."""
    n_series: int
    years: float
    """Over all series: the sum of theirs."""
    in_80: float
    in_95: float

    @property
    def judged(self) -> bool:
        """Whether there is enough to judge by: several series with forty years between them, or ten years of one."""
        # Ten years of forecasts end a fortnight before their last day of data.
        return self.years >= self._needed - 0.1 * self.n_series

    @property
    def _needed(self) -> float:
        return JUDGED_SERIES_YEARS if self.series is None else JUDGED_YEARS

    @property
    def allowed(self) -> float:
        """Points by which a hit rate may be off."""
        return POOLED_POINTS if self.series is None else SERIES_POINTS

    @property
    def holds(self) -> bool:
        """Whether both bands are within what is allowed."""
        return max(abs(100 * self.in_80 - 80), abs(100 * self.in_95 - 95)) <= self.allowed

    @property
    def text(self) -> str:
        """The verdict in words."""
        who = f"over {self.n_series} series" if self.series is None else self.series
        bands = f"{100 * self.in_80:.1f} % in the 80 % band, {100 * self.in_95:.1f} % in the 95 % band"
        head = f"{self.model.name} {self.model.version}, {who}: {bands}"
        if not self.judged:
            together = " together" if self.series is None else ""
            return f"{head}; {self.years:.1f} years{together} are too few to judge by ({self._needed:.0f} are needed)"
        return f"{head}: {'calibrated' if self.holds else 'NOT calibrated'} (within {self.allowed:g} points is allowed)"


def calibrations(metadata: Mapping[str, pd.DataFrame]) -> list[Calibration]:
    """Hit rates over the horizon of each model and version: over all series, then by series, each last close once.

    metadata: by series its forecast_metadata rows.
    """
    whole = horizon.suffix(horizon_of_all(metadata))
    found: dict[ModelKey, dict[str, pd.DataFrame]] = {}
    for name, frame in metadata.items():
        for key, rows in scored(frame, whole).items() if len(frame) else ():
            found.setdefault(key, {})[name] = rows[counted(rows)]
    judged = []
    for key, parts in sorted(found.items()):
        each = [_calibration(key, name, {name: rows}, whole) for name, rows in parts.items()]
        judged += [_calibration(key, None, parts, whole), *each] if len(parts) > 1 else each
    return judged


def _calibration(key: ModelKey, series: str | None, parts: Mapping[str, pd.DataFrame], whole: str) -> Calibration:
    shares = [
        float(
            np.nanmean(
                np.concatenate([rows[f"coverage_{level}_{whole}"].to_numpy(np.float64) for rows in parts.values()])
            )
        )
        for level in (80, 95)
    ]
    spans = [rows["forecast_date"].iloc[[0, -1]].to_numpy("datetime64[D]").astype(np.int64) for rows in parts.values()]
    years = sum(float(last - first + 1) / 365.25 for first, last in spans)
    return Calibration(key, series, len(parts), years, *shares)


@dataclass(frozen=True)
class OverAll:
    """What is known over all series, or over those of `group`.

    board: a row a model and horizon, of `pooled_board`; calibrations: of `calibrations`; oracles: what volatility known
    in advance would give, the rows of `oracles.over_series`.
    """

    board: pd.DataFrame
    calibrations: list[Calibration]
    oracles: pd.DataFrame
    group: str = ""
