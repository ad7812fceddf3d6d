"""What `forecast-platform doctor` says of the source: values, calendars, lags, holidays, files that are not read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.doctor.sources import source
from forecast_platform.host.finding import Finding
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.settings import Settings, build
from forecast_platform.sources.calendars import sessions
from forecast_platform.work.platform import Platform
from forecast_platform_tests.sources.landings import PLAIN, closes, walk, write


def settings(folder: Path, today: str, **changes: object) -> Settings:
    values = {"source": "landing", "landing": folder, "warehouse": folder / "warehouse", "file_settle_seconds": 0}
    clock = dt.datetime.fromisoformat(f"{today}T18:00:00+00:00")
    return build(**{**values, **changes}).with_clock(lambda: clock)


def found(settings: Settings, level: str) -> list[Finding]:
    return [one for one in source(settings) if one.severity == level]


def test_a_long_holiday_is_not_late(tmp_path: Path) -> None:
    text = closes(["2025-09-25", "2025-09-26", "2025-09-29", "2025-09-30"], [5510, 5498, 5522, 5530])
    write(tmp_path, market__czsugar_csv=text)
    series = [{"name": "CzSugar", "exchange": "XSHG", "regions": []}]
    golden_week = settings(tmp_path, "2025-10-07", series=series)
    assert found(golden_week, "warning") == []
    assert any("CzSugar: 2025-09-30, 0 sessions late" in one.found for one in found(golden_week, "good"))
    [late] = found(settings(tmp_path, "2025-10-20", series=series), "warning")
    # The sessions of 9, 10, 13 to 17 October: the first lies nine days after the newest close.
    assert "7 sessions late: later dates than 2025-10-09 get no forecast" in late.found


def test_each_suspicious_value_is_listed_with_file_row_date_and_value(tmp_path: Path) -> None:
    days = sessions("XNYS", dt.date(2018, 1, 2), dt.date(2018, 3, 1))
    values = walk(len(days))
    values[10] = 0
    values[20] *= 1.5
    values[30:35] = values[30]
    write(tmp_path, market__coffee_csv=closes(list(days), list(values)))
    series = [{"name": "Coffee", "regions": []}]
    listed = [one.found for one in found(settings(tmp_path, "2018-03-02", series=series), "warning")]
    expected = [
        f"market/coffee.csv, row 12: close 0 on {days[10]} is an exact 0 among prices: read as missing",
        f"market/coffee.csv, row 36: close {values[34]:g} on {days[34]} stands still for 5 sessions: since {days[30]}",
        f"market/coffee.csv, row 22: close {values[20]:g} on {days[20]} looks like a vendor glitch",
    ]
    assert len(listed) == 3
    for text, begin in zip(listed, expected, strict=True):
        assert text.startswith(begin), text


def test_a_unit_that_an_ingest_would_hold_is_told_before_it(tmp_path: Path) -> None:
    days = sessions("XNYS", dt.date(2018, 1, 2), dt.date(2018, 3, 1))
    values = walk(len(days))
    write(tmp_path, market__coffee_csv=closes(list(days), list(values)))
    series = [{"name": "Coffee", "regions": []}]
    now = settings(tmp_path, "2018-03-02", series=series)
    assert found(now, "error") == []
    ingest(Platform.from_settings(now), ["Coffee"], dt.date(2018, 1, 2), dt.date(2018, 3, 1))
    assert found(now, "error") == []
    write(tmp_path, market__coffee_csv=closes(list(days), list(np.round(values * 2.2046, 3))))
    [held] = found(now, "error")
    assert held.found.startswith("held: Coffee: ")
    assert "closes are 2.205 of what they were: the unit has changed" in held.found
    assert "mend the source, or if it is meant, add `confirmed: [2018-03-01]` to the series" in held.mend
    meant = settings(tmp_path, "2018-03-02", series=[{**series[0], "confirmed": ["2018-03-01"]}])
    assert found(meant, "error") == []


def test_calendars_are_compared_with_the_data_and_a_better_one_is_named(tmp_path: Path) -> None:
    days = sessions("US_COMMODITIES", dt.date(2012, 1, 3), dt.date(2018, 12, 31))
    write(tmp_path, market__coffee_csv=closes(list(days), list(walk(len(days)))))
    series = [{"name": "Coffee", "regions": []}]
    [said] = found(settings(tmp_path, "2019-01-01", series=series), "warning")
    assert said.subject == "calendars"
    assert (
        "Coffee on XNYS: 0 sessions without a close, 3 closes on shut days (the last 2012-10-29, 2012-10-30"
        in said.found
    )
    assert "`exchange: US_COMMODITIES` of Coffee fits better (0 days do not)" in said.mend
    own = settings(tmp_path, "2019-01-01", series=[{**series[0], "exchange": "US_COMMODITIES"}])
    assert found(own, "warning") == []
    assert any("Coffee on US_COMMODITIES: 0 sessions" in one.found for one in found(own, "good"))


def test_a_column_of_one_weekday_without_a_lag_warns(tmp_path: Path) -> None:
    macro = "date,cot_net\n2018-01-02,31200\n2018-01-09,29900\n2018-01-16,30400\n2018-01-23,33100\n"
    write(tmp_path, market__coffee_csv=PLAIN, macro_csv=macro)
    series = [{"name": "Coffee", "regions": [], "covariates": ["cot_net"]}]
    [said] = [one for one in found(settings(tmp_path, "2018-01-26", series=series), "warning") if one.subject == "lags"]
    assert "cot_net has values on Tuesdays only" in said.found
    assert "`publication_lag_days: {cot_net: 3}`" in said.mend
    lagged = settings(tmp_path, "2018-01-26", series=series, publication_lag_days={"cot_net": 3})
    assert [one for one in found(lagged, "warning") if one.subject == "lags"] == []


def test_a_stray_fails_by_its_file_and_one_of_another_kind_warns(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN)
    (tmp_path / "market/US Coffee C.csv").write_text(PLAIN)
    (tmp_path / "market/coffee.txt").write_text(PLAIN)
    strays = settings(tmp_path, "2018-01-09")
    [failed] = [one for one in found(strays, "error") if "US Coffee" in one.found]
    assert "refused: market/US Coffee C.csv: 'US Coffee C' makes no series name: rename the file" in failed.found
    assert [one.found for one in found(strays, "warning")] == [
        "market/coffee.txt is not read: save it as .csv, .parquet, .xls or .xlsx, or move it away"
    ]


@pytest.mark.parametrize("exchange", ["CMES", "XNYS"])
def test_a_calendar_with_too_many_sessions_is_told_apart_by_the_data(exchange: str, tmp_path: Path) -> None:
    days = sessions("XNYS", dt.date(2015, 1, 2), dt.date(2018, 12, 28))
    write(tmp_path, market__coffee_csv=closes(list(days), list(walk(len(days)))))
    chosen = settings(tmp_path, "2018-12-29", series=[{"name": "Coffee", "regions": [], "exchange": exchange}])
    said = [one for one in found(chosen, "warning") if one.subject == "calendars"]
    assert bool(said) is (exchange == "CMES")
    assert all("`exchange: XNYS` of Coffee fits better" in one.mend for one in said)


@pytest.mark.slow
def test_real_prices_fit_new_york_s_calendar(landing: Path) -> None:
    real = settings(landing, "2023-01-01", series=[{"name": "Coffee"}, {"name": "Sugar", "regions": ["Brazil"]}])
    said = [one for one in source(real) if one.subject == "calendars"]
    assert len(said) == 2
    fitting = [one for one in said if one.severity == "good" or "US_COMMODITIES" in one.mend]
    assert len(fitting) == 2, [f"{one.found}: {one.mend}" for one in said]
