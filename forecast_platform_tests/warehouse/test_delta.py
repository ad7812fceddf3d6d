"""The warehouse contract: what any implementation must do, run over the embedded one."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from pathlib import Path

import pyarrow as pa
import pytest

from forecast_platform.warehouse.base import Between, DiskFullError, WarehouseError, keys_of, months_between
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import CHAMPIONS, FORECAST_METADATA, TABLES, UNIFIED_DATA


def metadata(model: str, days: list[dt.date], crps: float = 1.0) -> pa.Table:
    rows = [
        {
            "commodity": "Coffee",
            "model_name": model,
            "model_version": "v1.0",
            "forecast_date": day,
            "crps_14d": crps,
            "actuals_available": 0,
            "has_data_leakage": False,
            "model_success": True,
        }
        for day in days
    ]
    return pa.Table.from_pylist(rows, schema=FORECAST_METADATA.arrow_schema())


def days(first: int, last: int) -> list[dt.date]:
    return [dt.date(2020, 1, day) for day in range(first, last + 1)]


def where(model: str, chosen: list[dt.date]) -> dict[str, object]:
    return keys_of("Coffee", model, "v1.0", chosen, by_month=False)


def test_reading_a_table_that_does_not_exist_gives_no_rows_with_its_schema(tmp_path: Path) -> None:
    rows = DeltaWarehouse(tmp_path).read(CHAMPIONS)
    assert rows.num_rows == 0
    assert rows.schema.equals(CHAMPIONS.arrow_schema())


def test_replace_touches_exactly_the_keys_it_names(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 10)), where("a", days(1, 10)))
    warehouse.replace(FORECAST_METADATA, metadata("b", days(1, 10)), where("b", days(1, 10)))
    warehouse.replace(FORECAST_METADATA, metadata("a", days(3, 5), 9.0), where("a", days(3, 5)))
    rows = warehouse.read(FORECAST_METADATA).to_pylist()
    assert len(rows) == 20
    changed = {(row["model_name"], row["forecast_date"]) for row in rows if row["crps_14d"] == 9.0}
    assert changed == {("a", day) for day in days(3, 5)}


def test_replacing_by_nothing_deletes(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 4)), where("a", days(1, 4)))
    warehouse.replace(FORECAST_METADATA, metadata("a", []), where("a", days(2, 3)))
    left = warehouse.read(FORECAST_METADATA, ["forecast_date"])["forecast_date"].to_pylist()
    assert sorted(left) == [dt.date(2020, 1, 1), dt.date(2020, 1, 4)]
    assert warehouse.rows(FORECAST_METADATA) == 2


def test_rows_outside_the_predicate_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    with pytest.raises(WarehouseError, match="2 rows lie outside the keys to replace"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 4)), where("a", days(1, 2)))
    assert warehouse.rows(FORECAST_METADATA) == 2
    assert warehouse.version(FORECAST_METADATA) == 1


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    rows = pa.concat_tables([metadata("a", days(1, 1)), metadata("a", days(1, 1))])
    with pytest.raises(WarehouseError, match="1 rows repeat a key"):
        DeltaWarehouse(tmp_path).replace(FORECAST_METADATA, rows, where("a", days(1, 1)))


def test_a_wrong_schema_is_refused_with_the_columns(tmp_path: Path) -> None:
    rows = metadata("a", days(1, 1)).drop_columns(["crps_14d"]).append_column("crps_15d", pa.array([1.0]))
    with pytest.raises(WarehouseError, match=r"missing \['crps_14d'\], unknown \['crps_15d'\]"):
        DeltaWarehouse(tmp_path).replace(FORECAST_METADATA, rows, where("a", days(1, 1)))


def test_null_where_a_value_is_needed_is_refused(tmp_path: Path) -> None:
    rows = metadata("a", days(1, 1))
    position = rows.schema.get_field_index("model_success")
    rows = rows.set_column(position, "model_success", pa.array([None], pa.bool_()))
    with pytest.raises(WarehouseError, match="model_success must not be null"):
        DeltaWarehouse(tmp_path).replace(FORECAST_METADATA, rows, where("a", days(1, 1)))


def test_a_write_must_name_its_keys(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="must name the keys"):
        DeltaWarehouse(tmp_path).replace(FORECAST_METADATA, metadata("a", days(1, 1)), {})


def test_an_unknown_column_in_a_read_is_named(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    with pytest.raises(WarehouseError, match="no column nonsense"):
        warehouse.read(FORECAST_METADATA, ["nonsense"])


def test_reads_filter_by_partition_range_and_list(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    for model in ("a", "b"):
        warehouse.replace(FORECAST_METADATA, metadata(model, days(1, 9)), where(model, days(1, 9)))
    part = {
        "commodity": "Coffee",
        "model_name": ["a"],
        "forecast_date": Between(dt.date(2020, 1, 4), dt.date(2020, 1, 6)),
    }
    assert warehouse.read(FORECAST_METADATA, where=part).num_rows == 3
    assert warehouse.read(FORECAST_METADATA, where={"forecast_date": days(1, 2)}).num_rows == 4
    assert warehouse.read(FORECAST_METADATA, where={"commodity": "Sugar"}).num_rows == 0


def test_unified_data_takes_declared_covariates_and_keeps_older_rows(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path)
    base = {
        "commodity": "Coffee",
        "is_trading_day": True,
        "is_observed": True,
        "is_roll_day": False,
        "close": 1.0,
        "filled_columns": "",
    }
    first = pa.Table.from_pylist([{**base, "date": dt.date(2020, 1, 1)}], schema=UNIFIED_DATA.arrow_schema())
    warehouse.replace(UNIFIED_DATA, first, {"commodity": "Coffee", "date": dt.date(2020, 1, 1)})
    schema = UNIFIED_DATA.arrow_schema(("usd_brl",))
    second = pa.Table.from_pylist([{**base, "date": dt.date(2020, 1, 2), "usd_brl": 4.0}], schema=schema)
    warehouse.replace(UNIFIED_DATA, second, {"commodity": "Coffee", "date": dt.date(2020, 1, 2)})
    rows = warehouse.read(UNIFIED_DATA, ["date", "usd_brl"]).sort_by("date").to_pylist()
    assert [row["usd_brl"] for row in rows] == [None, 4.0]


def test_a_disk_without_room_stops_the_write_and_says_so(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path, min_free_gb=1e9)
    with pytest.raises(DiskFullError, match="min_free_gb"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    assert warehouse.version(FORECAST_METADATA) is None


def _write(root: str, model: str, chosen: list[dt.date]) -> None:
    warehouse = DeltaWarehouse(Path(root))
    for day in chosen:
        warehouse.replace(FORECAST_METADATA, metadata(model, [day]), where(model, [day]))


@pytest.mark.parametrize("models", [("a", "b"), ("a", "a")], ids=["different models", "one model"])
def test_two_processes_writing_at_once_lose_nothing(tmp_path: Path, models: tuple[str, str]) -> None:
    context = multiprocessing.get_context("spawn")
    spans = [days(1, 8), days(9, 16)]
    writers = [
        context.Process(target=_write, args=(str(tmp_path), model, span))
        for model, span in zip(models, spans, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    rows = DeltaWarehouse(tmp_path).read(FORECAST_METADATA, ["model_name", "forecast_date"]).to_pylist()
    expected = [(model, day) for model, span in zip(models, spans, strict=True) for day in span]
    assert sorted((row["model_name"], row["forecast_date"]) for row in rows) == sorted(expected)


def test_months_between_names_every_month_touched() -> None:
    assert months_between(dt.date(2019, 11, 30), dt.date(2020, 2, 1)) == ["2019-11", "2019-12", "2020-01", "2020-02"]


def test_every_key_and_partition_column_is_in_its_schema() -> None:
    for table in TABLES:
        names = {column.name for column in table.columns}
        assert {*table.key, *table.partition_by} <= names
