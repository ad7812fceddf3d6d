"""What must hold of the tables: plain functions of arrays, one a rule. The asset checks read, call these, report."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, Bools, Dates, Floats
from forecast_platform.graph.checks.findings import Target, as_days, days_text
from forecast_platform.graph.checks.path_figures import PathFigures
from forecast_platform.host.finding import Finding

GLITCH_MOVE = 0.20
"""A one-session move of this share that reverts is taken for a vendor's slip."""
GLITCH_REVERT = 0.05

JUMP_SIGMAS = 8.0
"""Robust standard deviations of the sessions before, beyond which a move is worth a look."""
JUMP_SESSIONS = 250
_JUMP_MINIMUM = 60

COVARIATE_SHARE = 0.5
"""Share of the last year that a covariate must be known for: below it models leave it out."""
COVARIATE_LATE_DAYS = 14
"""Days a covariate may lag behind the newest day before it is taken for ended."""

SPREAD_BOUNDS = (0.2, 5.0)
"""Spread of the last day over that of recent changes. Wide: volatility itself moves by a factor of three in weeks."""
SPREAD_SESSIONS = 60

HOLDOUT_TOLERANCE = 0.01
"""Share by which a holdout CRPS may exceed naive's: its sampling error is larger."""

_NOT_FINITE = re.compile(r"(?<![A-Za-z0-9_])-?(?:NaN|Infinity|nan|inf)(?![A-Za-z0-9_])")


def duplicate_days(series: str, dates: Dates) -> Finding:
    """No day twice. dates: one a row of unified_data, [n]."""
    days, counts = np.unique(dates, return_counts=True)
    if (counts > 1).any():
        twice = days[counts > 1]
        return Finding(
            series,
            "error",
            f"{len(twice)} days are in unified_data more than once: {days_text(twice)}",
            f"materialize unified_data of {series} for those days, and let nothing else write the table",
        )
    return Finding(series, figures={"days": len(days)})


def missing_days(series: str, dates: Dates) -> Finding:
    """No calendar day is missing between the first and the last. dates: [n], in any order."""
    days = np.unique(dates)
    if len(days) == 0:
        return Finding(series, "error", "unified_data has no rows", f"materialize unified_data of {series}")
    whole = np.arange(days[0], days[-1] + ONE_DAY)
    gaps = np.setdiff1d(whole, days)
    if len(gaps):
        return Finding(
            series,
            "error",
            f"{len(gaps)} days are missing between {days[0]} and {days[-1]}: {days_text(gaps)}",
            f"materialize unified_data of {series} for them; models cannot be fitted or used across a gap",
        )
    return Finding(series, figures={"first": str(days[0]), "last": str(days[-1])})


