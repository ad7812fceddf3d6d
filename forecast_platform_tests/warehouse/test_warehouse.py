"""The warehouse contract: what any implementation must do, run over both: a folder, and Unity Catalog tables (sail)."""

from __future__ import annotations

import datetime as dt
import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from forecast_platform.housekeeping.migrate import migrate
from forecast_platform.warehouse.base import Between, HorizonError, Warehouse, WarehouseError, Where, require_horizon
from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    TABLES,
    UNIFIED_DATA,
    Column,
    Table,
)
from forecast_platform_tests.waiting import PATIENCE
from forecast_platform_tests.warehouse.implementations import Make, days, metadata, plain, where, write_days


def test_reading_a_table_that_does_not_exist_gives_no_rows_with_its_schema(warehouse: Warehouse) -> None:
    rows = warehouse.read(CHAMPIONS)
    assert rows.num_rows == 0
    assert rows.schema.equals(CHAMPIONS.arrow_schema())
    assert warehouse.version(CHAMPIONS) is None
    assert warehouse.rows(CHAMPIONS) == 0


def test_replace_touches_exactly_the_keys_it_names(warehouse: Warehouse) -> None:
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 10)), where("a", days(1, 10)))
    warehouse.replace(FORECAST_METADATA, metadata("b", days(1, 10)), where("b", days(1, 10)))
    warehouse.replace(FORECAST_METADATA, metadata("a", days(3, 5), 9.0), where("a", days(3, 5)))
    rows = warehouse.read(FORECAST_METADATA).to_pylist()
    assert len(rows) == 20
    changed = {(row["model_name"], row["forecast_date"]) for row in rows if row["crps_14d"] == 9.0}
    assert changed == {("a", day) for day in days(3, 5)}


def test_the_horizon_is_kept_in_the_tables_and_another_one_is_refused(make: Make) -> None:
    longer = make.another(horizon=20)
    assert (longer.horizon, longer.stored_horizon()) == (20, None)
    schema = FORECAST_METADATA.at(20).arrow_schema()
    names = set(schema.names) & set(metadata("a", []).column_names)
    rows = metadata("a", days(1, 2)).select([name for name in schema.names if name in names]).to_pylist()
    longer.replace(FORECAST_METADATA, pa.Table.from_pylist(rows, schema=schema), where("a", days(1, 2)))
    longer.create(DISTRIBUTIONS)
    require_horizon(longer)
    assert {"crps_1d", "crps_7d", "crps_20d"} <= set(longer.read(FORECAST_METADATA).column_names)
    assert "day_20" in longer.read(DISTRIBUTIONS).column_names
    other = make.another()
    stored = other.stored_horizon()
    assert stored is not None
    assert stored[0] == 20
    told = "horizon is 14, but this warehouse holds forecasts of 20 days .*: set FORECAST_PLATFORM_HORIZON=20"
    with pytest.raises(HorizonError, match=told):
        require_horizon(other)
    with pytest.raises(HorizonError, match=told):
        other.read(DISTRIBUTIONS, ["path_id"])
    with pytest.raises(HorizonError, match=told):
        other.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    with pytest.raises(HorizonError, match=told):
        migrate(other)
    assert longer.rows(FORECAST_METADATA) == 2


def test_a_table_that_is_written_whole_has_the_columns_of_its_newest_rows(warehouse: Warehouse) -> None:
    def kept(rows: list[dict], *columns: Column) -> list[dict]:
        table = Table("commodity.forecast.rows_of_others", "", columns, (), (), open_columns=True, whole=True)
        warehouse.replace(table, pa.Table.from_pylist(rows), {})
        return warehouse.read(table).to_pylist()

    first = [{"id": 2**62, "kind": "a", "x": 0.5}]
    assert kept(first, Column("id", "long", ""), Column("kind", "string", "")) == first
    other = [{"kind": 1.5, "new": "b"}, {"kind": 2.5, "new": None}]
    found = kept(other, Column("kind", "float", ""), Column("new", "string", ""))
    assert sorted(found, key=lambda row: row["kind"]) == other
    assert kept(other[:1], Column("kind", "float", ""), Column("new", "string", "")) == other[:1]


