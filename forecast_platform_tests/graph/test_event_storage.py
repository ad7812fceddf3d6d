"""The batched event log leaves what Dagster's own leaves, table by table, and all of a batch or nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.partitions.utils.multi import get_tags_from_multi_partition_key
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData, StepMaterializationData
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy.exc import IntegrityError

from forecast_platform.graph.event_storage import BATCH_SIZE, KEPT_ENGINES, BatchedSqliteEventLogStorage
from forecast_platform.graph.instance_storage import HomeRunStorage, HomeScheduleStorage
from forecast_platform_tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

RUN = "11111111-1111-1111-1111-111111111111"
OTHER_RUN = "22222222-2222-2222-2222-222222222222"
FIRST, SECOND = dg.AssetKey(["distributions", "naive"]), dg.AssetKey("unified_data")
ROOT = Path(__file__).resolve().parents[2]
TABLES = ("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions")
UNCOMPARED = {"create_timestamp"}


def _key(day: int, series: str = "Coffee") -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"date": f"2018-01-{day:02d}", "series": series})


def _entry(number: int, kind: dg.DagsterEventType, data: Any = None, run_id: str = RUN) -> dg.EventLogEntry:
    event = dg.DagsterEvent(kind.value, job_name="forecast", step_key="step", event_specific_data=data)
    return dg.EventLogEntry(
        error_info=None,
        level=10,
        user_message="",
        run_id=run_id,
        timestamp=1_700_000_000.0 + number,
        step_key="step",
        job_name="forecast",
        dagster_event=event,
    )


def _materialized(number: int, asset: dg.AssetKey, day: int, run_id: str = RUN) -> dg.EventLogEntry:
    key = _key(day)
    tags = {**get_tags_from_multi_partition_key(key), "dagster/data_version": f"v{number}"}
    data = StepMaterializationData(dg.AssetMaterialization(asset, partition=key, metadata={"n": number}, tags=tags))
    return _entry(number, dg.DagsterEventType.ASSET_MATERIALIZATION, data, run_id)


def _planned(number: int, asset: dg.AssetKey, day: int, run_id: str = RUN) -> dg.EventLogEntry:
    data = AssetMaterializationPlannedData(asset, partition=_key(day))
    return _entry(number, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, data, run_id)


def _mixed() -> list[dg.EventLogEntry]:
    kind = dg.DagsterEventType
    evaluation, runless = (
        AssetCheckEvaluation(
            asset_key=FIRST, check_name=name, passed=passed, metadata={}, severity=dg.AssetCheckSeverity.ERROR
        )
        for name, passed in (("finite", True), ("fresh", False))
    )
    plain = dg.EventLogEntry(None, 20, "a line of the log", RUN, 1_700_000_000.5, "step", "forecast", None)
    return [
        _entry(0, kind.RUN_START),
        plain,
        *(_planned(n, FIRST, n) for n in range(1, 9)),
        _entry(
            9, kind.ASSET_CHECK_EVALUATION_PLANNED, AssetCheckEvaluationPlanned(asset_key=FIRST, check_name="finite")
        ),
        _entry(10, kind.STEP_START),
        *(_materialized(10 + n, FIRST, n) for n in range(1, 9)),
        _materialized(21, SECOND, 1),
        _entry(22, kind.ASSET_OBSERVATION, AssetObservationData(dg.AssetObservation(SECOND, partition=_key(2)))),
        _entry(23, kind.ASSET_CHECK_EVALUATION, evaluation),
        _entry(24, kind.ASSET_CHECK_EVALUATION, runless, run_id=""),
        _planned(25, SECOND, 3, OTHER_RUN),
        _materialized(26, FIRST, 4),
        _entry(27, kind.RUN_SUCCESS),
    ]


def _tables(runs: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every shard's tables, row by row, less the clock's columns."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for path in sorted([*runs.glob("*.db"), *runs.glob(".db")]):
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            found[path.name] = {
                table: [
                    {name: row[name] for name in row.keys() if name not in UNCOMPARED}  # noqa: SIM118
                    for row in connection.execute(f"SELECT * FROM {table} ORDER BY id")
                ]
                for table in TABLES
            }
    return found


def test_batch_leaves_the_rows_that_one_by_one_leaves(
    ours: BatchedSqliteEventLogStorage, theirs: SqliteEventLogStorage, tmp_path: Path
) -> None:
    ours.store_event_batch(_mixed())
    for event in _mixed():
        theirs.store_event(event)
    left, right = _tables(tmp_path / "ours/history/runs"), _tables(tmp_path / "theirs/history/runs")
    assert left.keys() == right.keys() == {".db", f"{RUN}.db", f"{OTHER_RUN}.db", "index.db"}
    for shard, tables in right.items():
        for table, rows in tables.items():
            assert left[shard][table] == rows, (shard, table)
    assert all(right["index.db"][table] for table in TABLES)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_size_of_the_batches_changes_nothing(ours: BatchedSqliteEventLogStorage, tmp_path: Path, size: int) -> None:
    whole = BatchedSqliteEventLogStorage(str(tmp_path / "whole"))
    events = _mixed()
    whole.store_event_batch(events)
    for start in range(0, len(events), size):
        ours.store_event_batch(events[start : start + size])
    assert _tables(tmp_path / "ours/history/runs") == _tables(tmp_path / "whole/history/runs")


def test_empty_batch_writes_nothing(ours: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    ours.store_event_batch([])
    assert _tables(tmp_path / "ours/history/runs")["index.db"]["event_logs"] == []


def _refuse_after_two_rows(storage: BatchedSqliteEventLogStorage, shard: str) -> None:
    """Make the database itself refuse inserts into the shard's event log from its third row on."""
    storage.store_event(_entry(0, dg.DagsterEventType.RUN_START))
    with closing(sqlite3.connect(storage.path_for_shard(shard))) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON event_logs WHEN (SELECT count(*) FROM event_logs) > 1 "
            "BEGIN SELECT raise(ABORT, 'disk trouble'); END"
        )
        connection.commit()


