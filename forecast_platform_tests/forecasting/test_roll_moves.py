from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast_platform.forecasting.history import ONE_DAY, Dates, History, RollSchedule
from forecast_platform.forecasting.roll_moves import PastRolls, RollMoves, foretold, kernel, past_rolls, roll_moves
from forecast_platform.models.innovations import trading_steps
from forecast_platform.testing.histories import changed_from
from forecast_platform_tests.histories import MONTHLY, nearby_history

HISTORY = nearby_history(end="2019-06-01")
ORIGINS = np.arange(np.datetime64("2018-01-01"), np.datetime64("2019-04-01"))


def log_close(history: History) -> np.ndarray:
    return np.log(history.observed_close)


def ahead(history: History, origins: Dates = ORIGINS) -> RollMoves | None:
    assert history.schedule is not None
    steps = trading_steps(history.trading(origins, 14))
    targets = origins[:, None] + steps.column * ONE_DAY
    known = history.known_sessions(origins)
    return roll_moves(history, history.schedule, log_close(history), known, targets, steps.reached[:, -1])


def past(z: list[float], every: int = 60, months: list[int] | None = None) -> PastRolls:
    """Rolls of these z, `every` days apart, the last that many before 2018-01-01."""
    dates = np.datetime64("2018-01-01") - every * ONE_DAY * np.arange(len(z), 0, -1)
    session = np.arange(len(z), dtype=np.intp)
    return PastRolls(session, dates, np.array(months or [3] * len(z), np.int64), np.array(z), np.ones(len(z) + 1))


def test_size_and_z_are_the_averages_written_out() -> None:
    assert HISTORY.schedule is not None
    assert HISTORY.rolls is not None
    y = log_close(HISTORY)
    found = past_rolls(HISTORY, HISTORY.schedule, y)
    moves, decay = np.abs(np.diff(y)), 0.5 ** (1 / 20)
    flagged = np.flatnonzero(HISTORY.rolls[HISTORY.observed_index])
    assert found.session.tolist() == flagged[flagged >= 30].tolist()
    for session, z in zip(found.session[[0, 5, -1]], found.z[[0, 5, -1]], strict=True):
        weights = decay ** np.arange(session - 1)[::-1]
        size = 1.25 * float(weights @ moves[: session - 1]) / float(weights.sum())
        assert found.size[session] == pytest.approx(size, rel=1e-10)
        assert z == pytest.approx(np.clip((y[session] - y[session - 1]) / size, -5, 5), rel=1e-10)


def test_a_flat_stretch_and_a_wild_roll_leave_z_finite_and_bounded() -> None:
    close = HISTORY.close.copy()
    close[:400] = 100.0
    close[400:] *= np.where(np.arange(len(close) - 400) >= 100, 5.0, 1.0)
    changed = replace(HISTORY, close=close)
    assert changed.schedule is not None
    found = past_rolls(changed, changed.schedule, log_close(changed))
    assert np.isfinite(found.z).all()
    assert np.abs(found.z).max() <= 5.0


def test_fewer_than_five_rolls_foretell_no_mean_and_twice_the_variance_less_what_they_show() -> None:
    assert foretold(past([]), np.datetime64("2018-01-01"), 3, 0) == (0.0, 2.0)
    mean, kappa = foretold(past([1.0, -3.0, 5.0]), np.datetime64("2018-01-01"), 3, 3)
    assert (mean, kappa) == (0.0, pytest.approx((1 + 9 + 16 + 16) / 11))
    assert foretold(past([0.0] * 4), np.datetime64("2018-01-01"), 3, 4)[1] == pytest.approx(1 + (16 / 12 - 1))


def test_foretold_is_the_posterior_of_a_gaussian_process_written_out() -> None:
    z, months = [1.0, 2.0, 0.5, -0.5, 1.5, 2.5], [3, 5, 7, 3, 5, 7]
    found = past(z, months=months)
    day = np.datetime64("2018-01-01")
    excess = (sum(min(value**2, 16) for value in z) + 16) / 14 - 1
    rows = range(6)
    years = [float((day - found.dates[i]) / ONE_DAY) / 365.25 for i in rows]

    def k(d: float, same: bool) -> float:
        return 0.23 * np.exp(-d / 8) + same * (0.05 * np.exp(-d / 8) + 0.18 * np.exp(-d / 2)) + 0.68 * np.exp(-d / 0.7)

    gram = np.array([[excess * k(abs(years[i] - years[j]), months[i] == months[j]) for j in rows] for i in rows])
    cross = np.array([excess * k(years[i], months[i] == 5) for i in rows])
    solved = np.linalg.inv(gram + np.eye(6))
    mean, kappa = foretold(found, day, 5, 6)
    assert mean == pytest.approx(0.8 * cross @ solved @ z, rel=1e-10)
    assert kappa == pytest.approx(1 + 1.14 * excess - cross @ solved @ cross, rel=1e-10)
    assert kernel(np.zeros(1), np.array([True]))[0] == pytest.approx(1.14)


def test_rolls_of_more_than_five_years_ago_are_forgotten() -> None:
    old = past([5.0] * 40 + [0.1] * 30, every=60)
    recent = past([0.1] * 30, every=60)
    day = np.datetime64("2018-01-01")
    assert foretold(old, day, 3, 70) == pytest.approx(foretold(recent, day, 3, 30), rel=1e-12)


def test_the_excess_has_a_floor_and_kappa_never_falls_below_an_ordinary_day_s() -> None:
    assert 1.0 <= foretold(past([0.0] * 30), np.datetime64("2018-01-01"), 3, 30)[1] <= 1.0 + 1.14 * 0.05
    for seed in range(20):
        z = np.random.default_rng(seed).standard_t(3, 60).clip(-5, 5).tolist()
        assert foretold(past(z, every=30), np.datetime64("2018-01-01"), 3, 60)[1] >= 1.0


