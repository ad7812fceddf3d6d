"""What only the embedded warehouse has: a disk that can be full; and the helpers of the keys."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from forecast_platform.warehouse.base import DiskFullError, LostRaceError, months_between, revise
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import FORECAST_METADATA, TRAINED_MODELS
from forecast_platform_tests.warehouse.implementations import days, metadata, where


def test_a_disk_without_room_stops_the_write_and_says_so(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path, min_free_gb=1e9)
    with pytest.raises(DiskFullError, match="min_free_gb"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    assert warehouse.version(FORECAST_METADATA) is None


def test_months_between_names_every_month_touched() -> None:
    assert months_between(dt.date(2019, 11, 30), dt.date(2020, 2, 1)) == ["2019-11", "2019-12", "2020-01", "2020-02"]


def test_a_commit_is_synced_before_it_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was synced is all that the commit is made of, and all of it before its record gets its name."""
    synced: list[str] = []
    real = os.fsync

    def recorded(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").resolve()))
        real(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    folder = warehouse.path(FORECAST_METADATA)
    files = {str(path) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert files <= set(synced)
    [data] = folder.rglob("*.parquet")
    entry = folder / "_delta_log" / f"{1:020d}.json"
    records = str(tmp_path / "_journal" / FORECAST_METADATA.name)
    named = [number for number, one in enumerate(synced) if one == records]
    assert len(named) == 2  # one a version: 0 made the table
    for one in (data, data.parent, entry):
        assert named[0] < synced.index(str(one)) < named[1]
    assert named[0] < len(synced) - 1 - synced[::-1].index(str(entry.parent)) < named[1] == len(synced) - 1


def test_what_was_read_is_replaced_only_while_it_is_what_was_read(tmp_path: Path) -> None:
    mine, other = DeltaWarehouse(tmp_path), DeltaWarehouse(tmp_path)
    keys = where("a", days(1, 4))
    mine.replace(FORECAST_METADATA, metadata("a", days(1, 1)), keys)
    since = mine.version(FORECAST_METADATA)
    other.replace(FORECAST_METADATA, metadata("a", days(2, 2)), where("a", days(2, 2)))
    with pytest.raises(LostRaceError, match="since it was read"):
        mine.replace(FORECAST_METADATA, metadata("a", days(1, 1), 2.0), keys, since)
    found = mine.read(FORECAST_METADATA, ["forecast_date"])["forecast_date"].to_pylist()
    assert sorted(found) == days(1, 2)
    since = mine.version(FORECAST_METADATA)
    other.replace(FORECAST_METADATA, metadata("b", days(2, 2)), where("b", days(2, 2)))
    mine.replace(FORECAST_METADATA, metadata("a", days(1, 1), 2.0), keys, since)  # other keys are no race


@pytest.mark.parametrize("more", [0, 1, 2])
@pytest.mark.parametrize("restored", [1, 2])
def test_a_table_that_another_was_put_in_the_place_of_is_read_anew(tmp_path: Path, restored: int, more: int) -> None:
    """As by a restore while somebody reads: of fewer, as many or more versions than the one that was read before."""
    mine, other = DeltaWarehouse(tmp_path / "mine"), DeltaWarehouse(tmp_path / "other")
    for month in (1, 2):
        keys = where("a", days(month, month))
        mine.replace(FORECAST_METADATA, metadata("a", days(month, month), 1.0), keys)
    assert mine.read(FORECAST_METADATA).num_rows == 2
    for month in range(1, restored + 1):
        other.replace(FORECAST_METADATA, metadata("a", days(month, month), 2.0), where("a", days(month, month)))
    mine.path(FORECAST_METADATA).rename(tmp_path / "aside")
    shutil.copytree(other.path(FORECAST_METADATA), mine.path(FORECAST_METADATA))
    writer = DeltaWarehouse(tmp_path / "mine")
    for day in range(3, 3 + more):
        writer.replace(FORECAST_METADATA, metadata("b", days(day, day), 3.0), where("b", days(day, day)))
    order = [("model_name", "ascending"), ("forecast_date", "ascending")]
    assert mine.read(FORECAST_METADATA).sort_by(order) == writer.read(FORECAST_METADATA).sort_by(order)
    assert mine.rows(FORECAST_METADATA) == restored + more


def test_two_writers_that_each_add_a_row_to_what_they_read_keep_both(tmp_path: Path) -> None:
    """A thread a writer, each with a warehouse of its own: 24 rows where a last writer that wins left fewer."""
    keys = {"commodity": "Coffee", "model_name": "a"}

    def add(number: int) -> None:
        warehouse = DeltaWarehouse(tmp_path)
        for day in range(12):
            row = metadata("a", [dt.date(2020, 1 + number, 1 + day)])
            revise(warehouse, FORECAST_METADATA, keys, lambda there, row=row: (pa.concat_tables([there, row]), keys))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add, range(2)))
    assert DeltaWarehouse(tmp_path).rows(FORECAST_METADATA) == 24


def test_a_fitted_models_text_is_not_copied_into_the_log(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    text = "0123456789" * 20_000
    values = {"string": "a", "date": dt.date(2020, 1, 1), "int": 1, "float": 1.0, "bool": True}
    values["timestamp"] = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    row = {column.name: values[column.type] for column in TRAINED_MODELS.columns}
    row |= {"fitted_model_json": text, "parameters": text}
    schema = TRAINED_MODELS.arrow_schema()
    warehouse.replace(TRAINED_MODELS, pa.Table.from_pylist([row], schema), {"commodity": "a", "model_name": "a"})
    entry = warehouse.path(TRAINED_MODELS) / "_delta_log" / f"{1:020d}.json"
    assert len(entry.read_bytes()) < 10_000
    assert warehouse.read(TRAINED_MODELS).to_pylist() == [row]


def test_tables_that_were_let_go_of_are_held_by_nothing_and_opened_anew(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    opened = warehouse._table(FORECAST_METADATA)
    assert opened is not None
    held = weakref.ref(opened)
    del opened
    warehouse.let_go()
    assert held() is None
    assert warehouse.read(FORECAST_METADATA).num_rows == 2


@pytest.mark.parametrize("how", ["replaced by nothing", "deleted by delta-rs, as earlier versions did"])
def test_what_a_removal_leaves_of_a_file_is_read_by_any_column(tmp_path: Path, how: str) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    rows = metadata("a", days(1, 4))
    ids = pa.array([f"model {day}" for day in (1, 2, 3, 3)])
    rows = rows.set_column(rows.schema.get_field_index("model_id"), "model_id", ids)
    warehouse.replace(FORECAST_METADATA, rows, where("a", days(1, 4)))
    table = warehouse.read(FORECAST_METADATA)
    if how.startswith("replaced"):
        warehouse.replace(FORECAST_METADATA, rows.slice(0, 0), where("a", days(1, 1)))
    else:
        DeltaTable(str(warehouse.path(FORECAST_METADATA))).delete("forecast_date = DATE '2020-01-01'")
    texts = [
        name for name in table.column_names
        if pa.types.is_string(table.schema.field(name).type) and name not in FORECAST_METADATA.partition_by
    ]  # fmt: skip
    assert "model_id" in texts
    left = warehouse.read(FORECAST_METADATA)
    assert 0 < left.num_rows < rows.num_rows
    for name in texts:
        for value in set(left[name].to_pylist()) - {None}:
            found = warehouse.read(FORECAST_METADATA, ["forecast_date"], {name: value})
            wanted = left.filter(pc.equal(left[name], value))["forecast_date"]
            assert sorted(found["forecast_date"].to_pylist()) == sorted(wanted.to_pylist()), name
            among = warehouse.read(FORECAST_METADATA, ["forecast_date"], {name: [value]})
            assert among.num_rows == found.num_rows
            batches = [*warehouse.batches(FORECAST_METADATA, [name, "forecast_date"], {name: value})]
            assert [one for batch in batches for one in batch[name].to_pylist()] == [value] * found.num_rows