def test_replacing_by_nothing_deletes(warehouse: Warehouse) -> None:
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 4)), where("a", days(1, 4)))
    warehouse.replace(FORECAST_METADATA, metadata("a", []), where("a", days(2, 3)))
    left = warehouse.read(FORECAST_METADATA, ["forecast_date"])["forecast_date"].to_pylist()
    assert sorted(left) == [dt.date(2020, 1, 1), dt.date(2020, 1, 4)]
    assert warehouse.rows(FORECAST_METADATA) == 2


def test_each_write_is_one_version(warehouse: Warehouse) -> None:
    first = warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 4)), where("a", days(1, 4)))
    second = warehouse.replace(FORECAST_METADATA, metadata("a", days(2, 3)), where("a", days(2, 3)))
    assert (first, second) == (1, 2)
    assert warehouse.version(FORECAST_METADATA) == 2


def test_rows_outside_the_predicate_are_refused_and_nothing_is_written(warehouse: Warehouse) -> None:
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    with pytest.raises(WarehouseError, match="2 rows lie outside the keys to replace"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 4)), where("a", days(1, 2)))
    assert warehouse.rows(FORECAST_METADATA) == 2
    assert warehouse.version(FORECAST_METADATA) == 1


def test_a_repeated_key_is_refused(warehouse: Warehouse) -> None:
    rows = pa.concat_tables([metadata("a", days(1, 1)), metadata("a", days(1, 1))])
    with pytest.raises(WarehouseError, match="1 rows repeat a key"):
        warehouse.replace(FORECAST_METADATA, rows, where("a", days(1, 1)))


def test_a_wrong_schema_is_refused_with_the_columns(warehouse: Warehouse) -> None:
    rows = metadata("a", days(1, 1)).drop_columns(["crps_14d"]).append_column("crps_15d", pa.array([1.0]))
    with pytest.raises(WarehouseError, match=r"missing \['crps_14d'\], unknown \['crps_15d'\]"):
        warehouse.replace(FORECAST_METADATA, rows, where("a", days(1, 1)))


def test_null_where_a_value_is_needed_is_refused(warehouse: Warehouse) -> None:
    rows = metadata("a", days(1, 1))
    position = rows.schema.get_field_index("model_success")
    rows = rows.set_column(position, "model_success", pa.array([None], pa.bool_()))
    with pytest.raises(WarehouseError, match="model_success must not be null"):
        warehouse.replace(FORECAST_METADATA, rows, where("a", days(1, 1)))


def test_a_write_must_name_its_keys(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="must name the keys"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), {})


def test_a_table_without_partitions_can_be_replaced_as_a_whole(warehouse: Warehouse) -> None:
    warehouse.replace(FORECAST_RUNS, plain(FORECAST_RUNS, {"forecast_date": dt.date(2020, 1, 1)}), {})
    warehouse.replace(FORECAST_RUNS, plain(FORECAST_RUNS, {"forecast_date": dt.date(2020, 1, 2)}), {})
    assert warehouse.read(FORECAST_RUNS, ["forecast_date"])["forecast_date"].to_pylist() == [dt.date(2020, 1, 2)]
    warehouse.replace(FORECAST_RUNS, FORECAST_RUNS.arrow_schema().empty_table(), {})
    assert warehouse.rows(FORECAST_RUNS) == 0


def test_an_unknown_column_in_a_read_is_named(warehouse: Warehouse) -> None:
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    with pytest.raises(WarehouseError, match="no column nonsense"):
        warehouse.read(FORECAST_METADATA, ["nonsense"])