def test_a_planted_mean_and_variance_are_found_within_their_error() -> None:
    means, kappas = [], []
    for seed in range(12):
        history = nearby_history(seed, mean=1.5, spread=1.2, end="2019-06-01")
        assert history.schedule is not None
        known = past_rolls(history, history.schedule, log_close(history))
        mean, kappa = foretold(known, np.datetime64("2019-06-15"), 7, len(known.z))
        means.append(mean)
        kappas.append(kappa)
    # 0.8 of what is planted, less the prior's pull; 1.2^2 of the variance is the planted spread, which none foretells.
    assert np.mean(means) == pytest.approx(0.8 * 1.5, abs=3 * np.std(means) / np.sqrt(12) + 0.15)
    assert np.mean(kappas) == pytest.approx(1 + 1.2**2, abs=3 * np.std(kappas) / np.sqrt(12) + 0.1)


def test_nothing_is_found_where_nothing_is_planted() -> None:
    means, kappas = [], []
    for seed in range(12):
        history = nearby_history(seed, end="2019-06-01")
        assert history.schedule is not None
        known = past_rolls(history, history.schedule, log_close(history))
        mean, kappa = foretold(known, np.datetime64("2019-06-15"), 7, len(known.z))
        means.append(mean)
        kappas.append(kappa)
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(12)
    assert np.abs(means).max() < 0.6
    assert np.mean(kappas) < 1.4


def test_a_roll_falls_on_the_first_session_on_or_after_its_date_and_nowhere_else() -> None:
    found = ahead(HISTORY)
    assert found is not None
    assert HISTORY.schedule is not None
    steps = trading_steps(HISTORY.trading(ORIGINS, 14))
    targets = ORIGINS[:, None] + steps.column * ONE_DAY
    inside = np.arange(targets.shape[1]) < steps.reached[:, -1:]
    assert np.array_equal(found.rolled, np.isin(targets, HISTORY.schedule.dates) & inside)
    assert (found.mean[~found.rolled] == 0.0).all()
    assert (found.kappa[~found.rolled] == 1.0).all()
    assert (found.kappa[found.rolled] >= 1.0).all()


def test_a_roll_that_the_last_close_has_not_seen_falls_on_the_first_step() -> None:
    assert HISTORY.schedule is not None
    day = HISTORY.schedule.dates[HISTORY.schedule.dates > np.datetime64("2018-06-01")][0]
    observed = HISTORY.observed & ((HISTORY.dates < day) | (HISTORY.dates > day + 3 * ONE_DAY))
    stale = replace(HISTORY, observed=observed)
    found = ahead(stale, np.array([day + ONE_DAY]))
    assert found is not None
    assert found.rolled[0, 0]
    fresh = ahead(HISTORY, np.array([day + ONE_DAY]))
    assert fresh is None or not fresh.rolled[0, 0]


def test_a_roll_that_came_before_its_date_is_not_expected_again() -> None:
    assert HISTORY.schedule is not None
    assert HISTORY.rolls is not None
    at = int(np.flatnonzero(HISTORY.schedule.dates > np.datetime64("2018-06-01"))[0])
    day = HISTORY.schedule.dates[at]
    early = HISTORY.rolls.copy()
    sessions = HISTORY.observed_dates[HISTORY.observed_dates < day]
    early[np.searchsorted(HISTORY.dates, day)] = False
    early[np.searchsorted(HISTORY.dates, sessions[-4])] = True
    found = ahead(replace(HISTORY, rolls=early), np.array([sessions[-4], sessions[-3]]))
    assert found is not None
    assert found.rolled.any(axis=1).tolist() == [True, False]


def test_the_second_contract_foretells_the_next_roll_s_mean() -> None:
    history = nearby_history(mean=1.0, spread=2.0, end="2019-06-01")
    found, without = ahead(history), ahead(replace(history, close_2=None))
    assert found is not None
    assert without is not None
    assert history.close_2 is not None
    row = int(np.flatnonzero(found.rolled.any(axis=1))[0])
    step = int(np.argmax(found.rolled[row]))
    last = history.observed_index[history.known_sessions(ORIGINS)[row] - 1]
    gap = np.log(history.close_2[last] / history.close[last])
    assert found.mean[row, step] == pytest.approx(0.63 * np.clip(gap, -0.08, 0.08), rel=1e-12)
    assert np.array_equal(found.kappa, without.kappa)
    unknown = history.close_2.copy()
    unknown[last] = np.nan
    again = ahead(replace(history, close_2=unknown))
    assert again is not None
    assert again.mean[row, step] == without.mean[row, step]


def test_nothing_on_or_after_an_origin_is_read() -> None:
    for origin in ORIGINS[::37]:
        whole, changed = (ahead(one, np.array([origin])) for one in (HISTORY, changed_from(HISTORY, origin)))
        assert (whole is None) == (changed is None)
        if whole is not None and changed is not None:
            assert all(np.array_equal(a, b) for a, b in zip(whole, changed, strict=True))


def test_no_roll_within_the_horizon_gives_none() -> None:
    assert HISTORY.schedule is not None
    day = HISTORY.schedule.dates[HISTORY.schedule.dates > np.datetime64("2018-06-01")][0]
    assert ahead(HISTORY, np.array([day + ONE_DAY])) is None
    never = RollSchedule(HISTORY.schedule.dates[:0], HISTORY.schedule.months[:0])
    assert ahead(replace(HISTORY, schedule=never)) is None
    assert len(MONTHLY.schedule(HISTORY.sessions).dates) > 40
