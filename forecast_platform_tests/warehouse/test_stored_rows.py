"""What a read takes of a table's files: the rows that match, and no part of a file that cannot have one."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake

from forecast_platform.warehouse.base import Between, DamageError
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.predicates import kept
from forecast_platform.warehouse.schemas import TRAINED_MODELS, Table

DAYS = [dt.date(1969, 12, 30) + dt.timedelta(days=step) for step in range(40)]
ANY = Table("house.desk.any", "", (), (), (), open_columns=True)


def test_of_fitted_models_in_a_table_only_the_one_asked_for_is_read(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    for day in DAYS[:3]:
        warehouse.replace(TRAINED_MODELS, _fit(day), {"commodity": "a", "model_name": "a", "training_cutoff_date": day})
    folder = warehouse.path(TRAINED_MODELS)
    asked = {"commodity": "a", "model_name": "a", "is_active": True, "training_cutoff_date": DAYS[1]}
    files = sorted(folder.glob("*/*/*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == 3
    for path in (files[0], files[2]):
        _without_its_values(path)
    assert warehouse.read(TRAINED_MODELS, where=asked).to_pylist() == _fit(DAYS[1]).to_pylist()
    [batch] = warehouse.batches(TRAINED_MODELS, ["fitted_model_json"], asked)
    assert batch["fitted_model_json"].to_pylist() == _fit(DAYS[1])["fitted_model_json"].to_pylist()
    with pytest.raises(DamageError):
        warehouse.read(TRAINED_MODELS, where={**asked, "training_cutoff_date": DAYS[:2]})


def test_a_file_whose_note_of_its_columns_is_damaged_is_named_as_damage(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    write_deltalake(str(warehouse.path(ANY)), pa.table({"number": [1, 2]}))
    [path] = warehouse.path(ANY).glob("*.parquet")
    data = bytearray(path.read_bytes())
    data[data.index(b"ARROW:schema") + 40] = ord("!")
    path.write_bytes(data)
    with pytest.raises(DamageError, match="cannot be read"):
        warehouse.read(ANY)


@pytest.mark.parametrize(
    "where",
    [
        {"day": DAYS[7]},
        {"day": DAYS[0], "late": True},
        {"day": Between(DAYS[3], DAYS[9])},
        {"day": [DAYS[2], DAYS[33]], "number": Between(-5, 5)},
        {"day": dt.date(2030, 1, 1)},
        {"day": Between(DAYS[9], DAYS[3])},
        {"day": []},
        {"number": -4},
        {"number": {-20, 19, 400}},
        {"number": (3, None)},
        {"number": 7.0},
        {"late": False, "number": [2, 5, 8]},
        {"text": "c", "number": Between(0, 19)},
        {"text": Between("b", "c")},
        {"float": Between(-1, 1)},
        {"float": 2},
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_rows_of_several_row_groups_are_those_that_match_in_all(
    tmp_path: Path, where: dict[str, Any], nested: bool
) -> None:
    warehouse, rng = DeltaWarehouse(tmp_path), random.Random(1)
    rows = pa.table(
        {
            "number": pa.array([None if step % 11 == 10 else step - 20 for step in range(40)], pa.int32()),
            "day": pa.array([None if step in (4, 5, 6) else day for step, day in enumerate(DAYS)]),
            "text": [rng.choice("abc") for _ in DAYS],
            "late": [rng.choice([True, False, None]) for _ in DAYS],
            "float": [rng.choice([float("nan"), 0.5, 2.0, None]) for _ in DAYS],
        }
    )
    if nested:
        rows = rows.add_column(0, "pair", pa.array([{"a": step, "b": -step} for step in range(40)]))
    write_deltalake(str(warehouse.path(ANY)), rows, writer_properties=WriterProperties(max_row_group_size=3))
    found = warehouse.read(ANY, where=where)
    assert found.drop_columns("float").to_pylist() == kept(rows, where).drop_columns("float").to_pylist()
    assert warehouse.read(ANY, ["late"], where)["late"].to_pylist() == found["late"].to_pylist()


def _fit(day: dt.date) -> pa.Table:
    values = {"string": "a", "date": day, "int": 1, "float": 1.0, "bool": True}
    values["timestamp"] = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    row = {column.name: values[column.type] for column in TRAINED_MODELS.columns}
    return pa.Table.from_pylist([row | {"fitted_model_json": f"fit to {day}"}], TRAINED_MODELS.arrow_schema())


def _without_its_values(path: Path) -> None:
    """All of a Parquet file but its first bytes and its footer turned over."""
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:4] + bytes(255 - one for one in data[4:footer]) + data[footer:])
