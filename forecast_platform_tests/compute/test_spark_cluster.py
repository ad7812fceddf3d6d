"""compute=spark on a Spark cluster of processes of its own: a standalone master, a worker and its executors."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import assert_same_tables, needs_java
from forecast_platform_tests.compute.test_spark_jvm import FIRST, LAST, SPAN, run_case
from forecast_platform_tests.waiting import until
from forecast_platform_tests.worlds import settings_for

pytestmark = [needs_java, pytest.mark.slow]

CORES = 3
"""More than the two that a cluster seems to have until its executors have registered."""
MODELS = ("naive", "xgboost")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Cluster:
    """A running standalone cluster."""

    page: str
    """The master's web page."""
    root: Path

    def ask(self) -> dict[str, Any]:
        """What the master says of its workers and applications."""
        with urllib.request.urlopen(f"{self.page}/json/", timeout=30) as answer:
            return json.load(answer)

    @property
    def config(self) -> dict[str, str]:
        """Settings of a driver: it is found on loopback, and tells in a plain file which executor did what."""
        (self.root / "events").mkdir(exist_ok=True)
        return {
            "spark.driver.host": "127.0.0.1",
            "spark.executor.memory": "768m",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": (self.root / "events").as_uri(),
            "spark.eventLog.compress": "false",
            "spark.eventLog.rolling.enabled": "false",
        }

    def events(self, app: str) -> list[dict[str, Any]]:
        """What an application did, as its driver logged it."""
        return [json.loads(line) for line in (self.root / "events" / app).read_text().splitlines()]


@contextmanager
def server(log: Path, name: str, *arguments: str) -> Iterator[None]:
    """One of Spark's servers, of the installed pyspark; ended with the block, and its executors with it."""
    [home] = find_spec("pyspark").submodule_search_locations or []  # type: ignore[union-attr]
    given = {key: value for key, value in os.environ.items() if not key.startswith(("SPARK_", "PYSPARK_"))}
    given |= {
        "SPARK_HOME": home,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        # Its port is fixed, and nothing here uses it.
        "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        # The package is installed on a cluster's machines; its Python workers find it, and the tests', here.
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    command = [f"{home}/bin/spark-class", f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1", *arguments]
    with log.open("wb") as told:
        process = subprocess.Popen(command, env=given, stdout=told, stderr=told, cwd=log.parent, start_new_session=True)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        # Whatever is left of the group; the leader may be gone before its executors.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and one worker, which has registered. Ports are the system's choice, so that none is taken already."""
    root = tmp_path_factory.mktemp("cluster")
    master, worker = root / "master.log", root / "worker.log"
    with ExitStack() as running:
        running.enter_context(server(master, "master.Master", "--port", "0", "--webui-port", "0"))
        page = until(
            lambda: re.search(r"MasterWebUI.* at http://\S+:(\d+)", master.read_text()), "a page", told=master.read_text
        )
        made = Cluster(f"http://127.0.0.1:{page[1]}", root)
        until(lambda: made.ask()["status"] == "ALIVE", "a master", told=master.read_text)
        width = ("--cores", str(CORES), "--memory", "1g", "--work-dir", str(root / "work"))
        ports = ("--port", "0", "--webui-port", "0")
        running.enter_context(server(worker, "worker.Worker", *width, *ports, made.ask()["url"]))
        until(lambda: made.ask()["aliveworkers"] == 1, "a worker", told=worker.read_text)
        yield made


@pytest.fixture(scope="module")
def local(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Platform]:
    """A trained platform without forecasts, and the same one with those of the local compute."""
    root = tmp_path_factory.mktemp("local")
    shutil.copytree(trained_template, root / "before")
    before = Platform.from_settings(settings_for(root / "before", models=MODELS))
    train(before, "Alpha", "xgboost", [dt.date(2017, 7, 1), dt.date(2018, 1, 1)])
    shutil.copytree(root / "before", root / "after")
    here = Platform.from_settings(settings_for(root / "after", models=MODELS))
    for model in MODELS:
        assert forecast(here, "Alpha", model, SPAN).written == set(SPAN)
    return root / "before", here


@pytest.mark.parametrize("writer", ["workers", "driver"])
def test_the_executors_of_a_cluster_give_the_local_bits_whoever_writes(
    cluster: Cluster, local: tuple[Path, Platform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    before, here = local
    shutil.copytree(before, tmp_path / "spark")
    there = Platform.from_settings(settings_for(tmp_path / "spark", models=MODELS))
    known = {app["id"] for app in cluster.ask()["completedapps"]}
    address = cluster.ask()["url"]
    monkeypatch.setenv("FORECAST_PLATFORM_SPARK__CONFIG", json.dumps(cluster.config))
    replies = run_case(tmp_path / "spark", address, writer, FIRST, LAST, ",".join(MODELS))
    assert [(reply["written"], reply["failed"]) for reply in replies] == [(len(SPAN), {})] * len(MODELS)
    assert {reply["cores"] for reply in replies} == {CORES}
    assert_same_tables(here, there)

    def ended() -> list[dict[str, Any]]:
        return [app for app in cluster.ask()["completedapps"] if app["id"] not in known]

    # Of this cluster: the master has had the application, and its worker kept the files of its executors.
    [app] = until(ended, "the application's end", told=(cluster.root / "master.log").read_text)
    assert (app["name"], app["state"], app["cores"]) == ("forecast_platform", "FINISHED", CORES)
    events = cluster.events(app["id"])
    added = [event for event in events if event["Event"] == "SparkListenerExecutorAdded"]
    executors = {event["Executor ID"] for event in added}
    assert executors == {path.name for path in (cluster.root / "work" / app["id"]).iterdir()}
    assert {event["Executor Info"]["Total Cores"] for event in added} == {CORES}
    # Of each model at least a task a core, all in the executors' processes: none in the driver's.
    tasks = [event["Task Info"] for event in events if event["Event"] == "SparkListenerTaskEnd"]
    assert len(tasks) >= CORES * len(MODELS)
    assert {task["Executor ID"] for task in tasks} <= executors
    assert "driver" not in executors
    # Version 0 is the table's creation. Workers commit a piece of whole months each, the driver a window.
    assert there.warehouse.version(DISTRIBUTIONS) == 2 * len(MODELS)
