"""A range run plans one event an asset, and which partitions it failed or still makes is seen all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster_shared.serdes import serialize_value

from forecast_platform.graph.event_storage import BatchedSqliteEventLogStorage
from forecast_platform.graph.event_text import MaterializationTexts, made_partition
from forecast_platform_tests.graph.test_event_storage import (
    _PARTITIONS,
    FIRST,
    OTHER_RUN,
    ROOT,
    RUN,
    SECOND,
    _entry,
    _key,
    _materialized,
    _planned,
)

pytestmark = pytest.mark.slow


@dg.asset(partitions_def=_PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def fragile(context) -> Iterator[dg.MaterializeResult[None]]:
    """Records the first five of its partitions one by one and fails, unless it is told to go on."""
    if "whole" in context.run_tags:
        yield dg.MaterializeResult()
        return
    for partition in context.partition_keys[:5]:
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=partition))
    raise dg.Failure("the rest failed", allow_retries=False)


def _run_fragile(instance: dg.DagsterInstance, first: int, last: int, *, whole: bool) -> str:
    tags = {
        "dagster/asset_partition_range_start": f"2018-01-{first:02d}|Coffee",
        "dagster/asset_partition_range_end": f"2018-01-{last:02d}|Coffee",
        **({"whole": "true"} if whole else {}),
    }
    result = dg.materialize([fragile], instance=instance, tags=tags, raise_on_error=False)
    assert result.success == whole
    return result.run_id


def _failed_partitions(instance: dg.DagsterInstance) -> list[str]:
    """The partitions that the UI shows as failed."""
    status = get_and_update_asset_status_cache_value(instance, fragile.key, _PARTITIONS)
    assert status is not None
    return sorted(status.deserialize_failed_partition_subsets(_PARTITIONS).get_partition_keys())


def test_partitions_that_a_range_run_failed_are_shown_as_failed_until_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Any]] = {}
    for name, config in (("ours", (ROOT / "dagster.yaml").read_text()), ("theirs", "telemetry: {enabled: false}\n")):
        home = tmp_path / name
        home.mkdir()
        (home / "dagster.yaml").write_text(config)
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            seen[name] = [_failed_partitions(instance) if _run_fragile(instance, 1, 12, whole=False) else None]
            _run_fragile(instance, 8, 10, whole=True)
            seen[name].append(_failed_partitions(instance))
            _run_fragile(instance, 9, 16, whole=False)
            seen[name].append(_failed_partitions(instance))
            instance.wipe_assets([fragile.key])
            seen[name].append(
                dict(
                    instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                        fragile.key
                    )
                )
            )
    assert seen["ours"] == seen["theirs"]
    assert seen["ours"][0] == [f"2018-01-{day:02d}|Coffee" for day in range(6, 13)]
    assert seen["ours"][1] == [f"2018-01-{day:02d}|Coffee" for day in (6, 7, 11, 12)]
    assert seen["ours"][2] == [f"2018-01-{day:02d}|Coffee" for day in (6, 7, 14, 15, 16)]
    assert seen["ours"][3] == {}


def test_partitions_of_a_range_that_still_runs_are_attempts_of_that_run(
    ours: BatchedSqliteEventLogStorage, theirs: SqliteEventLogStorage
) -> None:
    """Planned singly before, as an older version's history has them, then as a range, made in part, planned again."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    subset = _PARTITIONS.subset_with_partition_keys([_key(day) for day in range(1, 9)])
    before = [_planned(0, FIRST, 3), _planned(1, FIRST, 9)]
    one_by_one = [_planned(2, FIRST, day, OTHER_RUN) for day in range(1, 9)]
    after = [*(_materialized(3, FIRST, day, OTHER_RUN) for day in (1, 2)), _planned(4, FIRST, 2)]
    ours.store_event_batch(
        [*before, _entry(2, kind, AssetMaterializationPlannedData(FIRST, None, subset), OTHER_RUN), *after]
    )
    for event in [*before, *one_by_one, *after]:
        theirs.store_event(event)

    def attempts(storage: SqliteEventLogStorage, after: int | None = None) -> dict[str, str]:
        found = storage.get_latest_asset_partition_materialization_attempts_without_materializations(FIRST, after)
        return {partition: run_id for partition, (run_id, _) in found.items()}

    assert attempts(ours) == attempts(theirs)
    assert attempts(ours) == {**{_key(day): OTHER_RUN for day in range(3, 9)}, _key(2): RUN, _key(9): RUN}
    assert attempts(ours, after=3) == {_key(2): RUN}


def test_texts_of_materializations_are_those_that_dagster_makes() -> None:
    """Of one output, of another asset, of another run, and of a number that is equal but a float."""
    first = _materialized(1, FIRST, 1)
    data = first.get_dagster_event().step_materialization_data
    made = data.materialization
    events = [
        first,
        *(
            _entry(
                day,
                dg.DagsterEventType.ASSET_MATERIALIZATION,
                data._replace(materialization=made._replace(partition=_key(day), tags={"day": f"{day} é"})),
            )
            for day in (2, 3)
        ),
        _materialized(7, SECOND, 4),
        _materialized(8, SECOND, 5, OTHER_RUN),
    ]
    value = dg.MetadataValue.float(8.0)
    data = events[-1].get_dagster_event().step_materialization_data
    as_float = data._replace(materialization=data.materialization._replace(metadata={"n": value}))
    events.append(_entry(9, dg.DagsterEventType.ASSET_MATERIALIZATION, as_float, OTHER_RUN))
    # Links are each partition's own, beside what all share.
    shared = dg.MetadataValue.int(200)
    for day, links in ((10, ("a", None)), (11, ('b"é', "c")), (12, ("a",))):
        metadata = {f"link_{place}": dg.MetadataValue.url(link) for place, link in enumerate(links)}
        with_links = data.materialization._replace(partition=_key(day), metadata={"rows": shared, **metadata})
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        events.append(_entry(day, kind, data._replace(materialization=with_links), OTHER_RUN))
    texts = MaterializationTexts()
    for event in events:
        recorded = made_partition(event)
        assert recorded is not None
        assert texts.text(event, recorded) == serialize_value(event)


def test_the_shard_of_a_run_is_the_one_that_dagster_makes(
    ours: BatchedSqliteEventLogStorage, theirs: SqliteEventLogStorage
) -> None:
    def shard(storage: SqliteEventLogStorage, run_id: str) -> dict[str, Any]:
        storage.store_event(_materialized(1, FIRST, 1, run_id))
        with storage.run_connection(run_id) as connection:
            ask = connection.exec_driver_sql
            return {
                "schema": sorted(map(tuple, ask("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))),
                "revision": ask("SELECT version_num FROM alembic_version").scalar_one(),
                "journal": ask("PRAGMA journal_mode").scalar_one(),
                "events": ask("SELECT count(*) FROM event_logs").scalar_one(),
            }

    expected = shard(theirs, RUN)
    assert shard(ours, RUN) == expected
    assert shard(ours, OTHER_RUN) == expected
    assert sorted(ours.get_all_run_ids()) == [RUN, OTHER_RUN]