def test_reads_filter_by_partition_range_and_list(warehouse: Warehouse) -> None:
    for model in ("a", "b"):
        warehouse.replace(FORECAST_METADATA, metadata(model, days(1, 9)), where(model, days(1, 9)))
    part = {
        "commodity": "Coffee",
        "model_name": ["a"],
        "forecast_date": Between(dt.date(2020, 1, 4), dt.date(2020, 1, 6)),
    }
    assert warehouse.read(FORECAST_METADATA, where=part).num_rows == 3
    assert warehouse.read(FORECAST_METADATA, where={"forecast_date": days(1, 2)}).num_rows == 4
    assert warehouse.read(FORECAST_METADATA, where={"crps_14d": 1.0, "model_success": True}).num_rows == 18
    assert warehouse.read(FORECAST_METADATA, where={"forecast_date": []}).num_rows == 0
    none = warehouse.read(FORECAST_METADATA, ["forecast_date", "crps_14d"], {"commodity": "Sugar"})
    assert none.num_rows == 0
    assert none.schema.equals(pa.schema([FORECAST_METADATA.arrow_schema().field(n) for n in none.schema.names]))


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"model_name": ["a", "c"]},
        {"model_name": "b", "forecast_date": Between(dt.date(2020, 1, 2), dt.date(2020, 1, 2))},
        {"desk": "oil"},
        {"desk": ["gas", "oil"], "model_name": ["a", "b"]},
        {"model_name": []},
    ],
)
def test_batches_hold_what_a_read_gives(make: Make, warehouse: Warehouse, part: Where) -> None:
    names = ["forecast_date", "desk", "model_name", "crps_14d"]
    assert not list(warehouse.batches(FORECAST_METADATA, names[:1], {}))
    later = replace(FORECAST_METADATA, columns=(*FORECAST_METADATA.columns, Column("desk", "string", "Later.")))
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 3)), where("a", days(1, 3)))
    migrate(make.another(), [later])
    for model, desk in (("b", "oil"), ("c", "gas")):
        told = metadata(model, days(1, 3), 0.1).append_column("desk", pa.array([desk] * 3))
        make.another().replace(later, told, where(model, days(1, 3)))
    rows = warehouse.read(FORECAST_METADATA, names, part)
    batches = warehouse.batches(FORECAST_METADATA, names, part)
    found = pa.concat_tables(
        [rows.slice(0, 0), *(pa.Table.from_batches([batch]).cast(rows.schema) for batch in batches)]
    )
    order = [("model_name", "ascending"), ("forecast_date", "ascending")]
    assert found.sort_by(order).equals(rows.sort_by(order))
    names = [batch["model_name"].to_pylist() for batch in warehouse.batches(FORECAST_METADATA, ["model_name"], {})]
    assert sorted(name for batch in names for name in batch) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    with pytest.raises(WarehouseError, match="no column nonsense"):
        list(warehouse.batches(FORECAST_METADATA, ["nonsense"], {}))


def test_text_and_times_come_back_as_they_were_and_can_be_asked_for(warehouse: Warehouse) -> None:
    odd = 'it\'s a \\ "quote" -- 100% ☕'
    moments = [dt.datetime(2020, 3, 29, 1, 30, 0, n, tzinfo=dt.timezone.utc) for n in (123456, 123457)]
    rows = pa.concat_tables([plain(CHAMPIONS, {"commodity": odd, "valid_from": one, "why": odd}) for one in moments])
    warehouse.replace(CHAMPIONS, rows, {"commodity": odd})
    elsewhere = moments[1].astimezone(dt.timezone(dt.timedelta(hours=-7)))
    [found] = warehouse.read(CHAMPIONS, where={"commodity": odd, "valid_from": elsewhere}).to_pylist()
    assert (found["valid_from"], found["why"]) == (moments[1], odd)
    assert warehouse.read(CHAMPIONS, where={"commodity": odd, "valid_from": Between(*moments)}).num_rows == 2
    nothing = CHAMPIONS.arrow_schema().empty_table()
    warehouse.replace(CHAMPIONS, nothing, {"commodity": odd, "valid_from": moments[0]})
    assert warehouse.read(CHAMPIONS, ["valid_from"])["valid_from"].to_pylist() == [moments[1]]


