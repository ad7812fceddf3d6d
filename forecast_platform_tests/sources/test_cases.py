"""Landing folders as they come: strays, parts, files being written, running bars, foreign files, mappings."""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from pathlib import Path

import pytest

from forecast_platform.settings import SettingsError, build
from forecast_platform.settings.landing import FileSettings
from forecast_platform.sources.landing import LandingSource
from forecast_platform_tests.sources.landings import PLAIN, closes, one, read, reasons, write

# -- A file costs its own series only -------------------------------------------------------------------------------


def test_a_stray_file_is_refused_by_name_and_the_series_beside_it_go_on(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN, market__sugar_csv=PLAIN)
    (tmp_path / "market/US Coffee C Futures Historical Data.csv").write_text(PLAIN)
    for ignored in ("._sugar.csv", "~$sugar.csv", "sugar.csv.lock", "sugar.csv.crdownload"):
        (tmp_path / "market" / ignored).write_bytes(b"\x00\x05\x16\x07")
    settings = build(source="landing", landing=tmp_path)
    assert settings.series_names == ("Coffee", "Sugar")
    raw = read(tmp_path, *settings.series)
    assert sorted(raw.market) == ["Coffee", "Sugar"] or "weather" in reasons(raw)
    [stray] = [item for item in raw.rejections if "makes no series name" in item.reason]
    assert stray.file == "market/US Coffee C Futures Historical Data.csv"
    assert stray.series == ()
    assert "rename the file" in stray.reason
    assert "`source: US Coffee C Futures Historical Data`" in stray.reason
    named = one("Arabica", source="US Coffee C Futures Historical Data")
    assert read(tmp_path, named).rejections == []


def test_two_files_of_one_stem_cost_that_series_only(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN, market__Coffee_csv=PLAIN, market__sugar_csv=PLAIN)
    settings = build(source="landing", landing=tmp_path)
    assert [name.lower() for name in settings.series_names] == ["coffee", "sugar"]
    raw = read(tmp_path, one(), one("Sugar"))
    assert list(raw.market) == ["Sugar"]
    assert "market/Coffee.csv and market/coffee.csv: ambiguous, remove one" in reasons(raw)


def test_a_folder_of_strays_alone_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "market").mkdir()
    (tmp_path / "market/My Coffee.csv").write_text(PLAIN)
    (tmp_path / "market/coffee.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SettingsError, match=r"My Coffee.csv: 'My Coffee' makes no series name: rename(.|\n)*unpack it"):
        build(source="landing", landing=tmp_path)


def test_suffixes_are_read_in_any_case_and_other_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, market__sugar_csv=PLAIN)
    (tmp_path / "market/COFFEE.CSV").write_text(PLAIN)
    for name in ("notes.txt", "cocoa.csv.gz"):
        (tmp_path / "market" / name).write_text("x")
    raw = read(tmp_path, one(), one("Sugar"))
    assert sorted(raw.market) == ["Coffee", "Sugar"]
    assert raw.unread == [
        "market/cocoa.csv.gz is not read: unpack it",
        "market/notes.txt is not read: save it as .csv, .parquet, .xls or .xlsx, or move it away",
    ]
    assert build(source="landing", landing=tmp_path).series_names == ("COFFEE", "Sugar")


# -- Parts ----------------------------------------------------------------------------------------------------------


def test_overlapping_parts_are_joined_where_they_agree(tmp_path: Path) -> None:
    rows = PLAIN.splitlines(keepends=True)
    write(tmp_path, market__coffee_csv="".join(rows[:4]))
    (tmp_path / "market/coffee (1).csv").write_text(rows[0] + "".join(rows[2:]))
    raw = read(tmp_path)
    assert raw.rejections == []
    assert raw.market["Coffee"]["close"].tolist() == [150.10, 151.40, 150.85, 152.20, 151.95]
    (tmp_path / "market/coffee (1).csv").write_text(rows[0] + "2018-01-03,151.45\n" + "".join(rows[3:]))
    raw = read(tmp_path)
    assert raw.market == {}
    assert reasons(raw) == (
        "market/coffee (1).csv, row 2: close on 2018-01-03 is 151.45, but 151.4 in market/coffee.csv, row 3: "
        "overlapping files must agree; remove the one that is wrong"
    )


