"""The rules on arrays alone: what they find, and what they leave in peace."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.sources import climate, meaning
from forecast_platform.sources.steps import spacing_of


def _walk(n: int = 300, level: float = 100.0) -> np.ndarray:
    return level * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.02, n)))


@pytest.mark.parametrize("factor", [0.01, 2.2046, 100.0, 36.74])
def test_a_revision_by_one_factor_is_found_whatever_the_factor(factor: float) -> None:
    old = _walk()
    assert meaning.one_factor(old, old * factor) == pytest.approx(factor)
    rounded = np.round(old * factor, 4)
    rounded[:10] = old[:10]
    assert meaning.one_factor(old, rounded) == pytest.approx(factor, rel=1e-3)


def test_adjustments_corrections_and_a_mixed_revision_are_no_change_of_unit() -> None:
    old = _walk()
    for new in (old, old * 1.02, old + 5.0, np.where(np.arange(300) < 150, old, old / 100), -old):
        assert meaning.one_factor(old, new) is None
    assert meaning.one_factor(old[:4], old[:4] / 100) is None, "too few to tell"


def test_tenfold_stretches_have_both_their_edges_and_factor() -> None:
    closes = _walk()
    assert meaning.tenfold(closes) == []
    closes[50:60] *= 100
    closes[200:] /= 10
    assert meaning.tenfold(closes) == [meaning.Stretch(50, 59, 100.0), meaning.Stretch(200, 299, 0.1)]
    days = np.datetime64("2018-01-01") + np.arange(300)
    assert [one.first for one in meaning.unconfirmed(meaning.tenfold(closes), days, [days[55].item()])] == [200]
    closes[:] = _walk()
    closes[70] *= 10
    assert meaning.unconfirmed(meaning.tenfold(closes), days, []) == [], "a single close is a glitch"


def test_moves_of_prices_near_and_below_zero_are_no_slips_of_the_point() -> None:
    for closes in ([18.27, -37.63, 8.91, 9.06], [0.5, 0.05, 0.7, 0.4, 0.6], [-1.0, -10.0, -1.0]):
        assert meaning.unconfirmed(meaning.tenfold(np.array(closes)), np.arange(4), []) == []


@pytest.mark.parametrize(
    ("closes", "cut"),
    [
        ([121.4, 122.7, 120.8, 122.3, 12], True),
        ([121.4, 122.7, 120.8, 122.3, 1223], True),
        ([121.4, 122.7, 120.8, 122.3, 25], False),
        ([124.7, 1123.4, 121.9], False),
        ([18.27, -37.63, 8.91], False),
        ([100, 0], True),
        ([100], False),
    ],
)
def test_a_last_close_that_broke_off(closes: list[float], cut: bool) -> None:
    assert meaning.cut_short(np.array(closes, float)) is cut


def test_weekdays_and_steps() -> None:
    tuesdays = np.datetime64("2018-01-02") + 7 * np.arange(6)
    assert meaning.one_weekday(tuesdays) == "Tuesday"
    assert meaning.one_weekday(np.append(tuesdays, np.datetime64("2018-02-14"))) is None
    assert meaning.one_weekday(tuesdays[:3]) is None
    assert spacing_of(tuesdays) == "weekly"
    assert spacing_of(np.array(["2018-01-31", "2018-02-28", "2018-03-30"], "datetime64[D]")) == "monthly"
    assert spacing_of(np.array(["2018-01-05", "2018-01-08", "2018-01-09"], "datetime64[D]")) == "daily"


def test_physical_limits_leave_extremes_in_peace() -> None:
    assert not climate.beyond("temp_max_c", np.array([-89.2, 56.7, np.nan])).any()
    assert not climate.beyond("precipitation_mm", np.array([0.0, 1825.0, 99.99])).any()
    assert climate.sentinels("precipitation_mm", np.array([99.99, -99.0, 9999.9])).tolist() == [False, True, True]
    assert not climate.too_warm("temp_max_c", np.full(400, 43.0))