def price_jumps(
    series: str,
    dates: Dates,
    close: Floats,
    rolls: Bools,
    since: np.datetime64,
    confirmed: Collection[dt.date] = (),
) -> Finding:
    """No one-session move of 20 % that reverts, and none beyond JUMP_SIGMAS robust deviations of the year before.

    dates, close, rolls: observed sessions ascending, [n]; those before `since` are history only, and `confirmed` ones
    were looked at. A move is relative
    to the price's size; prices may be zero or negative, so never to less than a twentieth of its median size.
    """
    if len(dates) < 3:
        return Finding(series, figures={"sessions": len(dates)})
    floor = 0.05 * float(np.median(np.abs(close))) or 1.0
    moves = np.diff(close) / np.maximum(np.abs(close[:-1]), floor)
    due = (dates[1:] >= since) & ~np.isin(dates[1:], np.array(sorted(confirmed), "datetime64[D]"))
    chosen = due & ~rolls[1:]
    back = np.zeros(len(moves), bool)
    scale = np.maximum(np.abs(close[:-2]), floor)
    back[:-1] = (np.abs(moves[:-1]) >= GLITCH_MOVE) & (np.abs(close[2:] - close[:-2]) <= GLITCH_REVERT * scale)
    large = np.zeros(len(moves), bool)
    for i in np.flatnonzero(chosen):
        before = moves[max(0, i - JUMP_SESSIONS) : i]
        if len(before) >= _JUMP_MINIMUM:
            sigma = 1.4826 * float(np.median(np.abs(before)))
            large[i] = sigma > 0 and abs(moves[i]) > JUMP_SIGMAS * sigma
    glitches, jumps = np.flatnonzero(back & due), np.flatnonzero(large & chosen & ~back)
    if len(glitches) == 0 and len(jumps) == 0:
        return Finding(series, figures={"largest_move_percent": _largest(moves[chosen])})
    listed = [f"{dates[i + 1]} {close[i]:g} to {close[i + 1]:g} and back" for i in glitches[:4]]
    listed += [f"{dates[i + 1]} {close[i]:g} to {close[i + 1]:g}" for i in jumps[-4:]]
    return Finding(
        series,
        "warning",
        f"{len(glitches)} one-session jumps that revert, {len(jumps)} moves beyond {JUMP_SIGMAS:g} deviations: "
        + ", ".join(listed),
        "compare with a second source; correct the source's file and materialize unified_data again, name a "
        "contract's roll in the series' roll_dates, or a day that is right in its `confirmed`",
        {"glitches": len(glitches), "jumps": len(jumps)},
    )


def _largest(moves: Floats) -> float:
    return float(100 * np.abs(moves).max()) if len(moves) else 0.0


def stale_source(
    series: str, last_observed: dt.date, sessions: Dates, today: dt.date, lag: int, limit: int, ended: dt.date | None
) -> Finding:
    """The last session due has arrived.

    last_observed: the day on which the newest close was first seen, `lag` days (the publication lag) after its session;
    sessions: the exchange's, [n] ascending; limit: days beyond which no forecast is made; ended: the last day of a
    source that has ended, which is never late.
    """
    if ended is not None:
        return Finding(series, figures={"last_close": str(last_observed), "source_ended": str(ended)})
    last = np.datetime64(last_observed, "D")
    # The days on which the sessions' closes are first seen.
    due = sessions + lag * ONE_DAY
    due = due[due < np.datetime64(today, "D")]
    late = due[due > last]
    if len(late) == 0:
        return Finding(series, figures={"last_close": str(last_observed)})
    days = int((due[-1] - last).astype(int))
    severe = days > limit
    return Finding(
        series,
        "error" if severe else "warning",
        f"the newest close is of {last_observed}; {len(late)} sessions are late, the last of {due[-1]}"
        + (f": more than {limit} days, so no forecast is made" if severe else ""),
        "look at what fills the source (feed, landing files), then run `forecast-platform infer`",
        {"sessions_late": len(late), "days_late": days},
    )


def covariate_coverage(
    series: str, dates: Dates, columns: Mapping[str, Floats], filled: Sequence[str], wanted: Sequence[str]
) -> Finding:
    """Every covariate is there, known for most of the last year, and not merely carried forward for weeks.

    dates ascending [n]; columns: name -> [n]; filled: comma-separated names of each day's carried values, [n].
    """
    problems, figures = [], {}
    year = dates > dates[-1] - 365 * ONE_DAY if len(dates) else np.zeros(0, bool)
    names_by_day = [set(text.split(",")) for text in filled]
    for name in wanted:
        if name not in columns:
            problems.append(f"{name} is not in unified_data")
            continue
        known = np.isfinite(columns[name])
        share = float(known[year].mean()) if year.any() else 0.0
        figures[f"{name}_known_percent"] = round(100 * share, 1)
        if share < COVARIATE_SHARE:
            problems.append(f"{name} is known on {100 * share:.0f} % of the last year's days")
            continue
        real = known & np.array([name not in names for names in names_by_day], bool)
        newest = dates[real][-1] if real.any() else dates[0]
        late = int((dates[-1] - newest).astype(int))
        if late > COVARIATE_LATE_DAYS:
            problems.append(f"{name} has no value of its own since {newest}, {late} days")
    if problems:
        mend = "bring macro or weather files up to date, or take the column out of the series' covariates"
        return Finding(series, "warning", "; ".join(problems), mend, figures)
    return Finding(series, figures=figures)


