"""What commands print of comparisons over several series, with confidence intervals, and of calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.horizon import suffix

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.forecasting.pooling import PooledSkill

SURE = 0.05
"""The p-value below which a difference is told as one."""


def by_series(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """A line a series and model: CRPS skill over the whole horizon against naive, its test, bands and dates.

    frames: by series its forecast_metadata rows.
    """
    from forecast_platform.pages.scores import leaderboard

    head = f"{'series':<14}{'model':<22}{'version':<9}{'skill %':>8}{'p':>8}{'80 %':>7}{'95 %':>7}{'dates':>7}"
    lines = ["by series; 80 % and 95 %: hit rates of the bands, per cent", head]
    for name, frame in frames.items():
        for row in leaderboard(frame).to_dict("records") if len(frame) else ():
            lines.append(
                f"{name:<14}{row['model_name']:<22}{row['model_version']:<9}{100 * row['skill']:>8.2f}"
                f"{_p(row['dm_p']):>8}{100 * row['coverage_80']:>7.1f}{100 * row['coverage_95']:>7.1f}"
                f"{row['n_dates']:>7}"
            )
    return lines


def pooled(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """The comparison with naive over the series of `frames`, by horizon; then whether the bands hold.

    frames: by series its forecast_metadata rows with the column PRICE.
    """
    from forecast_platform.pages.pooled import calibrations, pooled_board

    board = pooled_board(frames)
    if board.empty:
        return []
    over, by = next(iter(frames)), "the price of its date"
    if len(frames) > 1:
        over, by = f"over {int(board['n_series'].max())} series", f"{by} and the series' own naive"
    lines = [
        f"\nskill against naive, {over}: CRPS by {by}, mean by date; 95 % confidence intervals",
        f"{'model':<22}{'version':<9}{'days':>5}{'skill %':>9}{'interval':>16}{'p':>8}{'dates':>7}",
    ]
    for row in board.to_dict("records"):
        interval = f"{100 * row['low']:.2f} to {100 * row['high']:.2f}" if np.isfinite(row["low"]) else "unknown"
        lines.append(
            f"{row['model_name']:<22}{row['model_version']:<9}{row['horizon'].removesuffix('d'):>5}"
            f"{100 * row['skill']:>9.2f}{interval:>16}{_p(row['dm_p']):>8}{row['n_dates']:>7}"
        )
    return [*lines, "\ndo the bands hold?", *(one.text for one in calibrations(frames))]


def duel_over(result: PooledSkill, model: str, a: str, b: str) -> str:
    """A pooled comparison of two versions of a model in words."""
    if not result.n_dates:
        return f"{model}: {a} and {b} have no scored date in common in any series"
    sure = result.p_value < SURE
    verdict = ("better" if result.skill > 0 else "worse") if sure else "not told apart"
    interval = f"{100 * result.low:.2f} to {100 * result.high:.2f}"
    return (
        f"{model}: {b} saves {100 * result.skill:.2f} % of {a}'s CRPS ({interval}, p = {_p(result.p_value)}) over "
        f"{result.n_series} series and {result.n_dates} dates: {verdict}"
    )


def what_it_tells(frames: Mapping[str, pd.DataFrame], names: Sequence[str]) -> list[str]:
    """What the scores of a first look can and cannot say. frames: as of `pooled`."""
    from forecast_platform.pages.pooled import pooled_board
    from forecast_platform.pages.scores import horizon_of_all, overlap

    board, days = pooled_board(frames), horizon_of_all(frames)
    whole = suffix(days)
    board = board[(board["horizon"] == whole) & board["model_name"].isin(names)]
    if board.empty:
        return []
    found = board.to_dict("records")
    dates = max(row["n_dates"] for row in found)
    best, sure = found[0], [row["model_name"] for row in found if row["low"] > 0]
    interval = f"{100 * best['low']:.1f} to {100 * best['high']:.1f} %"
    lines = [
        f"\nwhat this tells, and what not: {dates:,} forecasts of {days} days overlap, so about "
        f"{max(dates // overlap(whole), 1):,} are independent",
        f"  {best['model_name']} saves {100 * best['skill']:.1f} % of naive's CRPS, with 95 % confidence {interval}",
    ]
    if sure:
        lines.append(f"  better than naive beyond doubt: {', '.join(sure)}")
    else:
        lines.append("  none is better than naive beyond doubt: more years, or more series, would tell")
    if len(found) > 1:
        lines.append("  which of them is best, these few do not tell where their intervals overlap")
    return lines


def _p(value: float) -> str:
    return "-" if np.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}"
