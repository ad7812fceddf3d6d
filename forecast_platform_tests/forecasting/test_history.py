from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.history import ONE_DAY, History
from forecast_platform.testing.histories import random_history

HISTORY = random_history(end="2015-03-01", covariates=True)
FRIDAY = np.datetime64("2015-02-06")


def origins(*days: str) -> np.ndarray:
    return np.array(days, "datetime64[D]")


def test_known_sessions_lie_strictly_before_the_origin() -> None:
    dates = np.arange(np.datetime64("2015-01-02"), HISTORY.dates[-1])
    known = HISTORY.known_sessions(dates)
    assert (HISTORY.observed_dates[known - 1] < dates).all()
    assert (HISTORY.observed_dates[known] >= dates).all()


def test_known_sessions_over_a_weekend_are_friday_s() -> None:
    known = HISTORY.known_sessions(FRIDAY + np.arange(1, 4) * ONE_DAY)
    assert (HISTORY.observed_dates[known - 1] == FRIDAY).all()


def test_an_origin_before_all_data_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Random: no close was observed before forecast date 2015-01-01"):
        HISTORY.known_sessions(origins("2015-02-02", "2015-01-01"))


def test_before_and_since_part_the_history_without_loss() -> None:
    first, second = HISTORY.before(FRIDAY), HISTORY.since(FRIDAY)
    assert first.dates[-1] == FRIDAY - ONE_DAY
    assert second.dates[0] == FRIDAY
    assert np.array_equal(np.concatenate([first.close, second.close]), HISTORY.close)
    for name, column in HISTORY.covariates.items():
        assert np.array_equal(np.concatenate([first.covariates[name], second.covariates[name]]), column)


def test_trading_reads_the_schedule_beyond_the_last_day() -> None:
    trading = HISTORY.trading(origins("2015-02-28"), 9)[0]
    assert trading.tolist() == [False, False, True, True, True, True, True, False, False]


def test_trading_past_the_schedule_is_refused() -> None:
    short = replace(HISTORY, sessions=HISTORY.sessions[HISTORY.sessions <= HISTORY.dates[-1]])
    with pytest.raises(ValueError, match="exchange calendar ends"):
        short.trading(origins("2015-03-10"), 14)


def test_observed_columns_are_of_the_same_sessions() -> None:
    assert len(HISTORY.observed_close) == len(HISTORY.observed_dates) == len(HISTORY.observed_covariate("vix"))
    row = np.flatnonzero(HISTORY.observed_dates == FRIDAY)[0]
    assert HISTORY.observed_close[row] == HISTORY.close[HISTORY.dates == FRIDAY][0]


def test_faulty_histories_are_refused_by_name() -> None:
    close = HISTORY.close.copy()
    close[5] = np.nan
    gap = np.delete(np.arange(len(HISTORY)), 10)
    with pytest.raises(ValueError, match="Random: close is not finite on 2015-01-06"):
        replace(HISTORY, close=close)
    with pytest.raises(ValueError, match="consecutive"):
        replace(HISTORY, dates=HISTORY.dates[gap], close=close[gap], observed=HISTORY.observed[gap], covariates={})
    with pytest.raises(ValueError, match=r"observed has shape \(3,\)"):
        replace(HISTORY, observed=HISTORY.observed[:3])
    with pytest.raises(ValueError, match="no days"):
        History("Random", HISTORY.dates[:0], close[:0], HISTORY.observed[:0], HISTORY.sessions)
