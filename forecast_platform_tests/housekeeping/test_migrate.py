"""Tables of an earlier version are brought up to date in place; what cannot be is refused before anything is done."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.migrate import migrate, plan
from forecast_platform.warehouse.base import WarehouseError
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import FORECAST_RUNS, POINT_FORECASTS, TABLES, Column, Table
from forecast_platform.work.platform import Platform


def _newer(table: Table, *columns: Column) -> Table:
    return replace(table, columns=(*table.columns, *columns))


NOTE = Column("note", "string", "A remark.")
FLAG = Column("is_revised", "bool", "Made again.", nullable=False)


def _tables(warehouse: DeltaWarehouse) -> dict[str, pa.Table]:
    return {table.name: warehouse.read(table) for table in TABLES}


def test_tables_of_this_version_need_nothing(platform: Platform) -> None:
    assert plan(platform.warehouse) == []
    assert migrate(platform.warehouse) == 0


def test_a_nullable_column_is_added_and_every_row_is_kept(platform: Platform) -> None:
    newer = _newer(POINT_FORECASTS, NOTE)
    before = platform.warehouse.read(POINT_FORECASTS)
    said: list[str] = []
    assert migrate(platform.warehouse, [newer], say=said.append) == 1
    assert said == ["commodity.forecast.point_forecasts: added note (string)"]
    after = DeltaWarehouse(platform.warehouse.root).read(newer)
    assert after["note"].null_count == after.num_rows == before.num_rows
    order = [(name, "ascending") for name in newer.key]
    assert after.drop(["note"]).sort_by(order).equals(before.sort_by(order))


def test_a_second_migration_does_nothing(platform: Platform) -> None:
    newer = _newer(POINT_FORECASTS, NOTE)
    migrate(platform.warehouse, [newer])
    version = DeltaTable(str(platform.warehouse.path(newer))).version()
    assert migrate(platform.warehouse, [newer]) == 0
    assert DeltaTable(str(platform.warehouse.path(newer))).version() == version


def test_a_column_that_must_not_be_null_gets_its_default_in_one_commit(platform: Platform) -> None:
    newer = _newer(POINT_FORECASTS, FLAG)
    before = platform.warehouse.read(POINT_FORECASTS)
    version = platform.warehouse.version(POINT_FORECASTS)
    assert migrate(platform.warehouse, [newer], {("point_forecasts", "is_revised"): False}) == 1
    warehouse = DeltaWarehouse(platform.warehouse.root)
    after = warehouse.read(newer)
    assert after["is_revised"].to_pylist() == [False] * before.num_rows
    assert warehouse.version(newer) == version + 1
    assert set(DeltaTable(str(warehouse.path(newer))).metadata().partition_columns) == set(newer.partition_by)


def test_a_migrated_table_takes_new_rows(platform: Platform) -> None:
    newer = _newer(FORECAST_RUNS, NOTE, FLAG)
    migrate(platform.warehouse, [newer], {("forecast_runs", "is_revised"): True})
    warehouse = DeltaWarehouse(platform.warehouse.root)
    row = warehouse.read(newer).slice(0, 1)
    day = row["forecast_date"][0].as_py()
    position = row.schema.get_field_index("note")
    changed = row.set_column(position, "note", pa.array(["late data"]))
    warehouse.replace(newer, changed, {"forecast_date": day})
    assert warehouse.read(newer, ["note"], {"forecast_date": day})["note"].to_pylist() == ["late data"]
    assert warehouse.rows(newer) == platform.warehouse.rows(FORECAST_RUNS)


def test_a_column_without_a_default_is_refused_and_no_table_is_touched(platform: Platform) -> None:
    tables = [_newer(FORECAST_RUNS, NOTE), _newer(POINT_FORECASTS, FLAG)]
    with pytest.raises(HousekeepingError, match="no table was touched") as found:
        migrate(platform.warehouse, tables)
    assert "column is_revised must not be null and has no default" in str(found.value)
    assert [one.table.short_name for one in plan(platform.warehouse, [_newer(FORECAST_RUNS, NOTE)])] == [
        "forecast_runs"
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            replace(FORECAST_RUNS, columns=tuple(c for c in FORECAST_RUNS.columns if c.name != "missing")),
            "written by a newer version of this package; upgrade",
        ),
        (
            replace(
                FORECAST_RUNS,
                columns=tuple(replace(c, type="string") if c.name == "n_series" else c for c in FORECAST_RUNS.columns),
            ),
            "column n_series is integer, this version wants string",
        ),
        (replace(FORECAST_RUNS, partition_by=("status",)), "partitioned by nothing, this version wants status"),
    ],
)
def test_what_cannot_be_migrated_is_named(platform: Platform, changed: Table, message: str) -> None:
    with pytest.raises(HousekeepingError, match=message):
        migrate(platform.warehouse, [changed])


def test_reading_a_column_of_a_later_version_names_the_command(platform: Platform) -> None:
    newer = _newer(POINT_FORECASTS, NOTE)
    for columns in (None, ["note"]):
        with pytest.raises(WarehouseError, match=r"no column note.*run `forecast-platform migrate`"):
            platform.warehouse.read(newer, columns)
    assert platform.warehouse.read(newer, ["commodity"]).num_rows == platform.warehouse.rows(POINT_FORECASTS)


def test_writing_to_a_table_of_an_earlier_version_names_the_command(platform: Platform) -> None:
    newer = _newer(FORECAST_RUNS, NOTE)
    rows = platform.warehouse.read(FORECAST_RUNS).slice(0, 1)
    day = rows["forecast_date"][0].as_py()
    rows = rows.append_column("note", pa.array(["x"]))
    with pytest.raises(WarehouseError, match="run `forecast-platform migrate`"):
        platform.warehouse.replace(newer, rows, {"forecast_date": day})
