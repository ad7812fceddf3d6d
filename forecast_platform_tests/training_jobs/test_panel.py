"""From a table to a panel: gaps, uneven lengths, covariates, and every upload that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast_platform.training_jobs.config import JobError, parse
from forecast_platform.training_jobs.panel import Panel, build
from forecast_platform.training_jobs.reading import Limits, read_file
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly


def test_a_gap_is_closed_with_the_value_before_it_and_is_not_known() -> None:
    rows = weekly(1, 10)
    missing = rows.pop(4)
    panel, _ = panel_of(asked(rows))
    assert panel.lengths.tolist() == [10]
    assert panel.series(0)[4] == rows[3]["sales"] != missing["sales"]
    assert np.flatnonzero(~panel.known).tolist() == [4]
    assert any("1 missing rows in 1 series" in note for note in panel.notes)


def test_series_of_uneven_lengths_keep_their_own_ends() -> None:
    rows = [row for row in weekly(2, 30) if row["store"] == "s0" or row["week"] > "2023-03-01"]
    panel, _ = panel_of(asked(rows))
    assert panel.ids == ("s0", "s1")
    assert panel.lengths.tolist() == [30, 21]
    assert str(panel.stamps(1)[0]) == "2023-03-06T00:00:00"
    assert [str(day)[:10] for day in panel.stamps_ahead(2)[0]] == ["2023-07-31", "2023-08-07"]


def test_a_covariate_that_covers_the_horizon_of_every_series_is_known_ahead() -> None:
    rows = weekly(2, 20)
    for number, row in enumerate(rows):
        row |= {"price": float(number), "rain": 1.0}
    ahead = [
        {"store": store, "week": str(np.datetime64("2023-05-22") + 7 * k), "sales": None, "price": 100.0 + k}
        for store in ("s0", "s1")
        for k in range(4)
    ]
    panel, _ = panel_of(asked([*rows, *ahead], covariates=["price", "rain"]))
    assert panel.future["price"].tolist() == [[100.0, 101.0, 102.0, 103.0]] * 2
    assert "rain" not in panel.future
    assert any("covariate rain: not known ahead" in note for note in panel.notes)
    assert panel.covariates["price"].tolist() == list(range(40))


def test_the_order_of_rows_makes_no_difference() -> None:
    rows = weekly(3, 12)
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    assert panel_of(asked(rows))[0].fingerprint == panel_of(asked(shuffled))[0].fingerprint


def test_a_panel_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    panel, _ = panel_of(asked(weekly(2, 20)))
    panel.save(tmp_path / "panel.npz")
    again = Panel.open(tmp_path / "panel.npz")
    assert again.fingerprint == panel.fingerprint
    assert (again.ids, again.frequency, again.notes) == (panel.ids, panel.frequency, panel.notes)


CSV = "week,store,sales\n" + "".join(f"{row['week']},{row['store']},{row['sales']}\n" for row in weekly(2, 20))
LINES = CSV.splitlines()


def from_file(tmp_path: Path, data: bytes, limits: Limits | None = None, **changes: Any) -> Panel:
    path = tmp_path / "upload"
    path.write_bytes(data)
    config = parse(asked(data=None, file="x", **changes))
    limits = limits or Limits()
    return build(read_file(path, config, limits), config, limits)


def changed(line: int, text: str) -> bytes:
    return "\n".join([*LINES[:line], text, *LINES[line + 1 :]]).encode()


BAD = {
    "not UTF-8": (CSV.replace("s0", "sé").encode("latin-1"), r"file: line 2 is not UTF-8 \(byte 0xe9 at column 13\)"),
    "UTF-16": (CSV.encode("utf-16"), "file: line 1 is not UTF-8"),
    "a workbook": (b"PK\x03\x04" + b"0" * 100, "file: the file is a workbook or zip archive: save it as CSV"),
    "compressed": (b"\x1f\x8b" + b"0" * 100, "file: the file is compressed"),
    "empty": (b"", "file: the file is empty"),
    "only a header": (b"week,store,sales\n", "data: there are no rows"),
    "text for a number": (changed(3, "2023-01-16,s0,many"), "target_col: line 4, column 'sales': 'many' is no number"),
    "a formula": (changed(3, "2023-01-16,s0,=A1*2"), "target_col: line 4, column 'sales': '=A1\\*2' is a formula"),
    "a number with its unit": (changed(3, "2023-01-16,s0,-12 EUR"), "target_col: line 4, .*: '-12 EUR' is no number"),
    "a formula that begins with a number": (
        changed(3, "2023-01-16,s0,-1+cmd|' /C calc'!A0"),
        "target_col: line 4, column 'sales': .* is a formula",
    ),
    "a name that begins with a number": (
        changed(3, "2023-01-16,-1+cmd|' /C calc'!A0,1"),
        "id_col: column 'store': .* is a formula",
    ),
    "a formula for a stamp": (
        changed(3, "=TODAY(),s0,1"),
        "time_col: line 4, column 'week': '=TODAY\\(\\)' is a formula",
    ),
    "a formula for a name": (changed(3, "2023-01-16,=cmd(),1"), "id_col: column 'store': '=cmd\\(\\)' is a formula"),
    "text for a stamp": (changed(3, "soon,s0,1"), "time_col: line 4, column 'week': 'soon' is no stamp"),
    "a missing stamp": (changed(3, ",s0,1"), "time_col: line 4, column 'week': the stamp is missing"),
    "a missing name": (
        changed(3, "2023-01-16,,1"),
        "id_col: line 4, column 'store': the name of the series is missing",
    ),
    "infinite": (changed(3, "2023-01-16,s0,inf"), "target_col: line 4, column 'sales': infinite"),
    "duplicates": (changed(3, LINES[2]), "time_col: series 's0' has two rows of 2023-01-09"),
    "no target column": (CSV.replace("sales", "sold").encode(), "target_col: the data have no column 'sales'; there"),
    "all missing": (
        "\n".join([LINES[0], *(line.rsplit(",", 1)[0] + "," for line in LINES[1:])]).encode(),
        "target_col: every value is missing",
    ),
    "one series all missing": (changed(1, "2023-01-02,s9,"), "target_col: series 's9' has no value at all"),
    "one row": (changed(1, "2023-01-02,s9,5"), "target_col: series 's9' has one row"),
    "constant": (
        "\n".join([*LINES, "2023-01-02,s9,5", "2023-01-09,s9,5"]).encode(),
        "target_col: series 's9' is constant",
    ),
    "mixed frequencies": (
        "\n".join([*LINES, *(f"2023-01-{day:02},s9,{day}" for day in range(1, 30))]).encode(),
        "frequency: the stamp 2023-01-01.* of series 's9' .* mixed frequencies",
    ),
    "ambiguous days": (
        b"week,store,sales\n01/02/2023,a,1\n08/02/2023,a,2\n",
        "time_col: column 'week': '01/02/2023' may",
    ),
    "broken rows": (changed(3, "2023-01-16,s0"), "file: no CSV: "),
    "a column twice": (CSV.replace("store", "week", 1).encode(), "file: the header names column 'week' twice"),
    "half a Parquet file": (b"PAR1" + b"0" * 50, "file: no whole Parquet file"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_upload_that_cannot_be_used_is_refused_with_what_is_wrong(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    with pytest.raises(JobError, match=message):
        from_file(tmp_path, data)


def test_a_column_that_names_the_only_series_is_no_formula() -> None:
    with pytest.raises(JobError, match=r"target_col: '=cmd\(\)' is a formula: rename the column"):
        panel_of(
            asked(
                [{"week": row["week"], "=cmd()": row["sales"]} for row in weekly(1)], target_col="=cmd()", id_col=None
            )
        )


def test_names_that_begin_with_a_sign_and_are_no_formulas_are_taken(tmp_path: Path) -> None:
    data = CSV.replace("s0", "-12").replace("s1", "+49 30")
    assert from_file(tmp_path, data.encode()).ids == ("+49 30", "-12")


def test_days_with_the_day_first_are_read_where_the_data_leave_no_doubt(tmp_path: Path) -> None:
    rows = "week,store,sales\n16/01/2023,a,1\n23/01/2023,a,2\n30/01/2023,a,5\n"
    assert str(from_file(tmp_path, rows.encode()).stamps(0)[0])[:10] == "2023-01-16"


def test_a_file_with_semicolons_and_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    data = "\ufeff" + CSV.replace(",", ";")
    assert from_file(tmp_path, data.encode()).fingerprint == from_file(tmp_path, CSV.encode()).fingerprint


def parquet(tmp_path: Path, rows: int = 400) -> bytes:
    stamps = np.datetime64("2000-01-03") + 7 * np.arange(rows)
    table = pa.table({"week": stamps, "store": ["a"] * rows, "sales": np.sin(np.arange(rows))})
    pq.write_table(table, tmp_path / "in.parquet")
    return (tmp_path / "in.parquet").read_bytes()


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    panel = from_file(tmp_path, parquet(tmp_path))
    assert (panel.lengths.tolist(), str(panel.frequency)) == ([400], "W-MON")


def test_parquet_that_declares_more_than_the_limit_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"file: the file says that it holds 0.0 MB uncompressed; at most 0.0 MB"):
        from_file(tmp_path, parquet(tmp_path), Limits(megabytes=0.001))


def test_a_million_rows_of_one_series_are_refused(tmp_path: Path) -> None:
    data = parquet(tmp_path, 25_000)
    with pytest.raises(JobError, match="file: 25,000 rows; at most 20,000"):
        from_file(tmp_path, data, Limits(rows=20_000))


def test_a_series_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="target_col: series 'a' has over 300 rows"):
        from_file(tmp_path, parquet(tmp_path), Limits(rows_a_series=300))


def test_too_many_series_are_refused() -> None:
    with pytest.raises(JobError, match="id_col: 3 series; at most 2"):
        panel_of(asked(weekly(3, 12)), Limits(series=2))


WRONG = {
    "no time_col": ({"time_col": None}, "time_col: is missing"),
    "horizon": ({"horizon": 0}, "horizon: 0: Input should be greater than or equal to 1"),
    "mode": ({"training_mode": "magic"}, "training_mode: 'magic'"),
    "levels": ({"levels": [80, 120]}, r"levels: \[80, 120\]: percentages from 1 to 99"),
    "two sources": ({"file": "x"}, "data: give one of data"),
    "same column": ({"id_col": "week"}, "time_col, target_col, id_col, covariates: 'week' is named twice"),
    "name": ({"register_model": True}, "model_name: register_model needs a name"),
    "name's letters": ({"model_name": "a.b"}, "model_name: 'a.b'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_config_that_is_wrong_names_the_field(name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(JobError, match=message):
        parse(asked(**changes))


def test_what_the_front_end_sends_in_every_mode_counts_in_mode_legacy_alone() -> None:
    sent = ["prophet", "arima", "ensemble"]
    assert parse(asked(models=sent)).chosen_models == ()
    assert parse(asked(models=sent, training_mode="legacy")).chosen_models == tuple(sent)