def test_macro_and_weather_parts_are_joined_and_a_bad_one_costs_only_those_that_need_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        market__coffee_csv=PLAIN,
        market__sugar_csv=PLAIN,
        macro_csv="date,usd_brl\n2018-01-02,3.2\n2018-01-03,3.3\n",
        macro_vix_csv="observation_date,VIXCLS\n2018-01-03,.\n2018-01-04,9.2\n",
        weather_csv="date,region,temp_max_c\n2018-01-02,Brazil,30\n",
        weather_Vietnam_csv="date,region,temp_max_c\n2018-01-02,Vietnam,25\n",
    )
    series = [
        one(covariates=("vix",), regions=("Brazil",)),
        one("Sugar", covariates=("usd_brl",), regions=("Vietnam",)),
    ]
    raw = read(tmp_path, *series)
    assert raw.rejections == []
    assert raw.macro is not None
    assert raw.macro.set_index("date")["vix"].dropna().tolist() == [9.2]
    assert raw.macro["usd_brl"].dropna().tolist() == [3.2, 3.3]
    assert raw.weather is not None
    assert sorted(raw.weather["region"]) == ["Brazil", "Vietnam"]
    (tmp_path / "macro_vix.csv").write_text("observation_date,VIXCLS\n2018-01-04,high\n")
    (tmp_path / "weather_Vietnam.csv").write_text("date,region,temp_max_c\n2018-01-02,Vietnam,77\n")
    raw = read(tmp_path, *series)
    assert raw.rejections_of("Coffee")[0].file == "macro_vix.csv"
    assert raw.rejections_of("Sugar")[0].file == "weather_Vietnam.csv"
    assert raw.macro is not None
    assert list(raw.macro.columns) == ["date", "usd_brl"]


# -- Files being written, running bars ------------------------------------------------------------------------------


def _changed(path: Path, when: str) -> None:
    stamp = dt.datetime.fromisoformat(f"{when}+00:00").timestamp()
    os.utime(path, (stamp, stamp))


def test_a_file_that_is_older_than_the_close_of_its_newest_session_does_not_give_it(tmp_path: Path) -> None:
    text = closes(["2018-01-22", "2018-01-23", "2018-01-24", "2018-01-25"], [122.7, 120.8, 122.3, 150.0])
    path = write(tmp_path, market__coffee_csv=text) / "market/coffee.csv"
    source = LandingSource(tmp_path, lambda: dt.date(2018, 1, 26))
    _changed(path, "2018-01-25 15:50")
    running = source.fingerprint([one()])
    raw = source.read([one()])
    assert raw.market["Coffee"]["close"].tolist() == [122.7, 120.8, 122.3]
    [said] = raw.warnings
    assert "left out: row 5: the file was changed at 2018-01-25 15:50 UTC, before XNYS closed on 2018-01-25" in said
    # The platform's futures settle at 14:30 in New York, an hour and a half before stocks close.
    _changed(path, "2018-01-25 20:00")
    assert len(read(tmp_path, one(exchange="US_COMMODITIES")).market["Coffee"]) == 4
    assert len(source.read([one()]).market["Coffee"]) == 3
    for when in ("2018-01-25 21:01", "2018-01-09 12:00", "1980-01-01 00:00"):
        _changed(path, when)
        assert len(source.read([one()]).market["Coffee"]) == 4, when
    _changed(path, "2018-01-25 21:01")
    assert source.fingerprint([one()]) != running, "the same bytes are read otherwise after the close"


def test_a_last_close_that_broke_off_is_refused_until_confirmed(tmp_path: Path) -> None:
    days = ["2018-01-19", "2018-01-22", "2018-01-23", "2018-01-24", "2018-01-25"]
    text = closes(days, [121.4, 122.7, 120.8, 122.3, 12]).rstrip("\n")
    write(tmp_path, market__coffee_csv=text)
    raw = read(tmp_path)
    assert raw.market == {}
    assert raw.rejections[0].row == 6
    assert "the last close, 12 on 2018-01-25, is 0.0981 of the one before" in raw.rejections[0].reason
    assert any("row 6: the last line is shorter" in text for text in raw.warnings)
    assert len(read(tmp_path, one(confirmed=("2018-01-25",))).market["Coffee"]) == 5
    write(tmp_path, market__coffee_csv=f"{text}\n2018-01-26,11.8\n")
    assert len(read(tmp_path, one(confirmed=("2018-01-25",))).market["Coffee"]) == 6


def test_a_file_that_was_changed_just_now_is_said(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN)
    assert read(tmp_path).warnings == []
    assert "s ago: it may still be being written" in read(tmp_path, settle_seconds=60.0).warnings[0]


CUT = "2018-01-09,122."


def _age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_young_file_whose_last_line_has_no_end_is_held_and_costs_its_own_series_only(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=PLAIN + CUT, market__sugar_csv=PLAIN)
    path = tmp_path / "market/coffee.csv"
    source = LandingSource(tmp_path, lambda: dt.date(2018, 1, 10), settle_seconds=60.0)
    _age(path, 2)
    raw = source.read([one(), one("Sugar")])
    assert list(raw.market) == ["Sugar"]
    assert re.fullmatch(
        r"market/coffee.csv: still being written: its last line has no end, and it changed \d+ s ago; "
        r"run again in 5\d s, when it is read as it stands",
        reasons(raw),
    )
    assert [(item.series, item.held) for item in raw.rejections] == [(("Coffee",), True)]
    assert [text.split(":")[0] for text in raw.warnings] == ["market/sugar.csv"]
    held = source.fingerprint([one()])
    _age(path, 61)
    raw = source.read([one()])
    assert raw.rejections == []
    assert raw.market["Coffee"]["close"].tolist()[-1] == 122.0
    assert any("row 7: the last line is shorter" in text for text in raw.warnings)
    assert source.fingerprint([one()]) != held, "the same bytes are read once they stand still"
    path.write_text(PLAIN + CUT + "45\n")
    assert source.read([one()]).market["Coffee"]["close"].tolist()[-1] == 122.45


