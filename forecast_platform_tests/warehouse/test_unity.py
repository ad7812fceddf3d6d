"""What only the Unity Catalog warehouse has: statements, catalogs side by side, migration, upkeep, errors that help."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from forecast_platform.clients.spark_session import SparkUnavailableError
from forecast_platform.doctor.unity import unity_tables
from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.maintenance import PARTS
from forecast_platform.housekeeping.migrate import migrate, plan
from forecast_platform.housekeeping.restore import restore
from forecast_platform.settings import build
from forecast_platform.warehouse.base import Between, WarehouseError
from forecast_platform.warehouse.predicates import spark_sql
from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    TABLES,
    UNIFIED_DATA,
    Column,
    Table,
)
from forecast_platform.warehouse.unity import UnityWarehouse
from forecast_platform.warehouse.unity_dialect import Delta, is_absent, is_conflict
from forecast_platform.work.platform import Platform
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.unity_catalog import Lakehouse
from forecast_platform_tests.warehouse.implementations import days, metadata, plain, unity, where


class SparkError(Exception):
    """An error as Databricks raises them."""

    def __init__(self, condition: str | None, text: str) -> None:
        super().__init__(text)
        self.condition = condition

    def getCondition(self) -> str | None:
        return self.condition


def norm(**options: Any) -> UnityWarehouse:
    """A warehouse that speaks Databricks' SQL; nothing asks it for a session."""
    warehouse = UnityWarehouse(lambda: None, **options)
    warehouse.__dict__["dialect"] = Delta()
    return warehouse


def test_tables_are_made_with_schema_comments_partitions_and_properties() -> None:
    made = norm(catalog="commodity_test", properties={"delta.logRetentionDuration": "interval 90 days"})
    text = made.create_statement(DISTRIBUTIONS)
    assert text.startswith(
        "CREATE TABLE IF NOT EXISTS `commodity_test`.`forecast`.`distributions` "
        "(`commodity` STRING NOT NULL COMMENT 'Series name, for example Coffee.', "
    )
    assert "`generation_timestamp` TIMESTAMP NOT NULL COMMENT" in text
    assert "`day_14` FLOAT COMMENT 'Close on forecast_date + 13 days.'" in text
    assert text.endswith(
        "USING DELTA PARTITIONED BY (`commodity`, `model_name`, `model_version`, `forecast_month`) COMMENT "
        "'Simulated price paths: one row a path, day_1 (forecast_date) to day_14; and one row of actuals a date.' "
        "TBLPROPERTIES ('delta.logRetentionDuration' = 'interval 90 days')"
    )


def test_liquid_clustering_takes_the_place_of_partitions() -> None:
    text = norm(liquid=True).create_statement(CHAMPIONS)
    assert "CLUSTER BY (`commodity`) COMMENT" in text
    assert "PARTITIONED" not in text
    assert "CLUSTER" not in norm(liquid=True).create_statement(FORECAST_RUNS)
    # Databricks takes four clustering columns at most.
    assert max(len(table.partition_by) for table in TABLES) <= 4


def test_conditions_are_quoted_and_times_are_utc() -> None:
    noon = dt.datetime(2020, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=-8)))
    asked = {
        "commodity": "it's a \\",
        "odd`name": [1, 2],
        "at": Between(noon, noon.astimezone(dt.timezone.utc)),
        "day": dt.date(2020, 1, 1),
        "share": 0.1,
        "live": True,
    }
    assert spark_sql(asked) == (
        "`commodity` = 'it\\'s a \\\\' AND `odd``name` IN (1, 2) AND `at` >= TIMESTAMP '2020-01-01T20:00:00Z' AND "
        "`at` <= TIMESTAMP '2020-01-01T20:00:00Z' AND `day` = DATE '2020-01-01' AND `share` = 0.1D AND `live` = true"
    )
    assert spark_sql({"day": []}) == "FALSE"
    assert spark_sql({}) == "TRUE"