def test_numbers_keep_their_bits(warehouse: Warehouse) -> None:
    values = [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, math.nan, None]
    paths = pa.concat_tables(
        [plain(DISTRIBUTIONS, {"path_id": number, "day_1": value}) for number, value in enumerate(values)]
    )
    keys = {"commodity": "x", "model_name": "x", "model_version": "x", "forecast_month": "x"}
    warehouse.replace(DISTRIBUTIONS, paths, keys)
    found = warehouse.read(DISTRIBUTIONS, where=keys).sort_by("path_id").combine_chunks()
    assert found.schema.equals(DISTRIBUTIONS.arrow_schema())
    # As text, because 0.0 equals -0.0. A missing number is null.
    expected = [None if value is not None and math.isnan(value) else value for value in paths["day_1"].to_pylist()]
    assert [repr(value) for value in found["day_1"].to_pylist()] == [repr(value) for value in expected]


def test_rows_are_not_replaced_by_what_may_be_null_or_is_no_whole_number(warehouse: Warehouse) -> None:
    for name, value in (("crps_14d", 1.0), ("error", "x"), ("nonsense", 1)):
        with pytest.raises(WarehouseError, match=f"cannot name its rows by {name}"):
            warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), {"commodity": "Coffee", name: value})
    assert warehouse.version(FORECAST_METADATA) is None


def test_a_missing_number_is_stored_as_null_and_refused_where_there_must_be_one(warehouse: Warehouse) -> None:
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1), math.nan), where("a", days(1, 1)))
    assert warehouse.read(FORECAST_METADATA, ["crps_14d"])["crps_14d"].null_count == 1
    point = plain(POINT_FORECASTS, {"forecast_mean": math.nan})
    with pytest.raises(WarehouseError, match=r"forecast_mean must not be missing \(NaN\)"):
        warehouse.replace(POINT_FORECASTS, point, {"commodity": "x", "model_name": "x"})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("day_1", pa.array([1e39], pa.float64())),
        ("path_id", pa.array([2**31], pa.int64())),
        ("path_id", pa.array([0.5])),
        ("path_id", pa.array([math.inf])),
    ],
)
def test_a_number_that_does_not_fit_its_column_is_refused(warehouse: Warehouse, column: str, values: pa.Array) -> None:
    rows = plain(DISTRIBUTIONS, {})
    rows = rows.set_column(rows.schema.get_field_index(column), column, values)
    keys = {"commodity": "x", "model_name": "x", "model_version": "x", "forecast_month": "x"}
    with pytest.raises(WarehouseError, match=r"distributions: .*(fit|not in range|truncated|out of bounds)"):
        warehouse.replace(DISTRIBUTIONS, rows, keys)
    assert warehouse.version(DISTRIBUTIONS) is None


def test_every_column_that_rows_are_identified_by_is_there_and_no_float() -> None:
    for table in TABLES:
        kinds = {column.name: column for column in table.columns}
        for name in {*table.key, *table.partition_by}:
            assert not kinds[name].nullable, (table.name, name)
            assert not kinds[name].type.startswith("float"), (table.name, name)


def test_a_number_that_is_all_its_file_holds_keeps_its_bits(warehouse: Warehouse) -> None:
    # sail answered from the file's statistics, whose JSON it reads one bit off for one number in six.
    values = [0.23661700534065394, 0.028157876032270466, 0.11436127130646373]
    for day, value in zip(days(1, 3), values, strict=True):
        warehouse.replace(FORECAST_METADATA, metadata("a", [day], value), where("a", [day]))
    found = warehouse.read(FORECAST_METADATA, ["forecast_date", "crps_14d"]).sort_by("forecast_date")
    assert found["crps_14d"].to_pylist() == values


