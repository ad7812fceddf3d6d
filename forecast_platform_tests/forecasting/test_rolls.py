from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.forecasting.history import RollSchedule
from forecast_platform.forecasting.rolls import CATALOGUE, RollRule, nearest, seen_rolls
from forecast_platform.sources.calendars import sessions

SESSIONS = sessions("XNYS", np.datetime64("2002-01-01"), np.datetime64("2021-12-31"))


def rolls_in(name: str, year: str) -> list[str]:
    dates = CATALOGUE[name].schedule(SESSIONS).dates.astype(str)
    return [day for day in dates if day.startswith(year)]


def test_wti_rolls_on_the_session_after_its_last_trading_day() -> None:
    # NYMEX: trading in CLF8, CLG6 and CLK0 ended on 2017-12-19, 2016-01-20 and 2020-04-21.
    for day in ("2017-12-20", "2016-01-21", "2020-04-22"):
        assert day in rolls_in("wti", day[:4])
    assert len(rolls_in("wti", "2016")) == 12


def test_sugar_rolls_as_its_delivery_month_begins() -> None:
    assert rolls_in("sugar", "2018") == ["2018-03-01", "2018-05-01", "2018-07-02", "2018-10-01"]


def test_grains_roll_on_the_fifteenth_or_the_session_after() -> None:
    assert rolls_in("corn", "2017") == ["2017-03-15", "2017-05-15", "2017-07-17", "2017-09-15", "2017-12-15"]
    assert len(rolls_in("soybeans", "2017")) == 7


def test_months_are_those_of_the_contract_that_begins() -> None:
    schedule = CATALOGUE["coffee"].schedule(SESSIONS)
    entered = dict(zip(schedule.dates.astype("datetime64[M]").astype(str), schedule.months, strict=True))
    assert [entered[f"2010-{month}"] for month in ("03", "05", "07", "09", "12")] == [5, 7, 9, 12, 3]


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_longer_calendar_only_adds_rolls(name: str) -> None:
    whole = CATALOGUE[name].schedule(SESSIONS)
    cut = CATALOGUE[name].schedule(SESSIONS[: len(SESSIONS) // 2])
    assert len(cut.dates) > 20
    assert np.array_equal(cut.dates, whole.dates[: len(cut.dates)])
    assert np.array_equal(cut.months, whole.months[: len(cut.dates)])
    assert (np.diff(whole.dates) > np.timedelta64(14, "D")).all()


def test_a_calendar_too_short_for_any_roll_gives_none() -> None:
    for few in (SESSIONS[:0], SESSIONS[:3]):
        assert len(CATALOGUE["sugar"].schedule(few).dates) == 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("HKX1", 0, 1, 1), "months 'HKX1'"),
        (("", 0, 1, 1), "months ''"),
        (("HH", 0, 1, 1), "months 'HH'"),
        (("H", 4, 1, 1), "month 4: from -3 to 3"),
        (("H", 0, 31, 1), "day 31: from 1 to 28"),
        (("H", 0, 1, 0), "sessions 0: from 1 to 60"),
    ],
)
def test_a_rule_that_is_none_is_refused_by_name(values: tuple[str, int, int, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RollRule(*values)


def test_a_roll_is_seen_on_the_first_close_on_or_after_it() -> None:
    days = np.array(["2018-01-02", "2018-01-03", "2018-01-05", "2018-01-08", "2018-01-09"], "datetime64[D]")
    schedule = RollSchedule(np.array(["2018-01-02", "2018-01-04", "2018-01-09"], "datetime64[D]"), np.array([1, 2, 3]))
    # The first close has none before it whose contract could have been another.
    assert seen_rolls(schedule, days).tolist() == [False, False, True, False, True]


def test_a_roll_belongs_to_the_nearest_scheduled_one() -> None:
    schedule = RollSchedule(np.array(["2018-01-15", "2018-02-15"], "datetime64[D]"), np.array([2, 3]))
    days = np.array(["2018-01-10", "2018-01-30", "2018-02-01", "2018-06-01"], "datetime64[D]")
    assert nearest(schedule, days).tolist() == [0, 0, 1, -1]
    assert nearest(RollSchedule(schedule.dates[:0], schedule.months[:0]), days).tolist() == [-1] * 4


def test_coffee_s_rule_is_that_of_the_file_s_contracts(panel: Path) -> None:
    chain = pd.read_csv(panel / "coffee_chain.csv", parse_dates=["date"])
    days = chain["date"].to_numpy().astype("datetime64[D]")
    changed = days[1:][np.diff(chain["contract"].to_numpy()) != 0]
    due = CATALOGUE["coffee"].schedule(SESSIONS).dates
    due = due[(due > days[0]) & (due <= days[-1])]
    same = np.isin(changed, due).sum()
    assert same >= 0.94 * len(changed), (same, len(changed))
