"""Small platforms for tests: synthetic landing files, settings over a temporary warehouse, and a trained state."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd

from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.training import train
from forecast_platform.settings import Settings, build
from forecast_platform.sources.calendars import sessions
from forecast_platform.work.platform import Platform

FIRST, LAST = dt.date(2014, 1, 2), dt.date(2018, 3, 29)
"""Span of the synthetic prices; 2018-03-30 is Good Friday, so the last complete day is Sunday 2018-04-01."""

SERIES = ("Alpha", "Beta")
MODELS = ("naive", "random_walk")


def write_landing(
    folder: Path, *, last: dt.date | None = None, seed: int = 7, span: tuple[dt.date, dt.date] = (FIRST, LAST)
) -> Path:
    """Two correlated series, VIX and one region's weather, over `span` cut at `last`, the same for any `last`."""
    last = last or span[1]
    days = sessions("XNYS", *span)
    rng = np.random.default_rng(seed)
    common = rng.standard_t(5, len(days)) * 0.012
    market = folder / "market"
    market.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(SERIES):
        moves = 0.7 * common + rng.standard_t(5, len(days)) * 0.006
        close = np.round((100 + 50 * number) * np.exp(np.cumsum(moves)), 4)
        frame = pd.DataFrame({"date": days, "open": close, "high": close, "low": close, "close": close, "volume": 1.0})
        frame[frame.date <= pd.Timestamp(last)].to_csv(market / f"{name.lower()}.csv", index=False)
    macro = pd.DataFrame({"date": days, "vix": np.round(15 + 5 * np.abs(rng.standard_normal(len(days))), 3)})
    macro[macro.date <= pd.Timestamp(last)].to_csv(folder / "macro.csv", index=False)
    every = pd.date_range(*span)
    season = 20 + 8 * np.sin(2 * np.pi * every.dayofyear.to_numpy() / 365.25)
    weather = pd.DataFrame(
        {
            "date": every,
            "region": "North",
            "temp_mean_c": np.round(season + rng.standard_normal(len(every)), 2),
            "precipitation_mm": np.round(rng.gamma(0.5, 4.0, len(every)), 1),
        }
    )
    weather[weather.date <= pd.Timestamp(last)].to_csv(folder / "weather.csv", index=False)
    return folder


def with_bars(file: Path, seed: int = 11) -> None:
    """Give a market file real bars, but for every thirtieth day, and a second contract."""
    frame = pd.read_csv(file)
    rng = np.random.default_rng(seed)
    before = frame["close"].shift(1, fill_value=frame["close"].iloc[0])
    wider = 1 + 0.006 * np.abs(rng.standard_normal((2, len(frame))))
    frame["high"] = np.maximum(frame["close"], before) * wider[0]
    frame["low"] = np.minimum(frame["close"], before) / wider[1]
    frame.loc[frame.index % 30 == 7, ["high", "low"]] = np.nan
    frame["close_2"] = frame["close"] * (1 + 0.01 * np.sin(np.arange(len(frame)) / 40))
    frame.to_csv(file, index=False)


def settings_for(root: Path, **changes: object) -> Settings:
    """Settings of a small landing platform under `root`."""
    values: dict[str, object] = {
        "source": "landing",
        "landing": root / "landing",
        "warehouse": root / "warehouse",
        "models": MODELS,
        "lookback_years": 3,
        "start_date": dt.date(2017, 7, 1),
        "n_paths": 200,
        "min_free_gb": 0.0,
        "workers": 2,
    }
    return build(**{**values, **changes})


def ingested(root: Path, **changes: object) -> Platform:
    """A platform whose unified_data is complete."""
    platform = Platform.from_settings(settings_for(root, **changes))
    ingest_all(platform)
    return platform


def ingest_all(platform: Platform) -> None:
    """Ingest all that the landing files hold."""
    report = ingest(platform, platform.settings.series_names, platform.settings.history_start, LAST)
    late = {
        day: reason
        for outcome in report.outcomes.values()
        for day, reason in outcome.failed.items()
        if "begin on" not in reason and "end on" not in reason
    }
    assert not report.rejections
    assert not late


def trained(root: Path, **changes: object) -> Platform:
    """A platform whose windows 2017-07-01 and 2018-01-01 are trained for all its models."""
    platform = ingested(root, **changes)
    for series in platform.settings.series_names:
        for model in platform.settings.models:
            outcome = train(platform, series, model, [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])
            assert not outcome.failed, outcome.failed
    return platform


def days(first: str, last: str) -> list[dt.date]:
    """All days first..last."""
    begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [begin + dt.timedelta(days=n) for n in range((end - begin).days + 1)]


def revise(root: Path, platform: Platform) -> None:
    """The source's close of 2018-01-03 of Alpha becomes 2 % higher than it was, and is ingested."""
    file = root / "landing" / "market" / "alpha.csv"
    rows = pd.read_csv(file)
    rows.loc[rows["date"] == "2018-01-03", ["open", "high", "low", "close"]] *= 1.02
    rows.to_csv(file, index=False)
    ingest_all(platform)