@pytest.mark.parametrize("shard", [RUN, "index"])
def test_failure_in_the_middle_of_a_batch_leaves_nothing_of_it(
    ours: BatchedSqliteEventLogStorage, tmp_path: Path, shard: str
) -> None:
    _refuse_after_two_rows(ours, shard)
    before = _tables(tmp_path / "ours/history/runs")
    with pytest.raises(IntegrityError, match="disk trouble"):
        ours.store_event_batch([_materialized(n, FIRST, n) for n in range(1, 9)])
    assert _tables(tmp_path / "ours/history/runs") == before


_KILLED = """
import os, sys
from forecast_platform_tests.graph import test_event_storage as t
storage = t.BatchedSqliteEventLogStorage(sys.argv[1])
write = storage._write_asset_keys
def die(*arguments):
    write(*arguments)
    os._exit(9)
storage._write_asset_keys = die
storage.store_event_batch([t._materialized(n, t.FIRST, n) for n in range(1, 9)])
"""

_WRITER = """
import sys
from forecast_platform_tests.graph import test_event_storage as t
storage = t.BatchedSqliteEventLogStorage(sys.argv[1])
run = sys.argv[2]
for batch in range(8):
    storage.store_event_batch([t._materialized(n, t.FIRST, n, run) for n in range(1, 26)])
"""


def _python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT)


def test_process_killed_in_the_middle_of_a_batch_leaves_nothing_of_it(
    ours: BatchedSqliteEventLogStorage, tmp_path: Path
) -> None:
    assert _python(_KILLED, str(tmp_path / "ours")).wait(timeout=PATIENCE) == 9
    assert not any(_tables(tmp_path / "ours/history/runs")["index.db"].values())
    assert ours.get_logs_for_run(RUN) == []


def test_two_processes_write_at_the_same_time_and_lose_nothing(
    ours: BatchedSqliteEventLogStorage, tmp_path: Path
) -> None:
    writers = [_python(_WRITER, str(tmp_path / "ours"), run) for run in (RUN, OTHER_RUN)]
    assert [writer.wait(timeout=PATIENCE) for writer in writers] == [0, 0]
    tables = _tables(tmp_path / "ours/history/runs")
    index = tables["index.db"]
    assert len(index["event_logs"]) == 2 * 8 * 25
    assert [len(tables[f"{run}.db"]["event_logs"]) for run in (RUN, OTHER_RUN)] == [200, 200]
    by_id = {row["id"]: row for row in index["event_logs"]}
    date_tags = [row for row in index["asset_event_tags"] if row["key"] == "dagster/partition/date"]
    days = {row["event_id"]: row["value"] for row in date_tags}
    assert {event_id: row["partition"] for event_id, row in by_id.items()} == {
        event_id: f"{day}|Coffee" for event_id, day in days.items()
    }


_PARTITIONS = dg.MultiPartitionsDefinition(
    {
        "date": dg.DailyPartitionsDefinition("2018-01-01", end_date="2018-03-01"),
        "series": dg.StaticPartitionsDefinition(["Coffee", "Sugar"]),
    }
)