@pytest.mark.parametrize(
    ("error", "conflict", "absent"),
    [
        (SparkError("DELTA_CONCURRENT_APPEND", "files were added"), True, False),
        (SparkError("DELTA_METADATA_CHANGED", "the metadata changed"), True, False),
        (SparkError(None, "io.delta.exceptions.ConcurrentDeleteReadException: a file was removed"), True, False),
        (SparkError(None, "Failed to commit transaction: 0"), True, False),
        (SparkError(None, "the write was prepared from snapshot version 3, but the table is at 4"), True, False),
        (SparkError("TABLE_OR_VIEW_NOT_FOUND", "no such table"), False, True),
        (SparkError(None, "Table not found: [TABLE_OR_VIEW_NOT_FOUND] Table or view not found: x"), False, True),
        (SparkError("INSUFFICIENT_PERMISSIONS", "no SELECT on it"), False, False),
        (SparkError("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "null"), False, False),
    ],
)
def test_conflicts_and_missing_tables_are_told_from_other_errors(
    error: SparkError, conflict: bool, absent: bool
) -> None:
    assert (is_conflict(error), is_absent(error)) == (conflict, absent)


def test_of_several_models_one_s_rows_at_a_time_are_handed_over(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = unity(lakehouse.remote)
    for model in ("a", "b"):
        warehouse.replace(FORECAST_METADATA, metadata(model, days(1, 3)), where(model, days(1, 3)))
    read, sizes = warehouse.read, []

    def noted(*asked: Any) -> pa.Table:
        found = read(*asked)
        sizes.append(found.num_rows)
        return found

    monkeypatch.setattr(warehouse, "read", noted)
    batches = warehouse.batches(FORECAST_METADATA, ["model_name"], {"model_name": ["a", "b", "a"]})
    assert sorted(name for one in batches for name in one["model_name"].to_pylist()) == ["a"] * 3 + ["b"] * 3
    assert sizes == [3, 3]


def test_a_test_catalog_lies_beside_the_production_one(lakehouse: Lakehouse) -> None:
    real, test = unity(lakehouse.remote), unity(lakehouse.remote, catalog="commodity_test")
    test.replace(FORECAST_METADATA, metadata("a", days(1, 3)), where("a", days(1, 3)))
    assert (test.rows(FORECAST_METADATA), real.rows(FORECAST_METADATA)) == (3, 0)


def test_times_are_the_same_instants_whatever_the_session_s_zone(lakehouse: Lakehouse) -> None:
    warehouse, other = unity(lakehouse.remote), unity(lakehouse.remote)
    other.session.conf.set("spark.sql.session.timeZone", "America/Los_Angeles")
    moment = dt.datetime(2020, 3, 8, 10, 30, 0, 5, tzinfo=dt.timezone.utc)
    row = {"commodity": "x", "model_name": "m", "model_version": "v", "valid_from": moment, "by": "b", "why": "w"}
    rows = pa.Table.from_pylist([row], schema=CHAMPIONS.arrow_schema())
    for one, two in ((warehouse, other), (other, warehouse)):
        one.replace(CHAMPIONS, rows, {"commodity": "x"})
        assert two.read(CHAMPIONS, where={"valid_from": moment}).equals(rows)


def test_a_table_of_an_earlier_version_says_migrate_and_migrate_adds_what_may_be_null(lakehouse: Lakehouse) -> None:
    warehouse = unity(lakehouse.remote)
    old = warehouse.create_statement(FORECAST_METADATA)
    start = old.index("`pit` DOUBLE")
    end = old.index("`actuals_available`")
    warehouse.session.sql("CREATE SCHEMA commodity.forecast").collect()
    warehouse.session.sql(old[:start] + old[end:]).collect()
    with pytest.raises(WarehouseError, match=r"no column pit.*run `forecast-platform migrate`"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    with pytest.raises(WarehouseError, match=r"no column pit.*run `forecast-platform migrate`"):
        warehouse.read(FORECAST_METADATA)
    assert warehouse.read(FORECAST_METADATA, ["crps_14d"]).num_rows == 0
    [needed] = plan(warehouse)
    assert ([column.name for column in needed.add], needed.refused) == (["pit"], [])
    told: list[str] = []
    assert migrate(warehouse, say=told.append) == 1
    assert told == ["commodity.forecast.forecast_metadata: added pit (float)"]
    assert migrate(warehouse) == 0
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    [row] = warehouse.read(FORECAST_METADATA, ["pit", "crps_14d"]).to_pylist()
    assert row == {"pit": None, "crps_14d": 1.0}


@pytest.mark.parametrize("others", [("usd_brl",), ("usd_brl", "usd_eur")], ids=["one of two", "both"])
def test_covariates_that_another_writer_adds_at_the_same_moment_are_taken_as_they_are(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    mine, other = unity(lakehouse.remote), unity(lakehouse.remote)
    mine.create(UNIFIED_DATA)
    add, calls = mine.dialect.add_columns, 0

    def add_after_another(session: Any, name: str, columns: Sequence[Column]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            other._widen(UNIFIED_DATA, others)
        add(session, name, columns)

    monkeypatch.setattr(mine.dialect, "add_columns", add_after_another)
    rows = plain(UNIFIED_DATA, {"date": dt.date(2020, 1, 1)})
    for name in ("usd_brl", "usd_eur"):
        rows = rows.append_column(name, pa.array([4.0]))
    mine.replace(UNIFIED_DATA, rows, {"commodity": "x", "date": dt.date(2020, 1, 1)})
    assert mine.read(UNIFIED_DATA, ["usd_brl", "usd_eur"]).to_pylist() == [{"usd_brl": 4.0, "usd_eur": 4.0}]
    assert calls == (2 if len(others) == 1 else 1), "the first was refused"


def test_what_sail_lacks_is_refused_by_name(lakehouse: Lakehouse) -> None:
    warehouse = unity(lakehouse.remote, liquid=True)
    with pytest.raises(WarehouseError, match=r"set unity\.clustering to partition"):
        warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    warehouse.liquid = False
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    for call in (lambda: warehouse.optimize(FORECAST_METADATA), lambda: warehouse.vacuum(FORECAST_METADATA, 168)):
        with pytest.raises(WarehouseError, match=r"sail has no (OPTIMIZE|VACUUM)"):
            call()


def test_maintenance_uses_the_engine_s_statements(tmp_path: Path) -> None:
    asked: list[str] = []

    class Engine(Delta):
        def optimize(self, session: Any, name: str) -> Any:
            asked.append(f"OPTIMIZE {name}")
            raise SparkError("TABLE_OR_VIEW_NOT_FOUND", "none")

    warehouse = UnityWarehouse(lambda: None)
    warehouse.__dict__["dialect"] = Engine()
    platform = Platform(build(warehouse=tmp_path, tables="unity_catalog"), warehouse)
    assert PARTS["compact"](platform, None) == []  # type: ignore[arg-type]
    assert asked == [f"OPTIMIZE {table.name}" for table in TABLES]


def test_backup_and_restore_of_a_folder_are_refused_with_what_does_the_same(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path, tables="unity_catalog")
    for call in (lambda: backup(settings, tmp_path / "copy"), lambda: restore(settings, tmp_path / "copy")):
        with pytest.raises(HousekeepingError, match="DEEP CLONE"):
            call()


def test_no_session_is_an_error_that_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPARK_REMOTE", "DATABRICKS_RUNTIME_VERSION"):
        monkeypatch.delenv(name, raising=False)
    settings = build(warehouse=tmp_path, tables="unity_catalog")
    platform = Platform.from_settings(settings)
    with pytest.raises(SparkUnavailableError, match=r"databricks-connect.*SPARK_REMOTE"):
        platform.warehouse.read(CHAMPIONS)
    found = {finding.subject: finding for finding in unity_tables(settings)}
    assert found["spark"].severity == "error"
    assert "SPARK_REMOTE" in found["spark"].mend
    assert found["volume"].severity == "warning"


def test_a_session_that_the_server_has_forgotten_is_replaced(lakehouse: Lakehouse) -> None:
    class Forgotten:
        client = io.StringIO()

        def table(self, name: str) -> Any:
            raise SparkError("INVALID_HANDLE.SESSION_CLOSED", f"the session is closed: {name}")

    good = unity(lakehouse.remote).session
    forgotten = Forgotten()
    waiting = [forgotten, good]
    warehouse = UnityWarehouse(lambda: waiting.pop(0))
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 2)), where("a", days(1, 2)))
    assert warehouse.rows(FORECAST_METADATA) == 2
    assert forgotten.client.closed
    assert waiting == []


def test_doctor_says_which_tables_are_there_and_that_the_volume_takes_files(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark = {"master": lakehouse.remote}
    settings = build(
        warehouse=tmp_path, tables="unity_catalog", spark=spark, unity={"volume": "commodity.forecast.platform"}
    )
    warehouse = Platform.from_settings(settings).warehouse
    warehouse.replace(FORECAST_METADATA, metadata("a", days(1, 1)), where("a", days(1, 1)))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Workspace(tmp_path / "workspace") as workspace:
        monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", "expired")
        [refused] = [finding for finding in unity_tables(settings) if finding.subject == "volume"]
        assert refused.severity == "error"
        assert "WRITE VOLUME" in refused.mend
        monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
        found = list(unity_tables(settings))
        assert not list(workspace.local("/Volumes/commodity/forecast/platform/_artifacts").iterdir())
    assert {finding.severity for finding in found} == {"good"}
    assert any("forecast_metadata: version 1, schema as defined" in finding.found for finding in found)
    assert any("not there yet" in finding.found and "champions" in finding.found for finding in found)


def test_a_whole_write_that_fails_once_the_other_columns_are_gone_is_mended_by_the_next(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = unity(lakehouse.remote)

    def rows(name: str) -> tuple[Table, pa.Table]:
        made = Table(
            "commodity.forecast.rows_of_others", "", (Column(name, "float", ""),), (), (), open_columns=True, whole=True
        )
        return made, pa.table({name: [1.0, 2.0]})

    warehouse.replace(*rows("a"), {})

    def broken(*_: object) -> None:
        raise RuntimeError("the server went away")

    with monkeypatch.context() as patched:
        patched.setattr(UnityWarehouse, "_insert", broken)
        with pytest.raises(WarehouseError, match="the server went away"):
            warehouse.replace(*rows("b"), {})
    assert warehouse.read(rows("b")[0]).num_rows == 0, "a reader in between finds a table without rows"
    warehouse.replace(*rows("b"), {})
    assert warehouse.read(rows("b")[0]).to_pydict() == {"b": [1.0, 2.0]}
