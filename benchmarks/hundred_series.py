"""A desk's hundred series against one: what loading, a page, a day, a backfill and the automation's ticks cost.

    python benchmarks/hundred_series.py [--sizes 1 2 10 100] [--parts load page day backfill ticks] [--folder KEPT]

Made-up daily prices (`forecast_platform_tests/desk.py`), 2018 to 2025 after five years of lookback, three models, in
groups of ten. Every size is run in this one call, each part in processes of its own; the ratio is to the first size
(of `day` to the size 2). Printed are wall and processor seconds (user and system of all child processes) and peak
memory. One month of 100 series takes 1.1 GB of disk and, with its training, half an hour on two busy cores.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast_platform_tests.desk import END, MODELS, desk_settings, series_names, write_desk, write_settings

PARTS = ("load", "page", "day", "backfill", "ticks")
MONTH = (dt.date(2025, 11, 1), dt.date(2025, 11, 30))
WINDOW = dt.date(2025, 7, 1)
DAY = dt.timedelta(days=1)

# What the partition page of an asset asks first, taken from the bundle of dagster-webserver 1.13.
PARTITION_HEALTH = """
query PartitionHealthQuery($assetKey: AssetKeyInput!) { assetNodeOrError(assetKey: $assetKey) { ... on AssetNode {
  id partitionKeysByDimension { name type partitionKeys }
  assetPartitionStatuses {
    ... on TimePartitionStatuses { ranges { status startTime endTime startKey endKey } }
    ... on DefaultPartitionStatuses { materializedPartitions materializingPartitions failedPartitions }
    ... on MultiPartitionStatuses { primaryDimensionName ranges {
      primaryDimStartKey primaryDimEndKey primaryDimStartTime primaryDimEndTime
      secondaryDim {
        ... on TimePartitionStatuses { ranges { status startTime endTime startKey endKey } }
        ... on DefaultPartitionStatuses {
          materializedPartitions materializingPartitions failedPartitions } } } } } } } }
"""
LOAD = "import forecast_platform.definitions as d; r = d.defs.get_repository_def(); r.load_all_definitions()"


@dataclass(frozen=True)
class Cost:
    """Of one measurement: seconds of wall and processor, and the largest child's memory in GB."""

    wall: float
    processor: float
    memory: float = 0.0

    def __str__(self) -> str:
        memory = f", {self.memory:.2f} GB" if self.memory else ""
        return f"{self.wall:8.2f} s wall, {self.processor:8.2f} s processor{memory}"


