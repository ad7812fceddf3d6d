"""unified_data's rows: one a calendar day, filled forward only, every filled cell named."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast_platform.settings import PublicationLag, SeriesSettings
from forecast_platform.sources import calendars
from forecast_platform.sources.base import RawData, SourceError
from forecast_platform.sources.landing import LandingSource
from forecast_platform.sources.unify import UnifiedFrame, last_complete_day, last_observed_close, unify

COFFEE = SeriesSettings(name="Coffee", covariates=("vix", "usd_brl"))
SUGAR = SeriesSettings(name="Sugar", regions=("Brazil",))
NO_LAG = PublicationLag()


def table(rows: dict[str, list[object]]) -> pd.DataFrame:
    return pd.DataFrame(rows).astype({"date": "datetime64[ns]"})


def market(**closes: float | None) -> pd.DataFrame:
    """Closes by day of January 2020: d2=100."""
    days = [f"2020-01-{int(name[1:]):02d}" for name in closes]
    return table({"date": days, "close": [np.nan if value is None else value for value in closes.values()]})


def rows(raw: RawData, series: SeriesSettings, end: int, start: int = 1, **lags: int) -> UnifiedFrame:
    first, last = dt.date(2020, 1, start), dt.date(2020, 1, end)
    return unify(raw, series, start=first, end=last, lags=PublicationLag(**lags))


def by_date(unified: UnifiedFrame, column: str) -> dict[int, object]:
    frame = unified.frame
    return dict(zip(frame["date"].dt.day.tolist(), frame[column].tolist(), strict=True))


@pytest.fixture(scope="module")
def real(landing: Path) -> dict[str, UnifiedFrame]:
    raw = LandingSource(landing, lambda: dt.date(2023, 1, 3)).read([COFFEE, SUGAR])
    start, end = dt.date(2010, 1, 1), dt.date(2023, 1, 2)
    return {s.name: unify(raw, s, start=start, end=end, lags=NO_LAG) for s in (COFFEE, SUGAR)}


@pytest.mark.parametrize(
    ("name", "day", "close"),
    [
        ("Coffee", "2011-05-03", 304.90),
        ("Coffee", "2021-07-06", 147.90),
        ("Coffee", "2021-07-26", 207.80),
        ("Sugar", "2011-02-02", 35.31),
    ],
)
def test_known_closes(name: str, day: str, close: float, real: dict[str, UnifiedFrame]) -> None:
    row = real[name].frame.set_index("date").loc[day]
    assert row["close"] == close
    assert row["is_observed"]
    assert "close" not in row["filled_columns"].split(",")


def test_one_row_a_calendar_day(real: dict[str, UnifiedFrame]) -> None:
    for unified in real.values():
        expected = pd.date_range("2010-01-01", "2023-01-02", name="date")
        assert pd.DatetimeIndex(unified.frame["date"]).equals(expected)
        assert unified.last_observed == dt.date(2022, 12, 30)


def test_every_cell_repeats_its_last_measured_value(landing: Path, real: dict[str, UnifiedFrame]) -> None:
    """Against the slow obvious way: reindex to days, fill forward."""
    source = pd.read_csv(landing / "market/coffee.csv", parse_dates=["date"], index_col="date")
    macro = pd.read_csv(landing / "macro.csv", parse_dates=["date"], index_col="date")
    frame = real["Coffee"].frame.set_index("date")
    for file in (source, macro):
        days = pd.date_range(file.index[0], "2023-01-02")
        plain = file.reindex(days)
        expected = plain.ffill().reindex(frame.index)
        pd.testing.assert_frame_equal(frame[list(file.columns)], expected, check_freq=False, check_names=False)
        for name in file.columns:
            flagged = frame["filled_columns"].str.split(",").map(lambda names, name=name: name in names)
            assert np.array_equal(flagged, (plain[name].isna().reindex(frame.index) & expected[name].notna()))


def test_weather_is_the_mean_over_regions_taken_before_anything_else(
    landing: Path, real: dict[str, UnifiedFrame]
) -> None:
    weather = pd.read_csv(landing / "weather.csv", parse_dates=["date"])
    columns = [name for name in weather.columns if name not in ("date", "region")]
    for name, regions in (("Coffee", None), ("Sugar", ["Brazil"])):
        chosen = weather if regions is None else weather[weather["region"].isin(regions)]
        direct = chosen.groupby("date")[columns].mean()
        got = real[name].frame.set_index("date").loc[direct.index, columns]
        pd.testing.assert_frame_equal(got, direct, check_exact=False, rtol=1e-12)


def test_filled_closes_are_the_sessions_without_a_close(real: dict[str, UnifiedFrame]) -> None:
    assert real["Coffee"].filled_closes == 1
    assert real["Sugar"].filled_closes == 3
    sugar = real["Sugar"].frame
    gaps = sugar.loc[sugar["is_trading_day"] & ~sugar["is_observed"], "date"].dt.strftime("%Y-%m-%d")
    assert gaps.tolist() == ["2011-01-03", "2016-10-10", "2016-11-11"]


def test_reading_and_unifying_two_series_is_quick(landing: Path) -> None:
    calendars.sessions("XNYS", dt.date(2010, 1, 1), dt.date(2022, 12, 31))
    begin = time.process_time()
    raw = LandingSource(landing, lambda: dt.date(2023, 1, 3)).read([COFFEE, SUGAR])
    for series in (COFFEE, SUGAR):
        unify(raw, series, start=dt.date(2010, 1, 1), end=dt.date(2022, 12, 31), lags=NO_LAG)
    assert time.process_time() - begin < 1.5


def test_nothing_is_filled_backwards_and_no_row_precedes_the_first_close() -> None:
    macro = table({"date": ["2020-01-06"], "vix": [15.0]})
    raw = RawData({"Sugar": market(d2=None, d3=11, d6=12)}, macro)
    unified = rows(raw, SUGAR, end=7)
    assert list(by_date(unified, "close")) == [3, 4, 5, 6, 7]
    assert np.isnan([by_date(unified, "vix")[day] for day in (3, 4, 5)]).all()
    assert by_date(unified, "filled_columns") == {3: "", 4: "close", 5: "close", 6: "", 7: "close,vix"}
    assert unified.first_observed == dt.date(2020, 1, 3)


def test_a_value_before_the_start_is_carried_in() -> None:
    unified = rows(RawData({"Sugar": market(d2=10, d6=12)}), SUGAR, start=4, end=6)
    assert by_date(unified, "close") == {4: 10.0, 5: 10.0, 6: 12.0}
    assert by_date(unified, "is_observed") == {4: False, 5: False, 6: True}
    assert by_date(unified, "is_trading_day") == {4: False, 5: False, 6: True}
    assert unified.filled_closes == 0


def test_missing_close_of_a_session_is_filled_and_counted() -> None:
    unified = rows(RawData({"Sugar": market(d2=10, d3=None, d6=12)}), SUGAR, end=7)
    assert by_date(unified, "close") == {2: 10.0, 3: 10.0, 4: 10.0, 5: 10.0, 6: 12.0, 7: 12.0}
    assert unified.filled_closes == 2
    assert any("2 of 4 XNYS sessions have no close" in note for note in unified.notes)


def test_columns_that_no_source_has_are_null_prices_and_no_weather() -> None:
    frame = rows(RawData({"Sugar": market(d2=10)}), SUGAR, end=3).frame
    assert frame[["open", "high", "low", "volume"]].isna().all().all()
    assert list(frame.columns) == [
        *("date", "commodity", "is_trading_day", "is_observed", "is_roll_day"),
        *("open", "high", "low", "close", "volume", "filled_columns"),
    ]


def test_macro_columns_beyond_vix_and_fx_are_joined_only_where_the_series_names_them() -> None:
    macro = table({"date": ["2020-01-02"], "usd_brl": [4.0], "sp500": [3000.0]})
    raw = RawData({"Sugar": market(d2=10), "Gold": market(d2=1500)}, macro)
    assert "sp500" not in rows(raw, SUGAR, end=3).frame
    gold = rows(raw, SeriesSettings(name="Gold", covariates=("sp500",)), end=3).frame
    assert gold["sp500"].tolist() == [3000.0, 3000.0]
    assert "usd_brl" in gold


def test_days_on_which_only_some_regions_report_use_those_and_are_noted_once() -> None:
    weather = table(
        {
            "date": ["2020-01-02", "2020-01-02", "2020-01-03", "2020-01-06"],
            "region": ["Brazil", "Vietnam", "Brazil", "Vietnam"],
            "temp_max_c": [30.0, 20.0, 32.0, 21.0],
        }
    )
    raw = RawData({"Coffee": market(d2=100)}, weather=weather)
    unified = rows(raw, SeriesSettings(name="Coffee"), end=6)
    assert by_date(unified, "temp_max_c") == {2: 25.0, 3: 32.0, 4: 32.0, 5: 32.0, 6: 21.0}
    assert sum("only some of the 2 weather regions report" in note for note in unified.notes) == 1


def test_unknown_region_is_an_error_that_lists_the_known_ones() -> None:
    weather = table({"date": ["2020-01-02"], "region": ["Brazil"], "temp_max_c": [30.0]})
    raw = RawData({"Coffee": market(d2=100)}, weather=weather)
    with pytest.raises(SourceError, match="region 'Brasil' is not in the weather data; known regions: Brazil"):
        rows(raw, SeriesSettings(name="Coffee", regions=("Brasil",)), end=6)


def test_no_regions_means_no_weather() -> None:
    weather = table({"date": ["2020-01-02"], "region": ["Brazil"], "temp_max_c": [30.0]})
    raw = RawData({"Coffee": market(d2=100)}, weather=weather)
    assert "temp_max_c" not in rows(raw, SeriesSettings(name="Coffee", regions=()), end=6).frame


def test_a_lag_moves_each_value_to_the_day_on_which_it_is_known() -> None:
    macro = table({"date": ["2020-01-02", "2020-01-03"], "vix": [15.0, 16.0]})
    weather = table({"date": ["2020-01-02"], "region": ["Brazil"], "temp_max_c": [30.0]})
    raw = RawData({"Sugar": market(d2=10, d3=11)}, macro, weather)
    unified = rows(raw, SUGAR, end=8, market=1, macro=2, weather=5)
    assert by_date(unified, "close") == {3: 10.0, 4: 11.0, 5: 11.0, 6: 11.0, 7: 11.0, 8: 11.0}
    assert by_date(unified, "vix")[4] == 15.0
    assert by_date(unified, "vix")[5] == 16.0
    assert np.isnan(by_date(unified, "temp_max_c")[6])
    assert by_date(unified, "temp_max_c")[7] == 30.0
    assert by_date(unified, "is_observed") == {3: True, 4: True, 5: False, 6: False, 7: False, 8: False}
    assert by_date(unified, "filled_columns")[4] == ""
    assert unified.last_observed == dt.date(2020, 1, 3)


def test_roll_days_are_flagged() -> None:
    series = SeriesSettings(name="Sugar", roll_dates=(dt.date(2020, 1, 3),), regions=())
    raw = RawData({"Sugar": market(d2=10, d3=11)})
    assert by_date(rows(raw, series, end=4), "is_roll_day") == {2: False, 3: True, 4: False}


def test_long_fills_are_noted() -> None:
    macro = table({"date": ["2020-01-02"], "usd_brl": [4.0]})
    unified = rows(RawData({"Sugar": market(d2=10, d3=11)}, macro), SUGAR, end=20)
    assert "Sugar: usd_brl repeats one value for 18 days, 2020-01-03 to 2020-01-20" in unified.notes


def test_series_without_data_is_an_error_that_says_why(folder: Path) -> None:
    (folder / "market/sugar.csv").write_text("date,close\n2020-01-02,ten\n")
    raw = LandingSource(folder, lambda: dt.date(2020, 2, 1)).read([SUGAR])
    with pytest.raises(SourceError, match=r"Sugar has no market data: market/sugar.csv, row 2: close is not a number"):
        rows(raw, SUGAR, end=6)
    with pytest.raises(SourceError, match="Sugar has no close up to 2020-01-02"):
        rows(RawData({"Sugar": market(d6=1)}), SUGAR, end=2)


prices = st.lists(st.one_of(st.none(), st.floats(-50, 500)), min_size=28, max_size=28)


@settings(max_examples=40)
@given(prices, prices, st.integers(1, 27), st.integers(0, 3))
def test_a_row_never_changes_when_later_source_rows_change(
    first: list[float | None], second: list[float | None], cut: int, lag: int
) -> None:
    first[0] = 1.0
    changed = first[:cut] + second[cut:]
    days = [f"2020-01-{day:02d}" for day in range(1, 29)]
    frames = []
    for values in (first, changed):
        numbers = [np.nan if value is None else value for value in values]
        frame = table({"date": days, "close": numbers, "volume": numbers})
        macro = table({"date": days, "usd_brl": numbers})
        weather = table({"date": days, "region": ["Brazil"] * 28, "temp_max_c": numbers})
        raw = RawData({"Sugar": frame}, macro, weather)
        frames.append(rows(raw, SUGAR, end=31, market=lag, macro=lag, weather=lag).frame)
    known = frames[0]["date"] < pd.Timestamp(2020, 1, 1) + pd.Timedelta(cut + lag, "D")
    pd.testing.assert_frame_equal(frames[0][known], frames[1][known])


def test_frame_ends_on_the_last_day_on_which_nothing_is_outstanding() -> None:
    sessions = calendars.sessions("XNYS", dt.date(2022, 12, 1), dt.date(2023, 12, 31))
    friday = dt.date(2022, 12, 30)
    assert last_complete_day(friday, sessions, dt.date(2023, 6, 1)) == dt.date(2023, 1, 2)
    assert last_complete_day(friday, sessions, dt.date(2023, 1, 1)) == dt.date(2022, 12, 31)
    assert last_complete_day(friday, sessions, friday) == dt.date(2022, 12, 29)
    assert last_complete_day(dt.date(2023, 1, 4), sessions, dt.date(2023, 6, 1)) == dt.date(2023, 1, 4)
    assert last_complete_day(dt.date(2023, 1, 4), sessions, dt.date(2023, 6, 1), lag=1) == dt.date(2023, 1, 5)
    with pytest.raises(SourceError, match="no session after"):
        last_complete_day(dt.date(2024, 1, 4), sessions, dt.date(2024, 6, 1))


def test_last_observed_close_skips_missing_closes() -> None:
    assert last_observed_close(RawData({"Sugar": market(d2=10, d3=None)}), "Sugar") == dt.date(2020, 1, 2)


def test_a_tuesday_s_figure_that_is_published_on_friday_is_unknown_to_a_friday_s_forecast() -> None:
    macro = table({"date": ["2020-01-07", "2020-01-14"], "cot_net": [31200.0, 29900.0], "vix": [15.0, 16.0]})
    raw = RawData({"Coffee": market(d6=100, d7=101, d8=102, d9=103, d10=104, d13=105)}, macro)
    series = SeriesSettings(name="Coffee", covariates=("cot_net", "vix"))
    unified = rows(raw, series, end=17, cot_net=3)
    # The origin of Friday the 10th and that of the 17th read rows up to the day before.
    assert np.isnan(by_date(unified, "cot_net")[9])
    assert by_date(unified, "cot_net")[10] == 31200.0
    assert by_date(unified, "cot_net")[16] == 31200.0
    assert by_date(unified, "cot_net")[17] == 29900.0
    assert by_date(unified, "vix")[7] == 15.0, "the others keep their kind's lag"