def test_a_file_whose_clock_is_a_little_ahead_is_held_too_and_one_of_another_day_is_not(tmp_path: Path) -> None:
    path = write(tmp_path, market__coffee_csv=PLAIN + CUT) / "market/coffee.csv"
    for ahead, held in ((5, True), (86_400, False)):
        _age(path, -ahead)
        assert [item.held for item in read(tmp_path, settle_seconds=60.0).rejections] == [True] * held


@pytest.mark.parametrize(
    "name", ["macro.csv", "macro_vix.csv", "weather.csv", "weather_Vietnam.csv", "coffee_chain.csv"]
)
def test_a_held_file_keeps_all_that_may_need_it_as_they_were(tmp_path: Path, name: str) -> None:
    texts = {
        "market/coffee.csv": PLAIN,
        "market/sugar.csv": PLAIN,
        "macro.csv": "date,usd_brl,vix\n2018-01-02,3.2,9.5\n",
        "macro_vix.csv": "date,vix\n2018-01-03,9.2\n",
        "weather.csv": "date,region,temp_max_c\n2018-01-02,Brazil,30\n2018-01-02,Vietnam,25\n",
        "weather_Vietnam.csv": "date,region,temp_max_c\n2018-01-03,Vietnam,25\n",
        "coffee_chain.csv": "date,close,close_2\n2018-01-02,150.1,151\n",
    }
    (tmp_path / "market").mkdir()
    for file, text in texts.items():
        (tmp_path / file).write_text(text.rstrip("\n") if file == name else text)
    series = [one(covariates=("vix",), regions=("Vietnam",)), one("Sugar")]
    raw = read(tmp_path, *series, settle_seconds=60.0)
    assert list(raw.market) == ["Sugar"]
    assert [(item.file, item.series, item.held) for item in raw.rejections] == [(name, ("Coffee",), True)]
    assert (raw.macro is None) == name.startswith("macro"), "macro values of series without covariates stay as stored"
    _age(tmp_path / name, 61)
    assert sorted(read(tmp_path, *series, settle_seconds=60.0).market) == ["Coffee", "Sugar"]


def test_a_row_of_tomorrow_is_left_out_and_a_later_one_refused(tmp_path: Path) -> None:
    write(tmp_path, market__rubber_csv=closes(["2018-01-23", "2018-01-24", "2018-01-25"], [201.5, 203.1, 202.2]))
    rubber = one("Rubber", exchange="XTKS")
    raw = read(tmp_path, rubber, today=dt.date(2018, 1, 24))
    assert raw.market["Rubber"]["close"].tolist() == [201.5, 203.1]
    assert "left out: row 4: dated tomorrow" in raw.warnings[0]
    assert "lies after today" in reasons(read(tmp_path, rubber, today=dt.date(2018, 1, 23)))


# -- What is no CSV file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40),
            "not a CSV file, but an old Excel workbook: export it as CSV",
        ),
        (
            b'"date";"close"\n2018-01-02;"1.012,34"\n',
            "separated by ;, with decimal commas: save with commas and points",
        ),
        (b'"date";"close"\n2018-01-02;"1.01"\n', "separate columns with commas"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(content: bytes, reason: str, tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv="")
    (tmp_path / "market/coffee.csv").write_bytes(content)
    assert reason in reasons(read(tmp_path))


def test_columns_and_dates_of_the_rest_come_from_the_settings(tmp_path: Path) -> None:
    text = 'Trade Date,Last,Turnover\n03/04/2018,"1,012.50",x\n04/04/2018,1013.25,y\n'
    write(tmp_path, market__coffee_csv=text, macro_csv="date,VIXCLS\n2018-01-02,9.5\n")
    mapped = {"Trade Date": "date", "Last": "close"}
    assert "no day above 12 proves an order" in reasons(read(tmp_path, one(columns=mapped)))
    raw = read(tmp_path, one(columns=mapped, dates="day-first"), files=FileSettings(macro={"VIXCLS": "vix"}))
    assert raw.rejections == []
    assert raw.market["Coffee"]["date"].dt.strftime("%Y-%m-%d").tolist() == ["2018-04-03", "2018-04-04"]
    assert raw.market["Coffee"]["close"].tolist() == [1012.5, 1013.25]
    assert raw.macro is not None
    assert raw.macro["vix"].tolist() == [9.5]
    plain = "date,close\n03/04/2018,1\n13/04/2018,2\n"
    write(tmp_path, market__coffee_csv=plain)
    assert read(tmp_path, one(dates="day-first")).market["Coffee"]["date"].dt.month.tolist() == [4, 4]
    assert "is day-first, but the settings say dates: month-first" in reasons(read(tmp_path, one(dates="month-first")))
