"""A comma before the decimals is told from one between the thousands, or the file is refused with the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.settings.landing import FileSettings
from forecast_platform_tests.sources.landings import one, read, reasons, write

COLUMNS = {"Datum": "date", "Schluss": "close", "Umsatz": "volume"}


def _file(*closes: str, volumes: tuple[str, ...] = ()) -> str:
    rows = [f'2018-01-0{2 + at},"{close}"' for at, close in enumerate(closes)]
    if not volumes:
        return "\n".join(["Datum,Schluss", *rows, ""])
    return "\n".join(
        ["Datum,Schluss,Umsatz", *(f'{row},"{text}"' for row, text in zip(rows, volumes, strict=True)), ""]
    )


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        (_file("1.167,305", "1.168,1", "999,30"), [1167.305, 1168.1, 999.3]),
        (_file("0,915", "1,204", "0,899"), [0.915, 1.204, 0.899]),
        (_file("1 167,30", "1\u202f168,1", "1.167"), [1167.3, 1168.1, 1167]),
        (_file("1,234.5", "1,234", "999.25"), [1234.5, 1234, 999.25]),
        (_file("2.345", "2.401", "2.399"), [2.345, 2.401, 2.399]),
        (_file("7,812", "7,905", "7,799", volumes=("12,345", "1,204", "980")), [7812, 7905, 7799]),
    ],
)
def test_what_a_number_proves_goes_for_the_whole_file(tmp_path: Path, text: str, closes: list[float]) -> None:
    raw = read(write(tmp_path, market__coffee_csv=text), one(columns=COLUMNS))
    assert reasons(raw) == ""
    assert raw.market["Coffee"]["close"].tolist() == closes


def test_what_may_be_either_is_refused_until_the_settings_say_which(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=_file("7,812", "7,905", "7,799"))
    [refused] = read(tmp_path, one(columns=COLUMNS)).rejections
    assert refused.row == 2
    assert "'7,812' may have a decimal comma or thousands" in refused.reason
    assert "set `decimal: comma` or `decimal: point`" in refused.reason
    for mark, close in (("comma", 7.812), ("point", 7812)):
        raw = read(tmp_path, one(columns=COLUMNS, decimal=mark))
        assert raw.market["Coffee"]["close"].iloc[0] == close


def test_numbers_of_two_kinds_and_settings_that_numbers_disprove_are_refused(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=_file("167,30", "168.1"))
    assert "numbers are of two kinds: '168.1' here, '167,30' in row 2" in reasons(read(tmp_path, one(columns=COLUMNS)))
    write(tmp_path, market__coffee_csv=_file("167,30", "168,1"))
    raw = read(tmp_path, one(columns=COLUMNS, decimal="point"))
    assert "'167,30' has a decimal comma, but the settings say decimal: point" in reasons(raw)


def test_a_mapped_macro_file_is_judged_alike(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv=_file("167,30", "168,1"), macro_csv='date,Kurs\n2018-01-02,"5,401"\n')
    series = one(columns=COLUMNS, covariates=["usd_brl"])
    files = FileSettings(macro={"Kurs": "usd_brl"})
    assert "'5,401' may have a decimal comma" in reasons(read(tmp_path, series, files=files))
    raw = read(tmp_path, series, files=files.model_copy(update={"decimal": "comma"}))
    assert raw.macro is not None
    assert raw.macro["usd_brl"].tolist() == [5.401]


def test_a_decimal_comma_in_our_own_layout_is_refused_with_the_mend(tmp_path: Path) -> None:
    write(tmp_path, market__coffee_csv='date,close\n2018-01-02,"167,30"\n')
    assert "'167,30'; a decimal comma? save the numbers with a point" in reasons(read(tmp_path))


LANGUAGES = {
    "German": ('"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"', "{}.{}.2018", "124,59K", "-1,21%"),
    "Spanish": ('"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."', "{}.{}.2018", "124,59K", "2,08%"),
    "Portuguese": ('"Data","Último","Abertura","Máxima","Mínima","Vol.","Var%"', "{}.{}.2018", "124,59K", "2,18%"),
    "French": ('"Date","Dernier","Ouv."," Plus Haut","Plus Bas","Vol.","Variation %"', "{}/{}/2018", "124,59K", "1,0%"),
    "Italian": ('"Data","Ultimo","Apertura","Massimo","Minimo","Vol.","Var. %"', "{}.{}.2018", "124,59K", "1,0%"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_exports_of_investing_com_in_other_languages_are_known_by_their_header(tmp_path: Path, language: str) -> None:
    header, day, volume, change = LANGUAGES[language]
    rows = [("03", "04", "1.121,905"), ("03", "03", "1.123,40"), ("02", "03", "114.982")]
    lines = [f'"{day.format(d, m)}","{p}","{p}","{p}","{p}","{volume}","{change}"' for d, m, p in rows]
    write(tmp_path, market__coffee_csv="\ufeff" + "\n".join([header, *lines, ""]))
    market = read(tmp_path, one(confirmed=["2018-03-02", "2018-03-03", "2018-04-03"])).market["Coffee"]
    assert [str(each)[:10] for each in market["date"]] == ["2018-03-02", "2018-03-03", "2018-04-03"]
    assert market["close"].tolist() == [114982, 1123.4, 1121.905]
    assert market["volume"].tolist() == [124590] * 3