@dg.asset(partitions_def=_PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def forecast() -> dg.MaterializeResult[None]:
    """A range in one run."""
    return dg.MaterializeResult(metadata={"paths": 2000})


@dg.asset_check(asset=forecast)
def finite() -> dg.AssetCheckResult:
    """A check of it."""
    return dg.AssetCheckResult(passed=True)


def _run_range(home: Path, config: str) -> tuple[dg.DagsterInstance, str]:
    home.mkdir()
    (home / "dagster.yaml").write_text(config)
    definitions = dg.Definitions(
        assets=[forecast],
        asset_checks=[finite],
        jobs=[dg.define_asset_job("job", [forecast], executor_def=dg.in_process_executor)],
    )
    instance = dg.DagsterInstance.from_config(str(home))
    tags = {
        "dagster/asset_partition_range_start": "2018-01-03|Coffee",
        "dagster/asset_partition_range_end": "2018-01-22|Sugar",
    }
    result = definitions.resolve_job_def("job").execute_in_process(instance=instance, tags=tags)
    assert result.success
    return instance, result.run_id


def _seen(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What an operator sees of the run and the asset: ours plans a range in one event, Dagster's each partition."""
    latest = instance.get_latest_materialization_event(forecast.key)
    assert latest is not None
    assert latest.asset_materialization is not None
    entries: Sequence[dg.EventLogEntry] = instance.all_logs(run_id)
    [record] = instance.get_asset_records([forecast.key])
    checks = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(forecast.key, "finite"), limit=10
    )
    return {
        "partitions": instance.get_materialized_partitions(forecast.key),
        "sugar": instance.event_log_storage.get_latest_tags_by_partition(
            forecast.key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/partition/series"]
        ),
        "latest": latest.asset_materialization.partition,
        "events": [
            kind
            for kind, same in groupby(entry.dagster_event and entry.dagster_event.event_type_value for entry in entries)
            for _ in (same if kind != "ASSET_MATERIALIZATION_PLANNED" else [kind])
        ],
        "last run is this": record.asset_entry.last_run_id == run_id,
        "checks": [check.status for check in checks],
    }


def test_operator_sees_the_same_run_and_partitions_with_either_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "ours"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    instance, run_id = _run_range(home, (ROOT / "dagster.yaml").read_text())
    assert type(instance.event_log_storage) is BatchedSqliteEventLogStorage
    seen = _seen(instance, run_id)
    other, other_run = _run_range(tmp_path / "theirs", "telemetry: {enabled: false}\n")
    assert type(other.event_log_storage) is SqliteEventLogStorage
    assert seen == _seen(other, other_run)
    assert len(seen["partitions"]) == 20 * 2


def test_history_of_the_default_storage_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    before, run_id = _run_range(home, "telemetry: {enabled: false}\n")
    expected = _seen(before, run_id)
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    instance = dg.DagsterInstance.from_config(str(home))
    assert type(instance.event_log_storage) is BatchedSqliteEventLogStorage
    assert instance.get_run_by_id(run_id) is not None
    assert _seen(instance, run_id) == expected


def test_range_run_stores_its_partitions_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    store = BatchedSqliteEventLogStorage.store_event_batch

    def counted(storage: BatchedSqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        sizes.append(len(events))
        store(storage, events)

    monkeypatch.setattr(BatchedSqliteEventLogStorage, "store_event_batch", counted)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    _run_range(tmp_path / "home", (ROOT / "dagster.yaml").read_text())
    assert [size for size in sizes if size > 1] == [2, 40], "the planned range with the check, then the partitions"


@pytest.mark.parametrize(("given", "expected"), [(None, str(BATCH_SIZE)), ("50", "50")])
def test_loading_the_instance_turns_batching_on_unless_the_operator_chose(
    tmp_path: Path, given: str | None, expected: str
) -> None:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    environment.pop("DAGSTER_EVENT_BATCH_SIZE", None)
    if given is not None:
        environment["DAGSTER_EVENT_BATCH_SIZE"] = given
    code = (
        "from dagster import DagsterInstance\nwith DagsterInstance.get() as instance:\n"
        "    print(instance._get_event_batch_size())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == expected


def test_storage_imports_nothing_beyond_what_dagster_imports() -> None:
    code = (
        "import sys, dagster, dagster._core.storage.event_log\nbefore = set(sys.modules)\n"
        "import forecast_platform.graph.event_storage\n"
        "print([m for m in set(sys.modules) - before if not m.startswith('forecast_platform')])"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_engines_are_kept_for_the_shards_used_last_and_no_connection_stays_open(tmp_path: Path) -> None:
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    runs = [f"{number:08d}-0000-0000-0000-000000000000" for number in range(KEPT_ENGINES + 4)]
    for run in runs:
        storage.store_event(_materialized(1, FIRST, 1, run))
    assert len(storage._engines) == KEPT_ENGINES
    known = storage._engine(runs[-1])
    with storage.run_connection(runs[-1]) as connection:
        assert connection.engine is known
    for run in runs:
        # A forgotten shard is opened again, and a file that nobody holds can be removed.
        assert len(storage.get_logs_for_run(run)) == 1
        storage.delete_events(run)
        assert len(storage.get_logs_for_run(run)) == 0


@pytest.mark.parametrize("kind", [HomeRunStorage, HomeScheduleStorage, BatchedSqliteEventLogStorage])
def test_those_that_open_a_new_instance_at_the_same_moment_all_get_it(
    kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands, or the services of `up`, on a machine that has no instance yet."""
    together = threading.Barrier(4)

    def opened() -> Any:
        together.wait()
        return kind.from_config_value(None, {})

    for number in range(3):
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / str(number)))
        with ThreadPoolExecutor(4) as pool:
            found = [future.result() for future in [pool.submit(opened) for _ in range(4)]]
        assert len(found) == 4
