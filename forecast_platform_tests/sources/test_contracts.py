"""Contracts of a nearby series: delivery months, the second contract, and which days are rolls."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from forecast_platform.settings import PublicationLag, SeriesSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.calendars import sessions
from forecast_platform.sources.contracts import delivery_months, roll_days
from forecast_platform.sources.unify import unify
from forecast_platform_tests.sources.conftest import Write

DAYS = sessions("XNYS", dt.date(2018, 1, 2), dt.date(2018, 12, 31))
CORN = SeriesSettings(name="Corn", roll_rule="corn")
DUE = ["2018-03-15", "2018-05-15", "2018-07-16", "2018-09-17", "2018-12-17"]


def text(days: np.ndarray) -> list[str]:
    return days.astype(str).tolist()


@pytest.mark.parametrize(
    ("cell", "month"),
    [
        ("201803", 201803),
        ("2018-03", 201803),
        ("H18", 201803),
        ("KCH2018", 201803),
        ("clz99", 199912),
        (201805.0, 201805),
    ],
)
def test_a_delivery_month_is_read_as_exchanges_and_vendors_write_it(cell: object, month: float) -> None:
    problems: list[tuple[int | None, str]] = []
    found = delivery_months("contract", np.array([cell, ""], object), np.array([2, 3]), problems)
    assert found[0] == month
    assert np.isnan(found[1])
    assert not problems


@pytest.mark.parametrize("cell", ["201813", "2018", "H", "A18", "H8", "March 2018"])
def test_what_is_no_delivery_month_is_refused_by_row(cell: str) -> None:
    problems: list[tuple[int | None, str]] = []
    delivery_months("contract", np.array([cell], object), np.array([7]), problems)
    assert problems == [(7, f"contract {cell!r} is no delivery month: write it as 201803, 2018-03, H18 or KCH2018")]


def test_the_rule_s_days_are_rolls_and_without_a_rule_there_are_none() -> None:
    assert text(roll_days(CORN, DAYS, None)) == DUE
    assert text(roll_days(SeriesSettings(name="Corn"), DAYS, None)) == []


def test_a_roll_on_a_day_without_a_close_is_seen_at_the_next_one() -> None:
    holed = DAYS[~np.isin(DAYS, np.array(["2018-05-15", "2018-05-16"], "datetime64[D]"))]
    assert text(roll_days(CORN, holed, None)) == [DUE[0], "2018-05-17", *DUE[2:]]


def test_a_series_that_ends_before_its_month_does_knows_its_last_roll() -> None:
    coffee = SeriesSettings(name="Coffee", roll_rule="coffee")
    whole = roll_days(coffee, DAYS, None)
    for cut in whole:
        ended = DAYS[: np.searchsorted(DAYS, cut) + 1]
        assert np.array_equal(roll_days(coffee, ended, None), whole[whole <= cut])


def test_the_file_s_contracts_go_before_the_rule_where_it_tells_them() -> None:
    contracts = np.full(len(DAYS), np.nan)
    contracts[: np.searchsorted(DAYS, np.datetime64("2018-06-01"))] = 201807.0
    contracts[: np.searchsorted(DAYS, np.datetime64("2018-03-20"))] = 201805.0
    # Told until 1 June: one roll, on another day than the rule's; after it the rule.
    assert text(roll_days(CORN, DAYS, contracts)) == ["2018-03-20", *DUE[2:]]


def test_listed_days_go_before_the_rule_up_to_the_last_of_them() -> None:
    listed = CORN.model_copy(update={"roll_dates": (dt.date(2018, 3, 1), dt.date(2018, 6, 20))})
    assert text(roll_days(listed, DAYS, None)) == ["2018-03-01", "2018-06-20", *DUE[2:]]


def test_roll_days_and_the_second_contract_reach_the_table_and_every_filled_cell_is_named() -> None:
    closes = np.linspace(100, 120, len(DAYS))
    second = np.where(np.arange(len(DAYS)) % 2, closes + 1, np.nan)
    frame = pd.DataFrame({"date": DAYS.astype("datetime64[ns]"), "close": closes, "close_2": second})
    span = {"start": dt.date(2018, 1, 1), "end": dt.date(2018, 12, 31)}
    unified = unify(RawData({"Corn": frame}), CORN, **span, lags=PublicationLag())
    rows = unified.frame.set_index("date")
    assert rows.index[rows["is_roll_day"]].strftime("%Y-%m-%d").tolist() == DUE
    carried = rows["filled_columns"].str.contains("close_2")
    known = rows["close_2"].notna()
    own = pd.Series(second, index=pd.DatetimeIndex(DAYS)).dropna()
    assert set(rows.index[known & ~carried]) == set(own.index)
    assert rows.loc[own.index, "close_2"].tolist() == own.tolist()
    assert "contract" not in rows.columns


def test_a_lag_moves_roll_days_with_the_closes() -> None:
    frame = pd.DataFrame({"date": DAYS.astype("datetime64[ns]"), "close": np.linspace(100, 120, len(DAYS))})
    lags = PublicationLag(market=1)
    unified = unify(RawData({"Corn": frame}), CORN, start=dt.date(2018, 1, 1), end=dt.date(2018, 12, 31), lags=lags)
    rows = unified.frame.set_index("date")
    assert rows.index[rows["is_roll_day"]][0] == pd.Timestamp("2018-03-16")


CHAIN = "date,contract,close,contract_2,close_2\n"


def test_a_chain_file_adds_the_second_contract_where_its_first_is_the_series_own(read: Write) -> None:
    raw = read("coffee_chain.csv", CHAIN + "2020-01-02,202003,100,,103\n2020-01-03,202003,101.2,odd,104\n")
    frame = raw.market["Coffee"]
    assert frame["close_2"].tolist()[:2] == [103.0, 104.0]
    assert frame["contract"].tolist()[:2] == [202003.0, 202003.0]
    assert np.isnan(frame["close_2"].iloc[2])
    assert "contract_2" not in frame.columns


def test_a_chain_of_another_contract_is_counted_and_not_used(read: Write) -> None:
    raw = read("coffee_chain.csv", CHAIN + "2020-01-02,202003,103,,105\n")
    assert np.isnan(raw.market["Coffee"]["close_2"]).all()
    assert any(
        "coffee_chain.csv: on 1 days its first contract's close is not that of Coffee" in w for w in raw.warnings
    )


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        (CHAIN + "2020-01-02,Mar 20,1,,9\n", 2, "contract 'Mar 20' is no delivery month"),
        ("date,close\n2020-01-02,1\n", 1, "the column 'close_2' is missing"),
        (CHAIN + "2020-01-02,202003,1,,x\n", 2, "close_2 is not a number: 'x'"),
    ],
)
def test_a_bad_chain_file_keeps_its_series_out_and_no_other(content: str, row: int, reason: str, read: Write) -> None:
    raw = read("coffee_chain.csv", content)
    assert list(raw.market) == ["Sugar"]
    assert [(r.file, r.row, r.series) for r in raw.rejections if reason in r.reason] == [
        ("coffee_chain.csv", row, ("Coffee",))
    ]


def test_two_places_for_the_second_contract_are_refused(read: Write) -> None:
    read("coffee_chain.csv", CHAIN + "2020-01-02,202003,1,,9\n")
    raw = read("market/coffee.csv", "date,close,close_2\n2020-01-02,1,2\n")
    assert "market/coffee has the column close_2 itself" in raw.rejections_of("Coffee")[0].reason


def test_a_rule_that_is_none_is_a_setting_s_error() -> None:
    with pytest.raises(ValueError, match=r"no roll rule 'cofee', perhaps coffee"):
        SeriesSettings(name="Coffee", roll_rule="cofee")
    with pytest.raises(ValueError, match=r"day 40: from 1 to 28"):
        SeriesSettings(name="Coffee", roll_rule={"months": "HK", "month": 1, "day": 40})
    own = SeriesSettings(name="Coffee", roll_rule={"months": "HKNUZ", "month": 1, "sessions": 9})
    assert own.rule == SeriesSettings(name="Coffee", roll_rule="coffee").rule