def test_unified_data_takes_declared_covariates_and_keeps_older_rows(warehouse: Warehouse) -> None:
    first, second, third = (dt.date(2020, 1, day) for day in (1, 2, 3))
    warehouse.replace(UNIFIED_DATA, plain(UNIFIED_DATA, {"date": first}), {"commodity": "x", "date": first})
    wider = plain(UNIFIED_DATA, {"date": second}).append_column("usd_brl", pa.array([4.0]))
    warehouse.replace(UNIFIED_DATA, wider, {"commodity": "x", "date": second})
    warehouse.replace(UNIFIED_DATA, plain(UNIFIED_DATA, {"date": third}), {"commodity": "x", "date": third})
    rows = warehouse.read(UNIFIED_DATA, ["date", "usd_brl"]).sort_by("date").to_pylist()
    assert [row["usd_brl"] for row in rows] == [None, 4.0, None]
    assert warehouse.read(UNIFIED_DATA).schema.equals(UNIFIED_DATA.arrow_schema(("usd_brl",)))


def test_columns_of_a_later_version_are_read_and_an_earlier_one_leaves_them_empty(
    make: Make, warehouse: Warehouse
) -> None:
    """Two machines are not upgraded at the same moment."""
    more = (Column("desk", "string", "A later version's."), Column("rank", "int", "Another."))
    later = replace(FORECAST_METADATA, columns=(*FORECAST_METADATA.columns, *more))
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    assert migrate(make.another(), [later]) == 2
    told = metadata("b", days(1, 2)).append_column("desk", pa.array(["oil"] * 2))
    told = told.append_column("rank", pa.array([1, 2], pa.int32()))
    make.another().replace(later, told, where("b", days(1, 2)))
    warehouse.replace(FORECAST_METADATA, metadata("c", days(1, 2)), where("c", days(1, 2)))
    rows = warehouse.read(FORECAST_METADATA).sort_by([("model_name", "ascending"), ("forecast_date", "ascending")])
    assert rows.column_names == [column.name for column in later.columns]
    assert rows["desk"].to_pylist() == [None, None, "oil", "oil", None, None]
    assert rows["rank"].to_pylist() == [None, None, 1, 2, None, None]
    assert warehouse.read(FORECAST_METADATA, ["crps_14d"]).num_rows == 6


def test_another_process_s_tables_are_seen(make: Make, warehouse: Warehouse) -> None:
    other = make.another()
    other.replace(FORECAST_METADATA, metadata("a", days(1, 3)), where("a", days(1, 3)))
    assert warehouse.rows(FORECAST_METADATA) == 3
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 3)))
    assert other.read(FORECAST_METADATA, ["forecast_date"])["forecast_date"].to_pylist() == days(1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("models", [("a", "b"), ("a", "a")], ids=["different models", "one model"])
def test_two_processes_writing_at_once_lose_nothing(make: Make, models: tuple[str, str]) -> None:
    context = multiprocessing.get_context("spawn")
    spans = [days(1, 4), days(9, 12)]
    writers = [
        context.Process(target=write_days, args=(make, model, span), daemon=True)
        for model, span in zip(models, spans, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE)
        assert writer.exitcode == 0
    rows = make.another().read(FORECAST_METADATA, ["model_name", "forecast_date"]).to_pylist()
    expected = [(model, day) for model, span in zip(models, spans, strict=True) for day in span]
    assert sorted((row["model_name"], row["forecast_date"]) for row in rows) == sorted(expected)


def test_every_key_and_partition_column_is_in_its_schema() -> None:
    for table in TABLES:
        names = {column.name for column in table.columns}
        assert {*table.key, *table.partition_by} <= names


def test_the_suite_runs_over_both_implementations(make: Make, tmp_path: Path) -> None:
    assert type(make.another()).__name__ == {"folder": "DeltaWarehouse", "unity": "UnityWarehouse"}[make.kind]
