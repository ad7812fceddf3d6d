from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.history import History
from forecast_platform.forecasting.transform import AsinhTransform
from forecast_platform.forecasting.volatility import (
    LIMIT,
    RANGE_LIMIT,
    ConditionalVariance,
    range_news,
    range_ratio,
    squared_ranges,
)
from forecast_platform_tests.histories import nearby_history

HISTORY = nearby_history()
SCALE = AsinhTransform(50.0)


def day(position: int = 300) -> int:
    """The grid position of an observed session without a roll."""
    assert HISTORY.rolls is not None
    return int(HISTORY.observed_index[~HISTORY.rolls[HISTORY.observed_index]][position])


def with_bar(high: float, low: float, close: float | None = None) -> tuple[History, int]:
    """HISTORY with another bar on one session, and that session's position among the observed."""
    at = day()
    columns = {name: values.copy() for name, values in HISTORY.own_values.items()}
    columns["high"][at], columns["low"][at] = high, low
    closes = HISTORY.close.copy()
    if close is not None:
        closes[at] = close
    changed = replace(HISTORY, close=closes, high=columns["high"], low=columns["low"])
    return changed, int(np.searchsorted(HISTORY.observed_index, at))


def test_true_range_reaches_to_the_close_before() -> None:
    at = day()
    close, before = HISTORY.close[at], HISTORY.close[at - 1]
    changed, session = with_bar(close * 1.01, close * 0.99)
    top, bottom = max(close * 1.01, before), min(close * 0.99, before)
    expected = (np.arcsinh(top / 50.0) - np.arcsinh(bottom / 50.0)) ** 2
    assert squared_ranges(changed, SCALE)[session] == pytest.approx(expected, rel=1e-12)
    above, session = with_bar(before * 0.99, before * 0.97, before * 0.98)
    assert squared_ranges(above, SCALE)[session] == pytest.approx(
        (np.arcsinh(before / 50.0) - np.arcsinh(before * 0.97 / 50.0)) ** 2, rel=1e-12
    )


def test_a_close_outside_its_bar_widens_the_range() -> None:
    close = HISTORY.close[day()]
    changed, session = with_bar(close * 0.99, close * 0.98)
    assert np.sqrt(squared_ranges(changed, SCALE)[session]) >= np.arcsinh(close / 50) - np.arcsinh(close * 0.98 / 50)


@pytest.mark.parametrize(
    ("high", "low"),
    [(np.nan, 0.99), (1.01, np.nan), (np.inf, 0.99), (0.98, 1.02), (1.01, 1.01), (1.26, 0.99), (1.01, 0.74)],
    ids=["no high", "no low", "infinite", "crossed", "no width", "high far off", "low far off"],
)
def test_a_bar_that_cannot_be_trusted_is_no_range(high: float, low: float) -> None:
    close = HISTORY.close[day()]
    changed, session = with_bar(high * close, low * close)
    assert np.isnan(squared_ranges(changed, SCALE)[session])
    assert np.isfinite(squared_ranges(changed, SCALE)[session + 2])


def test_a_bar_without_width_counts_where_the_close_stood_still() -> None:
    before = HISTORY.close[day() - 1]
    changed, session = with_bar(before, before, before)
    assert squared_ranges(changed, SCALE)[session] == 0.0


def test_roll_days_and_the_first_session_have_no_range() -> None:
    ranges = squared_ranges(HISTORY, SCALE)
    assert HISTORY.rolls is not None
    assert np.isnan(ranges[HISTORY.rolls[HISTORY.observed_index]]).all()
    assert np.isnan(ranges[0])
    assert np.isfinite(ranges).mean() > 0.9


def test_ratio_is_that_of_bounded_means_over_days_with_both() -> None:
    rng = np.random.default_rng(1)
    innovations, ranges = rng.standard_t(3, 400), 3.0 * rng.standard_t(3, 400) ** 2
    innovations[:50], ranges[100:150] = np.nan, np.nan
    both = np.r_[50:100, 150:400]
    expected = np.minimum(innovations[both] ** 2, LIMIT * 2.0).mean() / np.minimum(ranges[both], RANGE_LIMIT * 2).mean()
    assert range_ratio(innovations, ranges, 2.0) == pytest.approx(expected, rel=1e-14)
    assert range_ratio(innovations[:299], ranges[:299], 2.0) is None
    assert range_ratio(innovations, np.zeros(400), 2.0) is None


def test_news_is_the_range_where_there_is_one_and_the_square_elsewhere() -> None:
    innovations, ranges = np.array([1.0, 2.0, np.nan, 3.0]), np.array([5.0, np.nan, 7.0, 0.0])
    assert range_news(innovations, ranges, 0.5).tolist()[:2] == [2.5, 4.0]
    assert np.isnan(range_news(innovations, ranges, 0.5)[2])
    assert range_news(innovations, ranges, 0.5)[3] == 0.0
    assert np.array_equal(range_news(innovations, ranges, None), innovations**2, equal_nan=True)


def test_ranges_follow_a_hidden_variance_better_than_closes_do() -> None:
    rng = np.random.default_rng(5)
    log_variance = np.zeros(4000)
    for k in range(1, 4000):
        log_variance[k] = 0.98 * log_variance[k - 1] + 0.15 * rng.standard_normal()
    deviation = 0.01 * np.exp(0.5 * log_variance)
    walks = np.cumsum(rng.standard_normal((4000, 60)) * deviation[:, None] / np.sqrt(60), axis=1)
    moves = walks[:, -1]
    ranges = (np.maximum(walks.max(axis=1), 0.0) - np.minimum(walks.min(axis=1), 0.0)) ** 2
    variance = ConditionalVariance.fit(moves)
    ratio = range_ratio(moves, ranges, variance.level)
    filtered = (variance.filter(moves, range_news(moves, ranges, used))[:-1] for used in (None, ratio))
    errors = [float(np.mean((np.log(found) - 2 * np.log(deviation)) ** 2)) for found in filtered]
    assert errors[1] < 0.9 * errors[0]