def windows_complete(target: Target, trained: Sequence[dt.date], expected: Sequence[dt.date]) -> Finding:
    """A fitted model for every window up to today."""
    lacking = sorted(set(expected) - set(trained))
    if lacking:
        shown = ", ".join(map(str, lacking[:4])) + (f" and {len(lacking) - 4} more" if len(lacking) > 4 else "")
        return target.bad(
            f"{len(lacking)} of {len(expected)} windows have no model: {shown}",
            f"train them with {target.command('train', lacking)}",
            "warning",
            missing=len(lacking),
        )
    return target.good(windows=len(expected))


def finite_parameters(target: Target, texts: Mapping[dt.date, str], unread: Mapping[dt.date, str]) -> Finding:
    """Every stored model is what was written and has finite numbers only. texts: by window the model's and its
    figures' JSON; unread: by window why the model was not opened."""
    wrong = dict(unread)
    for start, text in texts.items():
        if found := _NOT_FINITE.search(text):
            wrong[start] = f"it holds {found.group()}"
    if wrong:
        first = min(wrong)
        return target.bad(
            f"{len(wrong)} models cannot be used: " + ", ".join(f"{k} ({v})" for k, v in sorted(wrong.items())[:4]),
            f"train again with {target.command('train', sorted(wrong), overwrite=True)}; if it returns, look at the "
            f"training data of window {first}",
            unusable=len(wrong),
        )
    return target.good(models=len(texts))


def holdout_skill(target: Target, metrics: Mapping[dt.date, Mapping[str, Any]]) -> Finding:
    """CRPS on the held-out tails is no worse than the naive model's (by 1 %), over all windows together."""
    pairs = {
        start: (float(found["holdout_crps"]), float(found["holdout_crps_naive"]))
        for start, found in metrics.items()
        if found.get("holdout_crps") is not None and found.get("holdout_crps_naive")
    }
    if not pairs:
        return target.good(windows_with_holdout=0)
    own, naive = (sum(pair[i] for pair in pairs.values()) for i in (0, 1))
    skill = 1 - own / naive
    if own > naive * (1 + HOLDOUT_TOLERANCE):
        worst = max(pairs, key=lambda start: pairs[start][0] / pairs[start][1])
        return target.bad(
            f"holdout CRPS is {-100 * skill:.1f} % worse than naive over {len(pairs)} windows, most in {worst}",
            f"compare on real forecasts with `forecast-platform evaluate --commodity {target.series}`, and promote "
            "another model if it holds there",
            "warning",
            holdout_skill=skill,
        )
    return target.good(holdout_skill=skill, windows=len(pairs))


def path_shape(target: Target, paths: PathFigures, n_paths: int, wanted: Dates) -> Finding:
    """Exactly n_paths paths a date, numbered 0 to n_paths - 1. wanted: dates to be there, [n]."""
    wrong = np.union1d(paths.dates[~paths.complete], np.setdiff1d(wanted, paths.dates))
    if len(wrong):
        first = wrong[0]
        return target.bad(
            f"{len(wrong)} dates do not hold {n_paths} paths: {days_text(wrong)} "
            f"({first} has {paths.rows[paths.dates == first].sum()})",
            target.made_anew(wrong),
            wrong_dates=len(wrong),
        )
    return target.good(dates=len(paths.dates), paths=n_paths)


