"""Scored forecasts of three made-up models on real trading days, as forecast_metadata holds them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from forecast_platform.forecasting.metrics import score_dates

FIRST = dt.date(2020, 1, 1)
N_DATES = 120


def _rows(model: str, sigma: float) -> pd.DataFrame:
    origins = np.datetime64(FIRST) + np.arange(N_DATES)
    targets = origins[:, None] + np.arange(14)
    days = np.arange(origins[0] - 10, origins[-1] + 14)
    truth = np.random.default_rng(1)
    close = 100 + 2 * np.where(np.is_busday(days), truth.standard_normal(len(days)), 0).cumsum()
    last_observed = np.busday_offset(origins, -1, roll="forward")
    trading = np.is_busday(targets)
    noise = np.random.default_rng(2).standard_normal((N_DATES, 200, 14))
    last_close = close[(last_observed - days[0]).astype(int)]
    paths = last_close[:, None, None] + sigma * np.where(trading[:, None], noise, 0).cumsum(axis=2)
    # Actuals are known to the last date, so the newest forecasts are only partly scored.
    known = np.where(targets <= origins[-1], close[(targets - days[0]).astype(int)], np.nan)
    frame = pd.DataFrame(score_dates(paths.astype(np.float32), last_close, known, trading, origins))
    return frame.assign(
        commodity="Coffee",
        model_name=model,
        model_version="v1.0",
        forecast_date=[day.item() for day in origins],
        last_observed_date=[day.item() for day in last_observed],
        model_success=True,
        has_data_leakage=False,
        error=None,
    )


@pytest.fixture(scope="session")
def _scored() -> pd.DataFrame:
    return pd.concat([_rows("naive", 2.4), _rows("sharp", 2.0), _rows("wild", 7.0)], ignore_index=True)


@pytest.fixture
def metadata(_scored: pd.DataFrame) -> pd.DataFrame:
    """Rows of naive (a little wide), sharp (the truth) and wild (far too wide), 120 dates each."""
    return _scored.copy()


@pytest.fixture
def expected_dates() -> list[dt.date]:
    """All dates of `metadata`."""
    return [FIRST + dt.timedelta(days=day) for day in range(N_DATES)]
