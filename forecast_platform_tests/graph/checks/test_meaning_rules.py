"""The reader's rules applied to what was stored: a unit, a calendar or weather that slipped in is found again."""

from __future__ import annotations

import datetime as dt

import numpy as np

from forecast_platform.graph.checks import meaning_rules
from forecast_platform.sources.calendars import sessions

DAYS = sessions("XNYS", dt.date(2019, 1, 2), dt.date(2020, 12, 31))
CLOSES = 100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, len(DAYS))))


def test_closes_on_the_exchange_s_days_pass_and_shifted_or_weekly_ones_fail() -> None:
    grid = sessions("XNYS", dt.date(2018, 1, 2), dt.date(2021, 12, 31))
    good = meaning_rules.calendar_fits("Coffee", DAYS, grid, "XNYS")
    assert good.passed
    assert good.figures == {"share_of_sessions": 1.0, "closes_on_shut_days": 0}
    for days, words in ((DAYS - 1, "dates are one day early"), (DAYS[::5], "these are weekly data")):
        found = meaning_rules.calendar_fits("Coffee", days, grid, "XNYS")
        assert found.severity == "error"
        assert words in found.text


def test_values_that_are_no_prices_are_found_in_the_new_days_only() -> None:
    first = DAYS[0]
    assert meaning_rules.closes_plausible("Coffee", DAYS, CLOSES, (), first).passed
    tens = CLOSES.copy()
    tens[100:110] /= 100
    found = meaning_rules.closes_plausible("Coffee", DAYS, tens, (), first)
    assert f"{DAYS[100]} to {DAYS[109]} are 0.01 of the closes around them" in found.text
    assert found.severity == "error"
    assert meaning_rules.closes_plausible("Coffee", DAYS, tens, (DAYS[105].item(),), first).passed
    assert meaning_rules.closes_plausible("Coffee", DAYS, tens, (), DAYS[200]).passed
    still = CLOSES.copy()
    still[-5:] = still[-5]
    found = meaning_rules.closes_plausible("Coffee", DAYS, still, (), DAYS[-3])
    assert found.severity == "warning"
    assert f"stands still from {DAYS[-5]} to {DAYS[-1]}" in found.text
    zero = CLOSES.copy()
    zero[50] = 0
    assert f"{DAYS[50]} is an exact 0" in meaning_rules.closes_plausible("Coffee", DAYS, zero, (), first).text


def test_years_of_shifted_days_changes_of_unit_and_signs_of_missing_are_found_as_the_reader_finds_them() -> None:
    grid = sessions("XNYS", dt.date(2018, 1, 2), dt.date(2021, 12, 31))
    shifted = np.where(np.datetime64("2020-01-01") > DAYS, DAYS - 1, DAYS)
    found = meaning_rules.calendar_fits("Coffee", shifted, grid, "XNYS")
    assert found.severity == "warning"
    assert "in 2019 19 % of closes fall on Sundays" in found.text
    kilos = CLOSES.copy()
    kilos[200:] *= 2.2046
    found = meaning_rules.closes_plausible("Coffee", DAYS, kilos, (), DAYS[0])
    assert (found.severity, "pounds and kilograms?" in found.text) == ("warning", True)
    assert meaning_rules.closes_plausible("Coffee", DAYS, kilos, (DAYS[200].item(),), DAYS[0]).passed
    assert meaning_rules.closes_plausible("Coffee", DAYS, kilos, (), DAYS[0], DAYS[-1]).passed, "of years ago"
    signs = CLOSES.copy()
    signs[50] = -999
    found = meaning_rules.closes_plausible("Coffee", DAYS, signs, (), DAYS[0])
    assert (found.severity, f"{DAYS[50]} is -999, which stands for missing" in found.text) == ("error", True)


def test_weather_beyond_the_possible_is_found() -> None:
    warm, cold = np.full(len(DAYS), 27.0), np.full(len(DAYS), 17.0)
    columns = {"temp_max_c": warm, "temp_min_c": cold, "vix": warm * 1e6}
    assert meaning_rules.weather_possible("Coffee", DAYS, columns).passed
    sentinel = cold.copy()
    sentinel[3] = -999
    found = meaning_rules.weather_possible("Coffee", DAYS, {**columns, "temp_min_c": sentinel})
    assert f"temp_min_c is -999 on {DAYS[3]} and beyond the possible on 1 days" in found.text
    turned = meaning_rules.weather_possible("Coffee", DAYS, {"temp_max_c": cold, "temp_min_c": warm})
    assert "temp_min_c is above temp_max_c" in turned.text
    assert "Fahrenheit?" in meaning_rules.weather_possible("Coffee", DAYS, {"temp_max_c": warm * 2}).text
