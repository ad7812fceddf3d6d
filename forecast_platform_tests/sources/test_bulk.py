"""Large weather files are read by column: the same rows as cell by cell, and whatever is not plain is left to that."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from forecast_platform.sources import bulk, validate
from forecast_platform.sources.files import table_of

TODAY = dt.date(2020, 1, 1)
PLAIN = (
    "date,region,temp_max_c,precipitation_mm\n"
    "2018-01-01,Sul de Minas,29.7,0.1\n"
    "2018-01-02,Sul de Minas,,1e-3\n"
    "2018-01-01,São Paulo,-0.30000000000000004,5\n"
    "2018-01-02,São Paulo,nan,\n"
)


def checked(text: str, smallest: int, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame | None, list]:
    monkeypatch.setattr(bulk, "SMALLEST", smallest)
    return validate.check_weather(table_of(text.encode(), ".csv", "weather.csv", "weather"), TODAY)


def test_a_plain_file_gives_the_same_rows_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SMALLEST", 0)
    assert bulk.plain_weather(PLAIN.encode(), "weather.csv") is not None
    by_column, none = checked(PLAIN, 0, monkeypatch)
    by_cell, neither = checked(PLAIN, 10**9, monkeypatch)
    assert none == neither == []
    assert by_column is not None
    assert by_cell is not None
    pd.testing.assert_frame_equal(by_column, by_cell)
    assert by_column["temp_max_c"].tolist()[2] == -0.30000000000000004
    assert by_column.index.tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", "\r\n").rstrip(),
        PLAIN.replace("0.1\n", "0.1\r\n"),
        "\ufeff" + PLAIN,
    ],
    ids=["CRLF", "no last newline", "CRLF but the last", "mixed", "byte order mark"],
)
def test_what_windows_writes_and_a_last_line_without_an_end_are_plain(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "SMALLEST", 0)
    wanted = bulk.plain_weather(PLAIN.encode(), "weather.csv")
    found = bulk.plain_weather(text.encode(), "weather.csv")
    assert found is not None
    assert wanted is not None
    assert found.columns.keys() == wanted.columns.keys()
    for name in wanted.columns:
        np.testing.assert_array_equal(found.columns[name], wanted.columns[name])
    by_cell, _ = checked(text, 10**9, monkeypatch)
    by_column, _ = checked(text, 0, monkeypatch)
    assert by_cell is not None
    pd.testing.assert_frame_equal(by_column, by_cell)


@pytest.mark.parametrize("end", ["2", "24.75", "24.75\n", "24.75\r\n"])
@pytest.mark.parametrize("rows", [1, 2, 40])
def test_an_upload_that_broke_off_is_said_either_way(rows: int, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    days = np.datetime64("2018-01-01") + np.arange(rows)
    text = "date,region,temp_max_c\n" + "".join(f"{day},São Paulo,25.10\n" for day in days[:-1])
    text += f"{days[-1]},São Paulo,{end}"
    notes = []
    for smallest in (0, 10**9):
        monkeypatch.setattr(bulk, "SMALLEST", smallest)
        notes.append(table_of(text.encode(), ".csv", "weather.csv", "weather").notes)
    assert notes[0] == notes[1]
    assert len(notes[0]) == (end == "2" and rows > 1)
    assert all(note.startswith(f"row {rows + 1}: the last line is shorter") for note in notes[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("29.7", "29_7"),
        ("29.7", "29,7"),
        ("29.7", "warm"),
        ("29.7", " 29.7"),
        ("29.7", "29.7 "),
        ("2018-01-02,Sul", " 2018-01-02,Sul"),
        (",5\n", ",5 \n"),
        ("date,region", "\ndate,region"),
        ("date,region", " date,region"),
        (",Sul", ",\tSul"),
        ("29.7", '"29.7"'),
        ("2018-01-02,Sul", "02.01.2018,Sul"),
        ("2018-01-02,Sul", "2018-02-30,Sul"),
        ("2018-01-02,Sul", "2018-01-02T00:00:00Z,Sul"),
        ("2018-01-02,Sul", "\n2018-01-02,Sul"),
        ("temp_max_c", "tmax"),
        ("\n2018-01-02,Sul", "\r\n\r\n2018-01-02,Sul"),
        ("29.7,", "29.7,\r"),
        ("nan,\n", "nan,\r"),
        ("nan,\n", "na"),
    ],
)
def test_what_is_not_plain_is_read_cell_by_cell_with_its_own_words(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PLAIN.replace(old, new)
    assert text != PLAIN
    monkeypatch.setattr(bulk, "SMALLEST", 0)
    assert bulk.plain_weather(text.encode(), "weather.csv") is None
    found, said = checked(text, 0, monkeypatch)
    wanted, words = checked(text, 10**9, monkeypatch)
    assert said == words
    if wanted is not None and found is not None:
        pd.testing.assert_frame_equal(found, wanted)
    assert (found is None) == (wanted is None)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("São Paulo,nan", ",nan", "the region is blank"),
        ("2018-01-02,Sul", ",Sul", "the date is blank"),
        ("29.7", "inf", "temp_max_c is infinite"),
        ("2018-01-02,São", "2018-01-01,São", "twice"),
    ],
)
def test_a_fault_in_a_plain_file_is_named_with_its_row(
    old: str, new: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PLAIN.replace(old, new)
    monkeypatch.setattr(bulk, "SMALLEST", 0)
    assert bulk.plain_weather(text.encode(), "weather.csv") is not None
    said = checked(text, 0, monkeypatch)[1]
    assert [(one.row, one.reason) for one in said] == [
        (one.row, one.reason) for one in checked(text, 10**9, monkeypatch)[1]
    ]
    assert reason in said[0].reason or "duplicate" in said[0].reason


def test_a_file_without_rows_is_read_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SMALLEST", 0)
    assert bulk.plain_weather(b"date,region,temp_max_c\n", "weather.csv") is None
    assert np.array_equal(bulk.plain_weather(PLAIN.encode(), "weather.csv").rows, [2, 3, 4, 5])
