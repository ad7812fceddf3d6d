"""Many rows of new keys are written as files and added by one commit, with what every other write promises."""

from __future__ import annotations

import datetime as dt
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.warehouse import delta, new_files
from forecast_platform.warehouse.base import DiskFullError, keys_of
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.new_files import NewFiles, parts
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.rows import distributions_table

DAYS = [dt.date(2018, 1, 30) + dt.timedelta(days=number) for number in range(4)]
PATHS = 50
MADE = dt.datetime(2018, 2, 3, 12, tzinfo=dt.timezone.utc)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "FROM_ROWS", PATHS)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each time that files were added."""
    times: list[int] = []
    add = NewFiles.add_to

    def counted(self: NewFiles, *given: Any) -> None:
        times.append(1)
        add(self, *given)

    monkeypatch.setattr(NewFiles, "add_to", counted)
    return times


def _rows(value: float, series: str = "Coffee", days: list[dt.date] = DAYS) -> pa.Table:
    paths = np.full((len(days), PATHS, 14), value, np.float32) + np.arange(PATHS, dtype=np.float32)[:, None]
    per_date = {
        "input_hash": [f"{day:%j}" for day in days],
        "last_observed_date": [day - dt.timedelta(days=1) for day in days],
        "staleness_days": [0] * len(days),
        "is_backfill": [True] * len(days),
    }
    return distributions_table(
        paths,
        np.array(days, "datetime64[D]"),
        per_date,
        commodity=series,
        model_name="naive",
        model_version="v1.0",
        training_cutoff_date=dt.date(2017, 12, 31),
        generation_timestamp=MADE,
        has_data_leakage=False,
        model_id="m",
        algorithm_version=None,
    )


def _where(series: str = "Coffee", days: list[dt.date] = DAYS) -> dict[str, Any]:
    return keys_of(series, "naive", "v1.0", days, by_month=True)


def _values(warehouse: DeltaWarehouse, series: str = "Coffee") -> list[float]:
    """day_1 of each path, in order; each key is there once."""
    rows = warehouse.read(DISTRIBUTIONS, where={"commodity": series}).sort_by(
        [("forecast_date", "ascending"), ("path_id", "ascending")]
    )
    keys = list(zip(rows["forecast_date"].to_pylist(), rows["path_id"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys)
    return list(rows["day_1"].to_pylist())


def _on_disk(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*.parquet") if delta.LOG not in path.parts}


def _of_table(warehouse: DeltaWarehouse) -> set[str]:
    return {name.rsplit("/", 1)[-1] for name in warehouse.files(DISTRIBUTIONS)}


def test_rows_are_read_as_if_delta_rs_had_written_them(
    tmp_path: Path, added: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = DeltaWarehouse(tmp_path / "ours"), DeltaWarehouse(tmp_path / "theirs")
    ours.replace(DISTRIBUTIONS, _rows(1.0), _where())
    assert len(added) == 1
    monkeypatch.setattr(delta, "FROM_ROWS", 10**9)
    theirs.replace(DISTRIBUTIONS, _rows(1.0), _where())
    assert len(added) == 1
    order = [("forecast_date", "ascending"), ("path_id", "ascending")]
    assert ours.read(DISTRIBUTIONS).sort_by(order).equals(theirs.read(DISTRIBUTIONS).sort_by(order))
    assert ours.rows(DISTRIBUTIONS) == theirs.rows(DISTRIBUTIONS) == len(DAYS) * PATHS
    tables = [DeltaTable(str(warehouse.path(DISTRIBUTIONS))) for warehouse in (ours, theirs)]
    listed = [pa.table(table.get_add_actions(flatten=True)).sort_by("partition.forecast_month") for table in tables]
    own = ["num_records", *(name for name in listed[0].column_names if name.startswith(("partition.", "null_count.")))]
    ends = [name for name in listed[0].column_names if name.startswith(("min.", "max."))]
    told = [name for name in ends if listed[0][name].null_count == 0]
    assert {"min.forecast_date", "max.forecast_date", "min.path_id", "max.path_id"} <= set(told)
    for name in (*own, *told):
        assert listed[0][name].to_pylist() == listed[1][name].to_pylist(), name
    schemas = [
        {path.parent.name: pq.ParquetFile(path).schema for path in warehouse.path(DISTRIBUTIONS).rglob("*.parquet")}
        for warehouse in (ours, theirs)
    ]
    for month, schema in schemas[0].items():
        found, expected = schema.to_arrow_schema(), schemas[1][month].to_arrow_schema()
        assert [(one.name, one.type) for one in found] == [(one.name, one.type) for one in expected]
        nulls = {one.name for one in found if one.nullable}
        assert nulls == {"algorithm_version"}, "the others say of themselves that they have none"


def test_files_that_have_no_nulls_stand_beside_those_that_may_have_some(tmp_path: Path, added: list[int]) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    for name in ("Coffee", "Sugar"):
        warehouse.replace(DISTRIBUTIONS, _rows(1.0, name), _where(name))
    assert len(added) == 2
    rows = _rows(3.0, days=DAYS[:1])
    for name in ("day_14", "model_id"):
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.nulls(rows.num_rows, field.type))
    warehouse.replace(DISTRIBUTIONS, rows, _where(days=DAYS[:1]))  # delta-rs joins them to what it leaves of the month
    assert len(added) == 2
    days = warehouse.read(DISTRIBUTIONS, ["day_14", "model_id"], {"commodity": "Coffee", "forecast_month": "2018-01"})
    assert [days[name].null_count for name in days.column_names] == [PATHS, PATHS]
    table = DeltaTable(str(warehouse.path(DISTRIBUTIONS)))
    table.optimize.compact()
    table.delete("commodity = 'Sugar' AND path_id > 9")
    assert _values(warehouse)[::PATHS] == [3.0, 1.0, 1.0, 1.0]
    assert len(_values(warehouse, "Sugar")) == len(DAYS) * 10


def test_what_is_there_is_replaced_by_delta_rs(tmp_path: Path, added: list[int]) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(DISTRIBUTIONS, _rows(1.0), _where())
    warehouse.replace(DISTRIBUTIONS, _rows(9.0, days=DAYS[1:3]), _where(days=DAYS[1:3]))
    assert len(added) == 1
    assert _values(warehouse)[::PATHS] == [1.0, 9.0, 9.0, 1.0]


@pytest.mark.parametrize("series", ["Robusta Coffee", "Öl"])
def test_a_name_that_a_path_cannot_hold_as_it_is_is_left_to_delta_rs(
    tmp_path: Path, added: list[int], series: str
) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(DISTRIBUTIONS, _rows(1.0, series), _where(series))
    assert not added
    assert len(_values(warehouse, series)) == len(DAYS) * PATHS


def test_partitions_whose_rows_do_not_lie_together_are_no_parts() -> None:
    rows = _rows(1.0)
    assert (
        parts(rows, DISTRIBUTIONS.partition_by, _where())
        == parts(rows, DISTRIBUTIONS.partition_by, {})
        == [
            ({**_partition(), "forecast_month": "2018-01"}, 0, 2 * PATHS),
            ({**_partition(), "forecast_month": "2018-02"}, 2 * PATHS, 2 * PATHS),
        ]
    )
    mixed = pa.concat_tables([rows, rows.slice(0, PATHS)])
    assert parts(mixed, DISTRIBUTIONS.partition_by, {}) is None
    assert parts(rows.slice(0, 0), DISTRIBUTIONS.partition_by, {}) is None
    assert parts(rows, (), {}) is None


def _partition() -> dict[str, str]:
    return {"commodity": "Coffee", "model_name": "naive", "model_version": "v1.0"}


def _meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """`act` comes in between, when the files are written and not yet added, once."""
    add, done = NewFiles.add_to, list[int]()

    def late(self: NewFiles, *given: Any) -> None:
        if not done:
            done.append(1)
            act()
        add(self, *given)

    monkeypatch.setattr(NewFiles, "add_to", late)


def test_another_commit_of_other_keys_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse, other = DeltaWarehouse(tmp_path), DeltaWarehouse(tmp_path)
    _meanwhile(monkeypatch, lambda: other.replace(DISTRIBUTIONS, _rows(2.0, "Sugar"), _where("Sugar")) and None)
    warehouse.replace(DISTRIBUTIONS, _rows(1.0), _where())
    assert set(_values(warehouse)[::PATHS]) == {1.0}
    assert set(_values(warehouse, "Sugar")[::PATHS]) == {2.0}
    assert _on_disk(warehouse.path(DISTRIBUTIONS)) == _of_table(warehouse)


def test_another_commit_of_the_same_keys_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse, other = DeltaWarehouse(tmp_path), DeltaWarehouse(tmp_path)
    _meanwhile(monkeypatch, lambda: other.replace(DISTRIBUTIONS, _rows(2.0), _where()) and None)
    warehouse.replace(DISTRIBUTIONS, _rows(1.0), _where())
    assert set(_values(warehouse)[::PATHS]) == {1.0}
    replaced = _on_disk(warehouse.path(DISTRIBUTIONS)) - _of_table(warehouse)
    assert len(replaced) == 2, "the other's two files: none of those that were written for nothing is left"


def test_many_writers_of_the_same_and_of_other_keys_leave_each_key_once(tmp_path: Path) -> None:
    DeltaWarehouse(tmp_path).create(DISTRIBUTIONS)
    failed: list[BaseException] = []

    def write(number: int) -> None:
        series = ("Coffee", "Sugar")[number % 2]
        try:
            DeltaWarehouse(tmp_path).replace(DISTRIBUTIONS, _rows(1000.0 * number, series), _where(series))
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert not failed
    warehouse = DeltaWarehouse(tmp_path)
    for series, numbers in (("Coffee", {2, 4, 6, 8}), ("Sugar", {1, 3, 5, 7})):
        found = _values(warehouse, series)
        assert len(found) == len(DAYS) * PATHS
        [number] = {int(value // 1000) for value in found}
        assert number in numbers


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.create(DISTRIBUTIONS)
    write = pq.write_table

    def second_fails(rows: pa.Table, path: Path, **options: Any) -> None:
        write(rows, path, **options)
        if "2018-02" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(pq, "write_table", second_fails)
    with pytest.raises(DiskFullError, match="nothing of it was kept"):
        warehouse.replace(DISTRIBUTIONS, _rows(1.0), _where())
    assert not _on_disk(warehouse.path(DISTRIBUTIONS))
    assert warehouse.version(DISTRIBUTIONS) == 0


def test_files_that_were_added_stay_whatever_fails_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    add = DeltaTable.create_write_transaction

    def then_fails(self: DeltaTable, *given: Any, **more: Any) -> None:
        add(self, *given, **more)
        raise OSError(errno.EIO, "the checkpoint could not be written")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", then_fails)
    with pytest.raises(DiskFullError):
        warehouse.replace(DISTRIBUTIONS, _rows(1.0), _where())
    assert len(_values(DeltaWarehouse(tmp_path))) == len(DAYS) * PATHS


def test_checkpoints_are_made_and_the_journal_knows_each_file(tmp_path: Path, added: list[int]) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    for number in range(20):
        series = f"S{number}"
        warehouse.replace(DISTRIBUTIONS, _rows(1.0, series, DAYS[:1]), _where(series, DAYS[:1]))
    assert len(added) == 20
    assert list((warehouse.path(DISTRIBUTIONS) / delta.LOG).glob("*.checkpoint.parquet"))
    known = {Path(name).name for name in warehouse.journal.prints(DISTRIBUTIONS.name)}
    assert _of_table(warehouse) <= known
    columns = pq.ParquetFile(warehouse.files(DISTRIBUTIONS)[0]).metadata.row_group(0)
    coded = {columns.column(at).path_in_schema for at in range(columns.num_columns) if columns.column(at).statistics}
    assert not coded & set(day_columns(14))
    assert {"forecast_date", "path_id"} <= coded
    assert new_files.FROM_ROWS > PATHS
