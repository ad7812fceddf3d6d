"""What must hold of point forecasts, of the dates covered, and of a quarter's calibration."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.metrics import diebold_mariano
from forecast_platform.graph.checks.findings import Target, days_text
from forecast_platform.host.finding import Finding

QUANTILES = ("lower_95", "lower_80", "forecast_median", "upper_80", "upper_95")
STATISTICS = ("forecast_mean", "forecast_std", *QUANTILES)

AGREEMENT = 1e-6
"""Relative difference allowed between a stored statistic and that of the stored paths."""

NOT_YET = "no forecast for"
"""How `fresh` begins what it says."""

MIN_CALIBRATION = 30
"""Scored forecasts of distinct last closes below which calibration says nothing."""

_P = 0.01
_COVERAGE_OFF = 0.10
_PIT_OFF = 0.10


def ordered_quantiles(target: Target, dates: Dates, columns: Mapping[str, Floats], horizon: int = DEFAULT) -> Finding:
    """`horizon` days a date, finite, bounds and median in order. dates, columns[name]: one a row."""
    days, counts = np.unique(dates, return_counts=True)
    wrong = days[counts != horizon]
    quantiles = np.stack([columns[name] for name in QUANTILES], axis=1) if len(dates) else np.zeros((0, 5))
    with np.errstate(invalid="ignore"):
        good = (np.diff(quantiles, axis=1) >= 0).all(axis=1) & (columns["forecast_std"] >= 0)
    good &= np.isfinite(columns["forecast_mean"])
    wrong = np.union1d(wrong, np.unique(dates[~good]))
    if len(wrong):
        return target.bad(
            f"quantiles out of order, not finite, or not {horizon} days: {days_text(wrong)}",
            target.made_anew(wrong),
            wrong_dates=len(wrong),
        )
    return target.good(dates=len(days))


def agrees_with_paths(
    target: Target, dates: Dates, stored: Mapping[str, Floats], from_paths: Mapping[str, Floats]
) -> Finding:
    """Stored statistics are those of the stored paths. stored, from_paths: name -> [n_dates, horizon]."""
    off = np.zeros(len(dates), bool)
    for name in STATISTICS:
        scale = np.maximum(np.abs(from_paths[name]), np.abs(from_paths["forecast_mean"]))
        with np.errstate(invalid="ignore"):
            off |= ~(np.abs(stored[name] - from_paths[name]) <= AGREEMENT * scale).all(axis=1)
    if off.any():
        return target.bad(
            f"statistics of {off.sum()} of {len(dates)} sampled dates are not those of the paths: "
            f"{days_text(dates[off])}",
            target.made_anew(dates[off]),
            dates_that_differ=int(off.sum()),
        )
    return target.good(dates_sampled=len(dates))


def date_gaps(target: Target, there: Dates, newest: dt.date) -> Finding:
    """No forecast date is missing from the first of `there` [n] to `newest`, the last that the data allow."""
    if len(there) == 0:
        return target.bad("there are no forecasts", f"make them with {target.command('backfill', [])}", "warning")
    whole = np.arange(there.min(), np.datetime64(newest, "D") + 1)
    gaps = np.setdiff1d(whole, there)
    if len(gaps):
        days = list(gaps.astype(dt.date))
        return target.bad(
            f"{len(gaps)} dates have no forecast: {days_text(gaps)}",
            f"make them with {target.command('backfill', days)}; why they failed is in forecast_metadata.error",
            "warning",
            missing=len(gaps),
        )
    return target.good(dates=len(np.unique(there)))


def fresh(
    target: Target,
    newest: dt.date | None,
    now: dt.datetime,
    deadline: dt.datetime,
    ended: dt.date | None,
    source_late: str | None,
) -> Finding:
    """Today's forecast exists by its deadline; before it, yesterday's.

    now, deadline: aware, the deadline as a time of today in the platform's zone; source_late: why none can be made.
    """
    if ended is not None:
        return target.good(newest=str(newest), source_ended=str(ended))
    due = deadline.date() if now >= deadline else deadline.date() - dt.timedelta(days=1)
    if newest is not None and newest >= due:
        return target.good(newest=str(newest))
    what = f"{NOT_YET} {due}, due by {deadline:%H:%M}; the newest is for {newest}"
    if source_late:
        return target.bad(f"{what}; {source_late}", "bring the source up to date first", "warning")
    return target.bad(what, f"make it with {target.command('backfill', [due])}, and look at the daily run's log")


def calibration(target: Target, columns: Mapping[str, Floats], whole: str, sessions: int) -> Finding:
    """80 and 95 % bands hold what they promise, and the PIT is uniform, over one quarter's forecasts.

    columns: coverage_80_1d, coverage_95_1d, the same of the whole horizon (coverage_80_14d), pit; [n], in time order,
    each last known close once, NaN while unknown. whole: the horizon's suffix, `14d`. sessions: by how many the whole
    horizon's figures of neighbours overlap. A deviation
    counts where it is large (10 points; 5 of the 95 % band) and has p < 0.01 by a test of the mean with HAC variance
    to lag sessions - 1. The PIT's mean and its mean square about 1/2 stand for bias and width.
    """
    n = int(np.isfinite(columns["coverage_80_1d"]).sum())
    if n < MIN_CALIBRATION:
        return target.good(forecasts=n)
    problems, figures = [], {}
    for level in (80, 95):
        for span, overlap in (("1d", 1), (whole, sessions)):
            values = columns[f"coverage_{level}_{span}"]
            mean, p = _against(values, level / 100, overlap)
            figures[f"hit_rate_{level}_{span}"] = mean
            if abs(mean - level / 100) > min(_COVERAGE_OFF, 1 - level / 100) and p < _P:
                problems.append(f"the {level} % band of {span} held {100 * mean:.0f} %")
    mean, p = _against(columns["pit"], 0.5, sessions)
    figures["pit_mean"] = mean
    if abs(mean - 0.5) > _PIT_OFF and p < _P:
        problems.append(f"forecasts are too {'low' if mean > 0.5 else 'high'} (mean PIT {mean:.2f})")
    square, p = _against((columns["pit"] - 0.5) ** 2, 1 / 12, sessions)
    figures["pit_spread"] = 12 * square
    if abs(12 * square - 1) > 4 * _PIT_OFF and p < _P:
        problems.append(f"forecasts are too {'narrow' if square > 1 / 12 else 'wide'} (PIT spread {12 * square:.2f})")
    if problems:
        return target.bad(
            f"not calibrated over {n} forecasts: {', '.join(problems)}",
            f"see the PIT histogram of `forecast-platform evaluate --commodity {target.series}`; train the current "
            "window again if its data were revised, or promote a better calibrated model",
            "warning",
            forecasts=n,
            **figures,
        )
    return target.good(forecasts=n, **figures)


def _against(values: Floats, nominal: float, horizon: int) -> tuple[float, float]:
    """The mean of the known values, and the p-value of its being `nominal`; 0 where it never varies and differs."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return float("nan"), 1.0
    mean = float(known.mean())
    p = diebold_mariano(known, np.full(len(known), nominal), horizon).p_value
    if np.isnan(p):
        # All alike, and not nominal: no variance to test with, but no accident over several spans that do not overlap.
        p = 0.0 if len(known) > 5 * horizon else 1.0
    return mean, p