def finite_paths(target: Target, paths: PathFigures) -> Finding:
    """No path holds NaN, infinity or null."""
    if paths.not_finite.any():
        wrong = paths.dates[paths.not_finite > 0]
        return target.bad(
            f"{paths.not_finite.sum()} paths are not finite, of {days_text(wrong)}",
            target.made_anew(wrong),
            dates_not_finite=len(wrong),
        )
    return target.good()


def no_leak(target: Target, dates: Dates, data_cutoff: Dates, last_observed: Dates, flagged: Bools) -> Finding:
    """Every forecast knows only days before its own. All [n_dates]."""
    leaking = (data_cutoff >= dates) | (last_observed > data_cutoff) | flagged
    if leaking.any():
        first = int(np.flatnonzero(leaking)[0])
        return target.bad(
            f"{leaking.sum()} forecasts know their own future: {days_text(dates[leaking])} ({dates[first]} has data "
            f"to {data_cutoff[first]}, last close of {last_observed[first]})",
            f"do not trade on them; {target.made_anew(dates[leaking])}",
            leaking=int(leaking.sum()),
        )
    return target.good()


def training_cutoff(target: Target, dates: Dates, cutoffs: Dates, window_starts: Dates) -> Finding:
    """Every forecast's model was fitted on data to the day before its window. All [n_dates]."""
    wrong = cutoffs != window_starts - ONE_DAY
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        return target.bad(
            f"{wrong.sum()} forecasts are of another window's model: {days_text(dates[wrong])} ({dates[first]} has "
            f"training cutoff {cutoffs[first]}, its window begins on {window_starts[first]})",
            target.made_anew(dates[wrong]),
            wrong_cutoffs=int(wrong.sum()),
        )
    return target.good()


def starts_from_last_close(target: Target, paths: PathFigures, last_close: Floats, trading: Bools) -> Finding:
    """Paths begin at the last close: exactly while the exchange is shut, else within three of day_1's deviations.

    paths: of dates that are sound; last_close (in the price's unit), trading (on the forecast date): [n_dates].
    """
    dates, median, exact = paths.dates, paths.median, last_close.astype(np.float32)
    far = np.abs(median - last_close) > 3 * paths.deviation
    off = np.where(trading, far, (paths.low != exact) | (paths.high != exact))
    if off.any():
        first = int(np.flatnonzero(off)[0])
        return target.bad(
            f"{off.sum()} forecasts do not start from the last close: {days_text(dates[off])} ({dates[first]} starts "
            f"from {median[first]:g}, the last close is {last_close[first]:g})",
            f"if prices were revised, {target.made_anew(dates[off])}",
            wrong_starts=int(off.sum()),
        )
    return target.good()


def spread_bounds(target: Target, dates: Dates, spread: Floats, recent: Floats) -> Finding:
    """The spread of the last day is within SPREAD_BOUNDS of what recent volatility gives.

    spread: standard deviation of the paths on it; recent: that of past changes, scaled to the sessions in the
    horizon; both [n_dates]. Dates without a recent figure are left out.
    """
    known = np.isfinite(recent) & (recent > 0)
    ratio = np.divide(spread, recent, out=np.full(len(dates), np.nan), where=known)
    off = known & ~((ratio >= SPREAD_BOUNDS[0]) & (ratio <= SPREAD_BOUNDS[1]))
    if off.any():
        worst = int(np.argmax(np.where(off, np.abs(np.log(np.maximum(ratio, 1e-9))), -1.0)))
        return target.bad(
            f"the spread of {off.sum()} forecasts is out of bounds: {days_text(dates[off])} (on {dates[worst]} it is "
            f"{ratio[worst]:.2f} times that of the last {SPREAD_SESSIONS} sessions)",
            f"look at the fan chart and the fitted model; {target.command('train', as_days(dates[off])[:1])} fits it "
            "again with --overwrite",
            "warning",
            wrong_spreads=int(off.sum()),
        )
    return target.good(median_ratio=float(np.median(ratio[known])) if known.any() else float("nan"))
