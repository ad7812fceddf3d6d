"""A running platform for tests, driven as its UI drives it: over GraphQL."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import psutil

from forecast_platform.host.services import free_port
from forecast_platform_tests.forked import Command
from forecast_platform_tests.waiting import PATIENCE, until

log = logging.getLogger(__name__)
Found = TypeVar("Found")
STATUSES = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetPartitionStatuses {
  ... on MultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey secondaryDim {
    ... on DefaultPartitionStatuses { materializedPartitions failedPartitions materializingPartitions } } } } } } } }"""
BACKFILL = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PythonError { message }
  ... on PartitionBackfill { status timestamp endTimestamp runs(limit: 50) { id status startTime endTime
    tags { key value } assetSelection { path } }
    assetBackfillData { assetBackfillStatuses {
      ... on AssetPartitionsStatusCounts { assetKey { path } numPartitionsTargeted numPartitionsMaterialized
        numPartitionsFailed }
      ... on UnpartitionedAssetStatus { assetKey { path } materialized failed } } } } } }"""
LAUNCH = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  ... on PartitionKeysNotFoundError { message } } }"""
LOGS = """
query($id: ID!, $cursor: String) { logsForRun(runId: $id, afterCursor: $cursor, limit: 1000) {
  ... on EventConnection { cursor hasMore events { __typename ... on MessageEvent { message }
    ... on ExecutionStepFailureEvent { error { message cause { message } } failureMetadata { description } } } } } }"""
ENDED = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED", "FAILED", "COMPLETED")


@dataclass(frozen=True)
class Run:
    """One run of a backfill."""

    id: str
    status: str
    assets: frozenset[str]
    first: str
    last: str
    began: float
    seconds: float


@dataclass(frozen=True)
class Backfill:
    """A backfill as the UI shows it."""

    id: str
    status: str
    runs: list[Run]
    counts: dict[str, tuple[int, int, int]]
    """By asset: partitions targeted, materialized, failed."""
    launched: float
    seconds: float
    """From its launch to its end, as Dagster recorded them."""


