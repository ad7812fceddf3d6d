"""Paths from Spark's workers to the table (a folder, or Unity Catalog), written by Spark itself, one commit a job."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from forecast_platform.clients.spark_session import is_sail
from forecast_platform.compute.spark_pieces import (
    Prepared,
    Replies,
    SparkJobError,
    collected,
    forecasts_from_replies,
    key_of,
)
from forecast_platform.warehouse.base import LostRaceError, Where, keys_of
from forecast_platform.warehouse.checking import ATTEMPTS, check_keys
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.predicates import spark_sql
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.warehouse.unity import UnityWarehouse
from forecast_platform.warehouse.unity_dialect import is_conflict
from forecast_platform.work import store
from forecast_platform.work.platform import Platform

_STALE_SECONDS = 2 * 86400
"""Age from which an exchange folder is taken for what a killed driver left behind."""


def write_with_spark(
    platform: Platform, session: Any, todo: list[Prepared], rows: Any, folder: Path, numbers: list[int]
) -> Replies:
    """Run the job with the table as its output, in one commit; where keys are replaced, only by valid ones.

    Raises SparkJobError where a piece did not answer, or a date does not hold its paths afterwards.
    """
    import pyarrow as pa

    from forecast_platform.compute.spark_worker import from_bytes, rows_ddl

    warehouse = platform.warehouse
    key = key_of(todo[0].chunk)
    asked = [day for prepared in todo for day in prepared.inputs.dates.astype(dt.date)]
    where = keys_of(*key, asked, by_month=True)
    # A date that turns out to be invalid keeps its stored paths, so what replaces others waits until that is known.
    replacing = warehouse.read(DISTRIBUTIONS, ["path_id"], {**where, "path_id": 0}).num_rows > 0
    # sail gives a commit up where any other came in between: what is staged can be committed again.
    staging = replacing or is_sail(platform.settings)
    if staging:
        # Parquet: Unity Catalog takes no Delta tables in a volume.
        rows.write.mode("overwrite").parquet(str(folder / "paths"))
    else:
        with _turn(platform):
            replace_rows(platform, rows, where)
    files = sorted(folder.glob("*.arrow"))
    replies = collected(pa.concat_tables([from_bytes(file.read_bytes()) for file in files]), numbers)
    good: list[dt.date] = []
    for prepared in todo:
        made, _ = forecasts_from_replies(prepared, replies)
        good += made.days
        if replacing:
            live = set(prepared.chunk.published)
            store.archive(platform, *key, [day for day in made.days if day in live])
    if not good:
        return replies
    where = keys_of(*key, good, by_month=True)
    if staging:
        staged = session.read.schema(rows_ddl(platform.horizon)).parquet(str(folder / "paths"))
        _committed(platform, staged, where)
    _verify(_stored(platform, session), where, good, platform.settings.n_paths)
    return replies


def _committed(platform: Platform, staged: Any, where: Where) -> None:
    """Commit rows that are on disk, again where another engine's commit came in between."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _turn(platform):
                replace_rows(platform, staged, where)
            return
        except Exception as error:
            if attempt == ATTEMPTS or not (isinstance(error, LostRaceError) or is_conflict(error)):
                raise
            time.sleep(random.uniform(0.05, min(0.2 * attempt, 4.0)))  # noqa: S311 - jitter


def _turn(platform: Platform) -> AbstractContextManager[Any]:
    """sail gives up a commit where any other came in between, also of other keys: its jobs take turns."""
    from filelock import FileLock

    if not is_sail(platform.settings):
        return nullcontext()
    return FileLock(str(platform.settings.warehouse / "_spark.lock"))


def replace_rows(platform: Platform, rows: Any, where: Where) -> None:
    """One commit that replaces the rows of `where`. Never partitionOverwriteMode: sail replaces the table.

    Raises SparkJobError where the warehouse is no folder.
    """
    warehouse = platform.warehouse
    if isinstance(warehouse, UnityWarehouse):
        warehouse.replace_frame(DISTRIBUTIONS, rows, where)
        return
    folder = delta_warehouse(platform)
    check_keys(DISTRIBUTIONS, where)
    before = folder.version(DISTRIBUTIONS)
    rows.write.format("delta").mode("overwrite").option("replaceWhere", spark_sql(where)).save(_location(platform))
    folder.settle(DISTRIBUTIONS, 0 if before is None else before + 1)


def _location(platform: Platform) -> str:
    """The table's folder. A path alone would be one of the cluster's own file system, such as HDFS."""
    path = delta_warehouse(platform).path(DISTRIBUTIONS)
    return str(path) if is_sail(platform.settings) else f"file://{path}"


def _stored(platform: Platform, session: Any) -> Any:
    if isinstance(platform.warehouse, UnityWarehouse):
        return platform.warehouse.frame(DISTRIBUTIONS)
    return session.read.format("delta").load(_location(platform))


def prepare(platform: Platform, size: int) -> None:
    """Make the table where it is not there yet, and look whether `size` bytes fit on the disk that it is on.

    Raises SparkJobError where the warehouse is no folder.
    """
    if isinstance(platform.warehouse, UnityWarehouse):
        platform.warehouse.create(DISTRIBUTIONS)
        return
    warehouse = delta_warehouse(platform)
    warehouse.check_space(size)
    warehouse.create(DISTRIBUTIONS)


def _verify(stored: Any, where: Where, good: Sequence[dt.date], n_paths: int) -> None:
    counts = stored.where(spark_sql(where)).groupBy("forecast_date").count().toArrow()
    found = dict(zip(counts["forecast_date"].to_pylist(), counts["count"].to_pylist(), strict=True))
    wrong = {day: found.get(day, 0) for day in good if found.get(day, 0) != n_paths}
    wrong.update({day: count for day, count in found.items() if day not in set(good)})
    if wrong:
        day, count = next(iter(wrong.items()))
        raise SparkJobError(
            f"{DISTRIBUTIONS.name}: {len(wrong)} dates do not hold {n_paths} paths after the write ({day}: {count}); "
            "another process may be writing the same keys: run it again"
        )


def delta_warehouse(platform: Platform) -> DeltaWarehouse:
    """The platform's warehouse as a folder of Delta tables. Raises SparkJobError where it is none."""
    if not isinstance(platform.warehouse, DeltaWarehouse):
        raise SparkJobError(
            f"spark.writer: {type(platform.warehouse).__name__} is no warehouse folder; set it to driver"
        )
    return platform.warehouse


def sweep(folder: Path) -> None:
    """Remove what a killed driver left behind."""
    if folder.is_dir():
        for old in folder.iterdir():
            with suppress(FileNotFoundError):  # another process's job has ended
                if old.stat().st_mtime < time.time() - _STALE_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
