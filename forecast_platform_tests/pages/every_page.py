"""One of every page, over made-up forecasts: what the tests in a browser open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from forecast_platform.forecasting.portfolio import leg_profits, portfolio_risk
from forecast_platform.pages.charts import status
from forecast_platform.pages.daily_layout import write_daily_page
from forecast_platform.pages.fan_chart import write_fan_chart
from forecast_platform.pages.history import NAMES, write_history
from forecast_platform.pages.history_charts import Days
from forecast_platform.pages.index import write_index
from forecast_platform.pages.leaderboard import leaderboard, write_report
from forecast_platform.pages.overview import write_overview
from forecast_platform.pages.portfolio import FAN, Book, write_portfolio
from forecast_platform.pages.scores import ModelKey
from forecast_platform.pages.series_day import Bands, Hit, SeriesDay, When
from forecast_platform.read.portfolio import Leg, PortfolioFigures
from forecast_platform.read.tables import Key

DAY = dt.date(2020, 4, 29)
SHARP, NAIVE = ModelKey("sharp", "v1.0"), ModelKey("naive", "v1.0")
FACTS = [("disk", "good", "71 GB free"), ("data Coffee", "warn", "1 days late"), ("runs", "bad", "score failed")]
WHEN = When(DAY, DAY, "America/New_York", dt.datetime(2999, 4, 30, 15, tzinfo=dt.timezone.utc))
HORIZON = 14


def bands(key: ModelKey, width: float, link: str | None = None) -> Bands:
    """A forecast around 110 whose bands widen with the square root of time."""
    steps, middle = np.sqrt(np.arange(1, HORIZON + 1)), np.full(HORIZON, 110.0)
    sides = [middle + sign * z * width * steps for z in (1.28, 1.96) for sign in (-1, 1)]
    return Bands(key, middle, *sides, link=link)


def series_day(metadata: pd.DataFrame, expected: Sequence[dt.date], **changes: object) -> SeriesDay:
    """A series whose data and forecast are of DAY."""
    keys = [NAIVE, SHARP]
    made, failed = status(metadata, expected, keys)
    days = np.arange(np.datetime64(DAY) - 60, np.datetime64(DAY))
    found = SeriesDay(
        series="Coffee",
        forecast_date=DAY,
        champion=SHARP,
        models=[bands(NAIVE, 2.4), bands(SHARP, 2.0)],
        history_dates=days,
        history_close=100 + 0.1 * np.arange(len(days)),
        hit_date=DAY - dt.timedelta(days=1),
        hit_close=106.0,
        hits=[Hit(NAIVE, 1, 100, 105, 98, 107), Hit(SHARP, 1, 104, 108, 102, 110), Hit(SHARP, 14, 90, 100, 88, 102)],
        board=leaderboard(metadata[metadata.model_name.isin(["naive", "sharp"])]),
        expected=expected,
        keys=keys,
        made=made,
        failed=failed,
        due=DAY - dt.timedelta(days=1),
        made_at=dt.datetime(2020, 4, 29, 12, 3, tzinfo=dt.timezone.utc),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def days_of(n_days: int = 365) -> Days:
    """Forecasts of `n_days` days, with the closes that followed all but the newest."""
    rng = np.random.default_rng(5)
    dates = np.datetime64(DAY) - np.arange(n_days - 1, -1, -1)
    middle = 100 + rng.standard_normal(n_days).cumsum()[:, None] + np.zeros(HORIZON)
    wide = 2 * np.sqrt(np.arange(1, HORIZON + 1))
    quantiles = {"median": middle}
    for level, z in ((80, 1.28), (95, 1.96)):
        quantiles |= {f"lower_{level}": middle - z * wide, f"upper_{level}": middle + z * wide}
    targets = dates[:, None] + np.arange(HORIZON)
    seen = np.is_busday(targets) & (targets < np.datetime64(DAY))
    actual = np.where(seen, middle + wide * rng.standard_normal(middle.shape), np.nan)
    return Days(dates, {name: quantiles[name] for name in NAMES}, actual)


def book(positions: Mapping[str, float]) -> Book:
    """A portfolio on shared scenarios, some of whose legs hedge others."""
    rng = np.random.default_rng(3)
    shared, n = rng.standard_normal((2000, HORIZON)).cumsum(axis=1), len(positions)
    paths = np.stack([100 + shared + rng.standard_normal((2000, HORIZON)) for _ in positions]).astype(np.float32)
    legs = [
        Leg(Key(name, "sharp", "v1.0", "champion"), contracts, 375.0, "US cents/lb")
        for name, contracts in positions.items()
    ]
    closes, sizes = np.full((n, 1), 100.0), [leg.size for leg in legs]
    by_day = [leg_profits(paths[:, None], closes, sizes, day) for day in range(1, HORIZON + 1)]
    figures = PortfolioFigures(
        legs=legs,
        currency="USD",
        day_ahead=HORIZON,
        dates=np.array([DAY], "datetime64[D]"),
        last_closes=closes,
        last_observed=np.full((n, 1), np.datetime64(DAY) - 1),
        behind=tuple(0 for _ in legs),
        profits=by_day[-1],
        figures={level: portfolio_risk(by_day[-1], level) for level in (0.95, 0.99)},
        left_out={},
    )
    fan = np.stack([np.quantile(profit.sum(axis=0)[0], FAN) for profit in by_day])
    return Book("softs", figures, fan)


def write_all(folder: Path, metadata: pd.DataFrame, expected: Sequence[dt.date]) -> dict[str, Path]:
    """One of every page, by what it is."""
    noise = np.random.default_rng(0).standard_normal((500, HORIZON))
    history = np.arange(np.datetime64(DAY) - 400, np.datetime64(DAY))
    close = 100 + 0.02 * np.arange(400)
    found = {
        "leaderboard": write_report(
            folder, series="Coffee", metadata=metadata, expected_dates=expected, unit="US cents/lb"
        ),
        "fan chart": write_fan_chart(
            folder,
            series="Coffee",
            model="sharp",
            version="v1.0",
            forecast_date=DAY,
            paths=(108 + noise.cumsum(axis=1)).astype(np.float32),
            history_dates=history,
            history_close=close,
            actuals=np.concatenate([np.full(5, 108.0), np.full(9, np.nan)]),
            data_cutoff=DAY - dt.timedelta(days=1),
            training_cutoff=dt.date(2019, 12, 31),
            last_observed=DAY - dt.timedelta(days=1),
            staleness_days=0,
            unit="US cents/lb",
        ),
        "history": write_history(
            folder,
            series="Coffee",
            key=SHARP,
            days=days_of(),
            history_dates=history,
            history_close=close,
            metadata=metadata,
            unit="US cents/lb",
        ),
        "portfolio": write_portfolio(folder, book({"Coffee": 10, "Sugar": -50}), when=WHEN),
    }
    links = {"history_link": found["history"].name, "leaderboard_link": found["leaderboard"].name}
    coffee = series_day(metadata, expected, unit="US cents/lb", **links)
    found["overview"] = write_overview(
        folder, when=replace(WHEN, day=DAY - dt.timedelta(days=7)), groups={"softs": [coffee]}, facts=FACTS, state="bad"
    )
    late = replace(coffee, series="Sugar", late=3, chosen=False)
    found["daily"] = write_daily_page(folder, when=WHEN, series=[coffee, late], facts=FACTS, state="bad")
    found["index"] = write_index(folder)
    return found