@dataclass
class Running:
    """`forecast-platform up` over a folder, and questions to its webserver."""

    root: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    port: int
    family: list[psutil.Process]

    @classmethod
    def start(cls, root: Path, environment: dict[str, str], *, seconds: float = PATIENCE) -> Running:
        """Start it and wait until it says that it is up."""
        port = free_port()
        log = root / "up.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "forecast_platform.cli", "up", "--port", str(port)],
                env=environment,
                cwd=root,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

        def said() -> bool:
            assert process.poll() is None, log.read_text()
            return "Ctrl-C stops everything" in log.read_text()

        until(said, "start of the services", seconds)
        family = psutil.Process(process.pid).children(recursive=True)
        started = cls(root, environment, process, port, family)
        if not started.ask("{ assetNodes { id } }"):
            started.stop()
            raise AssertionError(f"the code location did not load:\n{log.read_text()}")
        return started

    def stop(self) -> list[psutil.Process]:
        """Stop as an operator does; returns processes that are left, after ending them."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        finally:
            _, left = psutil.wait_procs(self.family, timeout=2)
            for one in [*left, *([psutil.Process(self.process.pid)] if self.process.poll() is None else [])]:
                one.kill()
        return left

    @property
    def url(self) -> str:
        """The UI's address."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def warehouse(self) -> Path:
        """The folder of the tables."""
        return Path(self.environment["FORECAST_PLATFORM_WAREHOUSE"])

    def command(self, *arguments: str) -> str:
        """Run one forecast-platform command to its end; returns what it printed."""
        return command(self.environment, *arguments)

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL query's one field."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as reply:
            answer = json.loads(reply.read())
        assert "errors" not in answer, answer["errors"]
        [value] = answer["data"].values()
        return value

    def launch(self, assets: Sequence[str], keys: Sequence[str]) -> str:
        """Launch a backfill of these assets and partitions, as *Materialize* does; returns its id."""
        started = time.perf_counter()
        selection = [{"path": asset.split("/")} for asset in assets]
        answer = self.ask(LAUNCH, params={"assetSelection": selection, "partitionNames": list(keys)})
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        log.info(f"launch of {len(keys)} keys of {len(assets)} assets: {time.perf_counter() - started:.2f} s")
        return str(answer["backfillId"])

    def launch_exactly(self, partitions: dict[str, tuple[str, str]]) -> str:
        """Launch a backfill of the first to the last partition of each asset, without Dagster's expansion."""
        started = time.perf_counter()
        chosen = [
            {"assetKey": {"path": asset.split("/")}, "partitions": {"range": {"start": first, "end": last}}}
            for asset, (first, last) in partitions.items()
        ]
        answer = self.ask(LAUNCH, params={"partitionsByAssets": chosen})
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        log.info(f"launch of {partitions}: {time.perf_counter() - started:.2f} s")
        return str(answer["backfillId"])

    def workers(self) -> set[int]:
        """Ids of the run workers' processes."""
        found = set()
        for one in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if any("spawn_main" in part for part in one.cmdline()):
                    found.add(one.pid)
            except psutil.NoSuchProcess:
                continue
        return found

    def backfill(self, backfill_id: str) -> Backfill:
        """The backfill's state now."""
        found = self.ask(BACKFILL, id=backfill_id)
        assert found.get("status"), found
        runs = []
        for run in found["runs"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            one = tags.get("dagster/partition")
            began = run["startTime"] or time.time()
            assets = frozenset("/".join(key["path"]) for key in run["assetSelection"] or [])
            first = one or tags.get("dagster/asset_partition_range_start", "")
            last = one or tags.get("dagster/asset_partition_range_end", "")
            runs.append(
                Run(run["id"], run["status"], assets, first, last, began, (run["endTime"] or time.time()) - began)
            )
        counts = {
            "/".join(status["assetKey"]["path"]): (
                status["numPartitionsTargeted"],
                status["numPartitionsMaterialized"],
                status["numPartitionsFailed"],
            )
            for status in (found["assetBackfillData"] or {}).get("assetBackfillStatuses", [])
            if "numPartitionsTargeted" in status
        }
        launched = found["timestamp"]
        seconds = (found["endTimestamp"] or time.time()) - launched
        runs.sort(key=lambda run: (run.first, run.last))
        return Backfill(backfill_id, found["status"], runs, counts, launched, seconds)

    def finished(self, backfill_id: str, seconds: float = 600) -> Backfill:
        """The backfill once it has ended, with the time it took printed."""

        def ended() -> Backfill | None:
            state = self.backfill(backfill_id)
            return state if state.status in ENDED else None

        state = until(ended, f"end of backfill {backfill_id}", seconds, pause=1.0)
        log.info(f"backfill {backfill_id}: {state.status} {state.seconds:.0f} s after its launch")
        for run in state.runs:
            span = f"{run.first} .. {run.last}"
            waited = run.began - state.launched
            log.info(
                f"  run {run.status} {span}: began after {waited:.0f} s, took {run.seconds:.1f} s, {set(run.assets)}"
            )
        log.info(f"  targeted, materialized, failed: {state.counts}")
        return state

    def statuses(self, asset: str) -> dict[str, set[str]]:
        """Partition keys by status, as the asset's partition view colours them."""
        from datetime import date, timedelta

        answer = self.ask(STATUSES, key={"path": asset.split("/")})["assetPartitionStatuses"]
        found: dict[str, set[str]] = {"materialized": set(), "failed": set(), "materializing": set()}
        for block in answer["ranges"]:
            first = date.fromisoformat(block["primaryDimStartKey"])
            last = date.fromisoformat(block["primaryDimEndKey"])
            days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
            for status, keys in found.items():
                keys.update(f"{day}|{name}" for day in days for name in block["secondaryDim"][f"{status}Partitions"])
        return found

    def messages(self, run_id: str) -> list[str]:
        """What a run logged, and why its steps failed."""
        texts: list[str] = []
        cursor = None
        while True:
            page = self.ask(LOGS, id=run_id, cursor=cursor)
            for event in page["events"]:
                texts.append(event.get("message") or "")
                if event["__typename"] == "ExecutionStepFailureEvent":
                    texts.append((event["failureMetadata"] or {}).get("description") or "")
                    texts.append(json.dumps(event["error"]))
            if not page["hasMore"]:
                return texts
            cursor = page["cursor"]

    def done(self, run_id: str) -> dict[str, tuple[int, int, int]]:
        """By series and model: keys written, skipped and failed, as the run's log says."""
        pattern = re.compile(r"(\S+ \S*): (\d+) keys written, (\d+) skipped as unchanged, (\d+) failed")
        hits = [pattern.search(text) for text in self.messages(run_id)]
        return {hit[1].strip(): (int(hit[2]), int(hit[3]), int(hit[4])) for hit in hits if hit}


def command(environment: dict[str, str], *arguments: str) -> str:
    """Run one forecast-platform command to its end; returns what it printed."""
    started = time.perf_counter()
    done = Command(*arguments, env=environment)
    told = done.told(400)
    assert done.returncode == 0, told
    log.info(f"forecast-platform {' '.join(arguments)}: {time.perf_counter() - started:.1f} s")
    return told


def keys(series: Iterable[str], *spans: tuple[str, str]) -> list[str]:
    """Partition keys of the days of `spans` for each of `series`."""
    from forecast_platform_tests.worlds import days

    return [f"{day}|{name}" for span in spans for day in days(*span) for name in series]