@dataclass(frozen=True)
class Desk:
    """One size: its folder, its series and the environment that its processes run in."""

    root: Path
    names: list[str]

    @classmethod
    def made(cls, folder: Path, count: int) -> Desk:
        """The landing files and settings of `count` series under `folder`."""
        root, names = folder / f"series_{count}", series_names(count)
        write_desk(root / "landing", names)
        write_settings(root, names)
        return cls(root, names)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this desk is started with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
        return {
            **kept,
            "DAGSTER_HOME": str(self.root / "warehouse" / "_dagster"),
            "FORECAST_PLATFORM_CONFIG": str(self.root / "desk.yaml"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def settings(self, **changes: Any) -> Any:
        """The settings, in this process."""
        from forecast_platform.settings import build

        return build(**{**desk_settings(self.root, self.names), **changes})

    def run(self, module: str, *arguments: str) -> Cost:
        """Run a module to its end; raises SystemExit with its output where it fails."""
        return timed(self.environment, [sys.executable, "-m", module, *arguments])

    def command(self, *arguments: str) -> Cost:
        """Run a command of ours."""
        return self.run("forecast_platform.cli", *arguments)


def timed(environment: dict[str, str], command: Sequence[str]) -> Cost:
    """Run a command to its end and measure it with all its children."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{output.decode(errors='replace')[-3000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def load(desk: Desk) -> Cost:
    """The definitions in a fresh process, as a code server loads them: the median of five."""
    found = [timed(desk.environment, [sys.executable, "-W", "ignore", "-c", LOAD]) for _ in range(5)]
    return sorted(found, key=lambda one: one.processor)[2]


def page(desk: Desk) -> Cost:
    """The partition page of the first group's paths, every partition of it there: the median of seven, once warm."""
    from dagster import DagsterInstance

    from forecast_platform.definitions import build_definitions
    from forecast_platform.graph.keys import all_keys
    from forecast_platform.host.home import prepare_home

    settings = desk.settings()
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    keys = [keys.distributions("naive") for keys in all_keys(settings)][:1]
    keys += [all_keys(settings)[0].unified_data]
    graph = build_definitions(settings).resolve_asset_graph()
    with DagsterInstance.get() as instance:
        counts = [recorded(instance, key, graph.get(key).partitions_def.get_partition_keys()) for key in keys]
    del os.environ["DAGSTER_HOME"]
    with webserver(desk) as (port, process):
        for key, count in zip(keys, counts, strict=True):
            body = {"query": PARTITION_HEALTH, "variables": {"assetKey": {"path": key.path}}}
            cold = asked(port, body)
            before = used(process)
            seconds = [asked(port, body) for _ in range(7)]
            cost = Cost(statistics.median(seconds), (used(process) - before) / 7)
            print(f"    {key.to_user_string()}: {count:,} partitions, first {cold:.2f} s, then {cost}", flush=True)
            if key == keys[0]:
                first = cost
    return first


def used(process: subprocess.Popen[bytes]) -> float:
    """Processor seconds of a process and what it started."""
    import psutil

    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in family)


def recorded(instance: Any, key: Any, partitions: Sequence[str]) -> int:
    """Record a materialization of each partition without one, a thousand a transaction; returns how many there are."""
    from dagster import AssetMaterialization
    from dagster._core.definitions.partitions.utils.multi import get_tags_from_multi_partition_key
    from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
    from dagster._core.events.log import EventLogEntry

    there = instance.get_materialized_partitions(key)  # by an earlier run in a kept folder, or by another part
    lacking = [name for name in partitions if name not in there]
    kind, run_id = DagsterEventType.ASSET_MATERIALIZATION.value, f"{abs(hash(key)):032x}"[:32]
    for first in range(0, len(lacking), 1000):
        events = []
        for name in lacking[first : first + 1000]:
            made = AssetMaterialization(key, partition=name, tags=get_tags_from_multi_partition_key(name))
            event = DagsterEvent(kind, "forecast", event_specific_data=StepMaterializationData(made))
            events.append(EventLogEntry(None, "debug", "", run_id, time.time(), dagster_event=event))
        instance.event_log_storage.store_event_batch(events)
    return len(partitions)


@contextlib.contextmanager
def webserver(desk: Desk) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Dagster's webserver over the desk's definitions, until the end of the block."""
    from forecast_platform.host.services import free_port

    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-m", "forecast_platform.definitions", "-p", str(port)]
    process = subprocess.Popen(command, env=desk.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError):
                asked(port, {"query": "{ version }"})
                break
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit(f"the webserver of {desk.root} did not start")
            time.sleep(0.5)
        yield port, process
    finally:
        process.terminate()
        process.wait(30)


def asked(port: int, body: dict[str, Any]) -> float:
    """Seconds until the answer of a GraphQL query is read. Raises SystemExit where it has errors."""
    data, kind = json.dumps(body).encode(), {"content-type": "application/json"}
    started = time.perf_counter()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/graphql", data, kind)) as answer:
        found = json.loads(answer.read())
    seconds = time.perf_counter() - started
    if found.get("errors"):
        raise SystemExit(f"the query failed: {found['errors']}")
    return seconds


def trained(desk: Desk) -> None:
    """History and the models of the window that the month is in; not measured."""
    done = desk.root / "trained"
    if not done.exists():
        cost = desk.command("train", "--start-date", str(WINDOW), "--end-date", str(MONTH[1]))
        print(f"    (ingest of 13 years and training of one window: {cost})", flush=True)
        done.touch()


def day(desk: Desk) -> Cost:
    """The day's three runs, each group's in a process of its own, as the daemon's run launcher starts them."""
    trained(desk)
    settings, date = desk.settings(), MONTH[1] + DAY
    costs = []
    for job, key in (("ingest", date - DAY), ("forecast", date), ("score", WINDOW)):
        for group in settings.series_groups:
            tags = {
                "dagster/asset_partition_range_start": f"{key}|{group.series[0]}",
                "dagster/asset_partition_range_end": f"{key}|{group.series[-1]}",
            }
            name = f"{job}_{group.name}" if group.name else job
            options = ("-m", "forecast_platform.definitions", "-j", name, "--tags", json.dumps(tags))
            costs.append(desk.run("dagster", "job", "execute", *options))
    return total(costs)


def total(costs: Sequence[Cost]) -> Cost:
    """All of them one after the other."""
    return Cost(sum(one.wall for one in costs), sum(one.processor for one in costs), max(one.memory for one in costs))


def backfill(desk: Desk) -> Cost:
    """One month of every series and model at 2,000 paths, scored."""
    trained(desk)
    return desk.command("backfill", "--start-date", str(MONTH[0]), "--end-date", str(MONTH[1]), "--overwrite")


TICKS = """
import json, resource, sys
from pathlib import Path
from forecast_platform_tests.desk import END, noon, ticked
found = ticked(Path(sys.argv[1]), sys.argv[2:], noon(END))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"ticks": found, "memory": memory}))
"""


def ticks(desk: Desk) -> Cost:
    """A second look of every schedule and sensor at a day whose forecasts are missing; the first is printed beside."""
    trained(desk)
    command = [sys.executable, "-W", "ignore", "-c", TICKS, str(desk.root), *desk.names]
    done = subprocess.run(command, env=desk.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the ticks of {desk.root} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    for name, ((cold, _, asked, _), (warm, _, _, _)) in found["ticks"].items():
        if len(desk.names) <= 10 or name.count("_") != 1 or name in ("daily_forecast", "new_data"):
            print(f"    {name}: first {cold:.2f} s, then {warm:.2f} s; {asked} runs requested", flush=True)
    second = [looks[1] for looks in found["ticks"].values()]
    return Cost(sum(one[0] for one in second), sum(one[1] for one in second), found["memory"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 10, 100], help="series")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="folder to work in and keep (default: a temporary one)")
    options = parser.parse_args()
    measures = {"load": load, "page": page, "day": day, "backfill": backfill, "ticks": ticks}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        desks = {count: Desk.made(folder, count) for count in options.sizes}
        for part in options.parts:
            print(f"{part}: {measures[part].__doc__}", flush=True)
            base: tuple[int, Cost] | None = None
            for count, desk in desks.items():
                if (part == "day" and count == 1 and 2 in desks) or (part != "day" and count == 2):
                    continue
                cost = measures[part](desk)
                base = base or (count, cost)
                each = count / base[0] if part == "backfill" else 1
                wall, processor = (
                    here / there / each
                    for here, there in ((cost.wall, base[1].wall), (cost.processor, base[1].processor))
                )
                ratio = f"wall {wall:.2f}, processor {processor:.2f}"
                memory = f", memory {cost.memory / base[1].memory:.2f}" if cost.memory and base[1].memory else ""
                what = "times a (series, date)" if part == "backfill" else "times"
                print(f"  {count:3d} series: {cost}; {ratio}{memory} {what} those of {base[0]}", flush=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{os.cpu_count()} cores, models {', '.join(MODELS)}, dates to {END}; {usage.ru_utime:.0f} s in all")


if __name__ == "__main__":
    main()
