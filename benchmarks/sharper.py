"""What each part of the forecasts is worth: the day's range, the roll schedule, the second contract; by series, pooled.

    python benchmarks/sharper.py --panel DIR [--series coffee sugar] [--start 2008-01-01] [--end 2017-07-01]
        [--paths 2000] [--model random_walk]

DIR holds market/<series>.csv (date, high, low, close) and, where there is one, <series>_chain.csv with close_2.
Semiannual windows, five-year lookback, every trading-day origin whose fourteen days are known. CRPS over the trading
targets of days 1, 1 to 7 and 1 to 14 against naive; pooled as `forecast-platform evaluate --all` does. Each part is
added to those before it by what the history holds, so all go through the product's own fit and simulation. Nothing
is tuned here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.model_skill import windows
from forecast_platform.forecasting.history import History
from forecast_platform.forecasting.horizon import DEFAULT, suffixes
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.pooling import Losses, pooled_skill
from forecast_platform.forecasting.roll_moves import excess_variance, past_rolls
from forecast_platform.forecasting.rolls import CATALOGUE, seen_rolls
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.random_walk import RandomWalkFitted
from forecast_platform.pages.scores import overlap
from forecast_platform_tests.histories import history_from_csv

HORIZONS = suffixes(DEFAULT)
SEED = 20180101
SERIES = ("coffee", "sugar", "cocoa", "corn", "cotton", "wheat", "soybeans", "gold", "wti_futures")
RULES = {"wti_futures": "wti", **{name: name for name in CATALOGUE}}
PARTS = ("closes alone", "+ range", "+ roll variance", "+ roll mean", "+ second contract")


class Scored(NamedTuple):
    """One part's scores of a series: by span CRPS [n_origins], and by target whether the bands held it."""

    origins: NDArray[np.datetime64]
    level: NDArray[np.float64]
    crps: dict[str, NDArray[np.float64]]
    in_80: NDArray[np.float64]
    in_95: NDArray[np.float64]


def full_history(panel: Path, series: str) -> History:
    """The series with its bars, its roll schedule and, where the chain is there, its second contract."""
    import pandas as pd

    path = panel / "market" / f"{series}.csv"
    history = history_from_csv(path, "2002-01-02", "2018-01-01", name=series)
    bars = pd.read_csv(path, parse_dates=["date"]).set_index("date").reindex(pd.DatetimeIndex(history.dates))
    columns = {name: np.where(history.observed, bars[name].to_numpy(np.float64), np.nan) for name in ("high", "low")}
    chain = panel / f"{series}_chain.csv"
    if chain.is_file():
        second = pd.read_csv(chain, parse_dates=["date"]).set_index("date")["close_2"]
        columns["close_2"] = second.reindex(pd.DatetimeIndex(history.dates)).to_numpy(np.float64).copy()
    rolls, schedule = np.zeros(len(history), bool), None
    if series in RULES:
        schedule = CATALOGUE[RULES[series]].schedule(history.sessions)
        rolls[history.observed_index] = seen_rolls(schedule, history.observed_dates)
    return replace(history, rolls=rolls, schedule=schedule, **columns)


class VarianceOnly(RandomWalkFitted):
    """Rolls whose moves have a variance of their own and no mean."""

    def rolls_ahead(self, *arguments):
        rolls = super().rolls_ahead(*arguments)
        if rolls is None:
            return None
        # Without the mean, what the earlier rolls tell of it is variance again.
        return rolls._replace(mean=np.zeros(rolls.mean.shape), kappa=np.where(rolls.rolled, self.total, 1.0))

    @property
    def total(self) -> float:
        return float(self.state["kappa"])


def with_parts(history: History, part: str) -> History:
    """What of the history a part may see. Past rolls stay out of every pool, as flags of the landing files do."""
    known = PARTS.index(part) if part in PARTS else 0
    return replace(
        history,
        high=history.high if known >= 1 else None,
        low=history.low if known >= 1 else None,
        schedule=history.schedule if known >= 2 else None,
        close_2=history.close_2 if known >= 4 else None,
    )


