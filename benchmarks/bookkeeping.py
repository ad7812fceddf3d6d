"""What Dagster's bookkeeping costs for each partition of a range run: our event log against Dagster's own.

    python benchmarks/bookkeeping.py [--partitions 1826 2878] [--parent-partitions 400] [--profile]

Prints milliseconds a partition, planned and materialized events together, over one run of one asset that does nothing,
in this process and on this machine's disk. Dagster's own cost is the same for every partition, so `--parent-partitions`
may be smaller to save time.
"""

from __future__ import annotations

import argparse
import cProfile
import datetime as dt
import logging
import os
import pstats
import tempfile
import time
import warnings
from pathlib import Path

import dagster as dg

OURS = """
event_log_storage:
  module: forecast_platform.graph.event_storage
  class: BatchedSqliteEventLogStorage
  config: {base_dir: "%s"}
"""
QUIET = "telemetry: {enabled: false}\n"
START = dt.date(2018, 1, 1)


def definitions() -> dg.Definitions:
    """One asset over date x series that does nothing."""
    partitions = dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(START.isoformat()),
            "series": dg.StaticPartitionsDefinition(["Coffee", "Sugar"]),
        }
    )

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def forecast() -> None:
        return None

    return dg.Definitions(
        assets=[forecast], jobs=[dg.define_asset_job("job", [forecast], executor_def=dg.in_process_executor)]
    )


def seconds(config: str, n: int) -> float:
    """Seconds that one run over `n` partitions takes with the instance configured as `config`, files created before."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_text(QUIET + (config % folder if config else ""))
        with dg.DagsterInstance.from_config(folder) as instance:
            job = definitions().resolve_job_def("job")
            for size in (1, n):
                end = START + dt.timedelta(days=size - 1)
                tags = {
                    "dagster/asset_partition_range_start": f"{START}|Coffee",
                    "dagster/asset_partition_range_end": f"{end}|Coffee",
                }
                began = time.perf_counter()
                result = job.execute_in_process(instance=instance, tags=tags)
                elapsed = time.perf_counter() - began
            stored = len(instance.get_materialized_partitions(dg.AssetKey("forecast")))
            if not result.success or stored != n:
                raise RuntimeError(f"run over {n} partitions recorded {stored}")
            return elapsed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="+", default=[1826])
    parser.add_argument("--parent-partitions", type=int, default=None, help="as --partitions where not given")
    parser.add_argument("--profile", action="store_true", help="profile our run instead of comparing")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.NOTSET)
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "1000"
    if arguments.profile:
        with cProfile.Profile() as profile:
            seconds(OURS, arguments.partitions[0])
        pstats.Stats(profile).sort_stats("cumulative").print_stats(40)
        return
    for n in arguments.partitions:
        parent_n = min(n, arguments.parent_partitions or n)
        ours = 1000 * seconds(OURS, n) / n
        parent = 1000 * seconds("", parent_n) / parent_n
        print(
            f"{n} partitions: ours {ours:.2f} ms a partition ({ours * n / 1000:.1f} s), "
            f"Dagster's SQLite storage {parent:.2f} ms (over {parent_n}), ratio {parent / ours:.0f}"
        )


if __name__ == "__main__":
    main()
