"""What each part of the forecasts is worth: the day's range, the roll schedule, the second contract; by series, pooled.

    python benchmarks/sharper.py --panel DIR [--series coffee sugar] [--start 2008-01-01] [--end 2017-07-01]
        [--paths 2000] [--model random_walk] [--parts ...]

DIR holds market/<series>.csv (date, high, low, close) and, where there is one, <series>_chain.csv with close_2.
Semiannual windows, five-year lookback, every trading-day origin whose fourteen days are known. CRPS over the trading
targets of days 1, 1 to 7 and 1 to 14 against naive, and the share of these targets in the 80 and 95 % bands; pooled as
`forecast-platform evaluate --all` does. Each part is added to those before it by what the history holds, so all go
through the product's own fit and simulation. The oracles know the volatility and what rolls foretell. The part `earlier
rolls` also learns from the 30 sessions that a window cannot. Prints the tables of docs/quality.md. Nothing is tuned
here.
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
from forecast_platform.forecasting.oracle import oracle_crps
from forecast_platform.forecasting.pooling import Losses, pooled_skill
from forecast_platform.forecasting.roll_moves import excess_variance, past_rolls
from forecast_platform.forecasting.rolls import CATALOGUE, seen_rolls
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.random_walk import RandomWalkFitted
from forecast_platform.pages.oracles import NAMES
from forecast_platform.pages.scores import overlap
from forecast_platform_tests.histories import history_from_csv

HORIZONS = suffixes(DEFAULT)
SEED = 20180101
SERIES = ("coffee", "sugar", "cocoa", "corn", "cotton", "wheat", "soybeans", "gold", "wti_futures")
RULES = {"wti_futures": "wti", **{name: name for name in CATALOGUE}}
PARTS = ("closes alone", "+ range", "+ roll variance", "+ roll mean", "+ second contract")
ORACLES = {f"oracle: {label}": inside for label, inside in NAMES.items()}
EARLIER = "earlier rolls"


class Scored(NamedTuple):
    """One part's scores of a series: by span CRPS [n_origins], and by target day and whether the bands held it."""

    origins: NDArray[np.datetime64]
    level: NDArray[np.float64]
    crps: dict[str, NDArray[np.float64]]
    day: NDArray[np.intp]
    """[n_targets], from 0."""
    inside: NDArray[np.bool_]
    """[2, n_targets]: in the 80 and in the 95 % band."""


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


class EarlierRolls(RandomWalkFitted):
    """Rolls learnt from the sessions before the window, too: `state["longer"]` is the history with them."""

    def rolls_ahead(self, history, origins, known, steps):
        longer = self.state["longer"]
        return super().rolls_ahead(longer, origins, longer.known_sessions(origins), steps)


def with_parts(history: History, part: str) -> History:
    """What of the history a part may see. Past rolls stay out of every pool, as flags of the landing files do."""
    known = 0 if part == "naive" else PARTS.index(part) if part in PARTS else len(PARTS)
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
    if part in ORACLES:
        return known_volatility(history, start, end, ORACLES[part])
    found = []
    for window, use_end in windows(start, end):
        seen = history.since(window.start)
        fitted = registry.get("naive" if part == "naive" else model).fit(seen.before(window.end), window)
        dates = seen.observed_dates
        last = dates[-1] - np.timedelta64(DEFAULT - 1, "D")
        origins = dates[(dates >= window.end) & (dates < use_end) & (dates <= last)]
        if part == "+ roll variance" and fitted.state.get("rolls"):
            fitted = VarianceOnly(window, {**fitted.state, "kappa": prior_variance(seen.before(window.end), fitted)})
        if part == EARLIER:
            longer = history.since(window.start - np.timedelta64(60, "D"))
            fitted = EarlierRolls(window, {**fitted.state, "longer": longer})
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
        bands = ((low_80, high_80), (low_95, high_95))
        inside = np.array([(low <= truth[use]) & (truth[use] <= high) for low, high in bands])
        found.append(Scored(origins, level, spans, np.nonzero(use)[1], inside))
    return Scored(
        np.concatenate([one.origins for one in found]),
        np.concatenate([one.level for one in found]),
        {name: np.concatenate([one.crps[name] for one in found]) for name in HORIZONS},
        np.concatenate([one.day for one in found]),
        np.concatenate([one.inside for one in found], axis=1),
    )


def known_volatility(history: History, start: str, end: str, inside: bool) -> Scored:
    """The scores of an oracle: it has no bands."""
    dates = history.observed_dates
    spans = [use for _, use in windows(start, end)]
    last = min(dates[-1] - np.timedelta64(DEFAULT - 1, "D"), spans[-1] - np.timedelta64(1, "D"))
    origins = dates[(dates >= np.datetime64(start)) & (dates <= last)]
    losses = oracle_crps(history, origins, DEFAULT, targets_in=inside)
    level = history.observed_close[history.known_sessions(origins) - 1]
    nothing = np.empty(0, np.intp), np.empty((2, 0), np.bool_)
    return Scored(origins, level, dict(zip(HORIZONS, losses, strict=True)), *nothing)


def prior_variance(history: History, fitted: RandomWalkFitted) -> float:
    """1 + A of the window's end: the variance of a roll's move over an ordinary day's."""
    z = past_rolls(history, history.schedule, fitted.transform.forward(history.observed_close)).z
    return 1.0 + excess_variance(z)


def bands_text(each: list[Scored], days: int) -> str:
    """Shares of the targets of days 1 to `days` in both bands, in per cent; empty where there are none."""
    near = np.concatenate([one.inside[:, one.day < days] for one in each], axis=1)
    return "{:.1f} / {:.1f}".format(*(100 * near.mean(axis=1))) if near.size else ""


def main() -> None:
    """Print a table a span: skill and bands by series and part, pooled, with the pooled interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", type=Path, required=True)
    parser.add_argument("--series", nargs="+", default=SERIES)
    parser.add_argument("--parts", nargs="+", default=(*PARTS, *ORACLES), choices=(*PARTS, *ORACLES, EARLIER))
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

    def losses(part: str, series: str, name: str) -> Losses:
        own, naive = results[part, series], results["naive", series]
        both, mine, other = np.intersect1d(own.origins, naive.origins, return_indices=True)
        return Losses(both, own.crps[name][mine], naive.crps[name][other], own.level[mine])

    for name, days in HORIZONS.items():
        print(f"\n| days 1 to {days} | {' | '.join(options.parts)} |\n|{'---|' * (1 + len(options.parts))}")
        for series in options.series:
            cells = []
            for part in options.parts:
                skill = pooled_skill([losses(part, series, name)], overlap(name)).skill
                cells.append(f"{100 * skill:.2f} ({bands_text([results[part, series]], days)})".removesuffix(" ()"))
            print(f"| {series} | {' | '.join(cells)} |")
        whole = {
            part: pooled_skill([losses(part, series, name) for series in options.series], overlap(name))
            for part in options.parts
        }
        each = {part: bands_text([results[part, series] for series in options.series], days) for part in options.parts}
        cells = [f"{100 * one.skill:.2f} ({each[part]})".removesuffix(" ()") for part, one in whole.items()]
        print(f"| **pooled** | {' | '.join(cells)} |")
        widths = [f"± {100 * (one.high - one.low) / 2:.2f}" for one in whole.values()]
        print(f"| 95 % interval | {' | '.join(widths)} |", flush=True)


if __name__ == "__main__":
    main()