def scored(job: tuple[Path, str, str, str, str, str, int]) -> Scored:
    """The scores of one series and part over all windows."""
    panel, series, part, model, start, end, n_paths = job
    history = with_parts(full_history(panel, series), part)
    found = []
    for window, use_end in windows(start, end):
        seen = history.since(window.start)
        fitted = registry.get("naive" if part == "naive" else model).fit(seen.before(window.end), window)
        dates = seen.observed_dates
        last = dates[-1] - np.timedelta64(DEFAULT - 1, "D")
        origins = dates[(dates >= window.end) & (dates < use_end) & (dates <= last)]
        if part == "+ roll variance" and fitted.state.get("rolls"):
            fitted = VarianceOnly(window, {**fitted.state, "kappa": prior_variance(seen.before(window.end), fitted)})
        paths = fitted.simulate(seen, origins, DEFAULT, n_paths, Shocks(SEED, fitted.n_slots))
        at = np.searchsorted(seen.dates, origins)[:, None] + np.arange(DEFAULT)
        use = seen.observed[at] & seen.trading(origins, DEFAULT)
        truth = seen.close[at]
        ordered = np.sort(np.moveaxis(paths, 1, 2), axis=-1)
        losses = np.full(use.shape, np.nan)
        losses[use] = crps(ordered[use].astype(np.float64), truth[use])
        low_95, low_80, high_80, high_95 = np.quantile(ordered[use], [0.025, 0.1, 0.9, 0.975], axis=-1)
        level = seen.observed_close[seen.known_sessions(origins) - 1]
        spans = {name: np.nanmean(losses[:, :days], axis=1) for name, days in HORIZONS.items()}
        inside = [(low <= truth[use]) & (truth[use] <= high) for low, high in ((low_80, high_80), (low_95, high_95))]
        found.append(Scored(origins, level, spans, *(part.astype(np.float64) for part in inside)))
    return Scored(
        np.concatenate([one.origins for one in found]),
        np.concatenate([one.level for one in found]),
        {name: np.concatenate([one.crps[name] for one in found]) for name in HORIZONS},
        np.concatenate([one.in_80 for one in found]),
        np.concatenate([one.in_95 for one in found]),
    )


def prior_variance(history: History, fitted: RandomWalkFitted) -> float:
    """1 + A of the window's end: the variance of a roll's move over an ordinary day's."""
    z = past_rolls(history, history.schedule, fitted.transform.forward(history.observed_close)).z
    return 1.0 + excess_variance(z)


def main() -> None:
    """Print one block a part: skill by series and pooled, by span, with bands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", type=Path, required=True)
    parser.add_argument("--series", nargs="+", default=SERIES)
    parser.add_argument("--parts", nargs="+", default=PARTS)
    parser.add_argument("--model", default="random_walk")
    parser.add_argument("--start", default="2008-01-01")
    parser.add_argument("--end", default="2017-07-01", help="a day of the last window")
    parser.add_argument("--paths", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    jobs = [
        (options.panel, series, part, options.model, options.start, options.end, options.paths)
        for part in ("naive", *options.parts)
        for series in options.series
    ]
    with get_context("spawn").Pool(options.workers) as pool:
        results = dict(zip(((job[2], job[1]) for job in jobs), pool.map(scored, jobs, chunksize=1), strict=True))
    print(f"{'part':18}{'series':13}{'1d %':>8}{'7d %':>8}{'14d %':>8}{'80 %':>7}{'95 %':>7}")
    for part in options.parts:
        pools: dict[str, list[Losses]] = {name: [] for name in HORIZONS}
        for series in options.series:
            own, naive = results[part, series], results["naive", series]
            for name in HORIZONS:
                pools[name].append(Losses(own.origins, own.crps[name], naive.crps[name], own.level))
            skills = [100 * pooled_skill([pools[name][-1]], overlap(name)).skill for name in HORIZONS]
            bands = f"{100 * own.in_80.mean():7.1f}{100 * own.in_95.mean():7.1f}"
            print(f"{part:18}{series:13}{''.join(f'{skill:8.2f}' for skill in skills)}{bands}")
        whole = [pooled_skill(pools[name], overlap(name)) for name in HORIZONS]
        each = [results[part, series] for series in options.series]
        inside = [np.concatenate([getattr(one, band) for one in each]) for band in ("in_80", "in_95")]
        bands = "".join(f"{100 * values.mean():7.1f}" for values in inside)
        print(f"{part:18}{'pooled':13}{''.join(f'{100 * one.skill:8.2f}' for one in whole)}{bands}")
        errors = "".join(f"{100 * (one.high - one.low) / 2:8.2f}" for one in whole)
        print(f"{part:18}{'  95 % +-':13}{errors}\n", flush=True)


if __name__ == "__main__":
    main()
