"""Workflows over HTTP with everything that an operator starts: assets without a restart by hand, kills, a cancel."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import MODEL
from forecast_platform.ensembles.store import FINISHED, RUNNING, States
from forecast_platform.graph.workflow_runs import WORKFLOW_TAG
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.api.service import OPEN, TOKENS, Service, environment
from forecast_platform_tests.api.test_workflows import text
from forecast_platform_tests.api.workflow_crowd import SEED, drawn
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.test_restart import TASKS as EVERY
from forecast_platform_tests.ensembles.workflows import text_of
from forecast_platform_tests.ui.running import LOGS, Running
from forecast_platform_tests.waiting import until

log = logging.getLogger(__name__)
ASSETS = "{ assetNodes { assetKey { path } } }"
RUNS = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"


def runs_of(running: Running, workflow_id: str) -> list[tuple[str, str]]:
    """Ids and statuses of a workflow's runs."""
    found = running.ask(RUNS)["results"]
    return [
        (run["runId"], run["status"])
        for run in found
        if {"key": WORKFLOW_TAG, "value": workflow_id} in run["tags"]
    ]  # fmt: skip


def pid_of(running: Running, run_id: str) -> int | None:
    """The process of a run, as its log names it."""
    events = running.ask(LOGS, id=run_id, cursor=None)["events"]
    found = [re.search(r"\(pid: (\d+)\)", event.get("message") or "") for event in events]
    return next((int(one[1]) for one in found if one), None)


@pytest.mark.slow
def test_submitted_workflows_become_assets_and_are_run_once_each_through_kills_and_a_cancel(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    crowd = drawn(rng, "abbcd", 5)
    kills = rng.sample(("run", "service", "daemon"), 3)
    variables = limited(tmp_path)
    running = Running.start(tmp_path, variables)
    service = Service(tmp_path, variables)
    data = io.BytesIO()
    classes().to_parquet(data)
    counts: list[dict[str, int]] = []
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.is_set():
            found = {
                user: sum(one["status"] in OPEN for one in service.patient(user, "GET", "/workflows")["workflows"])
                for user in TOKENS
            }
            counts.append(found)
            time.sleep(0.5)

    def submitted(user: str, k: int, *tasks: dict[str, Any]) -> str:
        file = service.patient(user, "POST", "/uploads", data=data.getvalue())["file"]
        given = {"yaml": text(file, *tasks, name=f"of_{user}_{k}")}
        one = service.patient(user, "POST", "/workflows", json=given)["workflow_id"]
        service.patient(user, "POST", f"/workflows/{one}/submit", seconds=300)
        return str(one)

    try:
        before = {"/".join(node["assetKey"]["path"]) for node in running.ask(ASSETS)}
        assert not any(key.startswith("ensembles/") for key in before)
        (_, tasks), *rest = crowd
        first = submitted("a", 0, *tasks)
        began = time.monotonic()
        wanted = f"ensembles/of_a_0/{tasks[0]['task']}"
        until(lambda: wanted in {"/".join(node["assetKey"]["path"]) for node in running.ask(ASSETS)}, "assets", 60)
        waited = time.monotonic() - began
        with ThreadPoolExecutor(5) as threads, contextlib.ExitStack() as stack:
            stack.callback(stopped.set)
            watcher = threads.submit(watch)
            others = [
                (user, threads.submit(submitted, user, k, *each)) for k, (user, each) in enumerate(rest) if user != "d"
            ]
            # Killed in the middle, in the order that was drawn.
            [(run_id, _)] = until(lambda: [one for one in runs_of(running, first) if one[1] == "STARTED"], "a run", 90)
            worker = until(lambda: pid_of(running, run_id), "the run's process", 30)
            for what in kills:
                if what == "run":
                    with contextlib.suppress(ProcessLookupError):  # it ended with the daemon's services
                        os.kill(worker, signal.SIGKILL)
                elif what == "service":
                    service.process.kill()
                    service.process.wait()
                    service.start()
                else:
                    running = daemon_killed(running, variables)
            ids = [("a", first), *((user, found.result()) for user, found in others)]
            gone = submitted("d", 0, *rest[-1][1])
            cancelled = service.patient("d", "POST", f"/workflows/{gone}/cancel")["status"]
            assert cancelled in ("cancelled", "cancelling")
            found = {}
            for user, one in ids:
                found[one] = until(lambda u=user, w=one: ended(service, u, w), f"end of {one}", pause=0.5)
                if found[one]["status"] == "failed":  # its run was stopped with the service, twice
                    service.patient(user, "POST", f"/workflows/{one}/submit")
                    found[one] = until(lambda u=user, w=one: ended(service, u, w), f"end of {one}", pause=0.5)
            assert until(lambda: ended(service, "d", gone), "cancel")["status"] == "cancelled"
            stopped.set()
            watcher.result()
        for _, one in ids:
            assert found[one]["status"] == "completed", json.dumps(found[one], indent=1)
            assert {task["state"] for task in found[one]["tasks"]} == {"finished"}
            assert [status for _, status in runs_of(running, one)].count("SUCCESS") == 1
        results = service.patient("a", "GET", f"/workflows/{first}/results")
        assert set(results["tasks"]) == {task["task"] for task in tasks}
        assert max(max(one.values()) for one in counts) <= 2
        assert max(sum(one.values()) for one in counts) <= 4
        assert waited < 40
    finally:
        service.process.terminate()
        service.process.wait(20)
        running.stop()


@pytest.mark.slow
@pytest.mark.long
def test_a_workflow_of_every_task_type_whose_run_and_daemon_are_killed_in_each_task_completes(tmp_path: Path) -> None:
    variables = limited(tmp_path)
    running = Running.start(tmp_path, variables)
    service = Service(tmp_path, variables)
    data = io.BytesIO()
    classes().to_parquet(data)
    try:
        file = service.patient("a", "POST", "/uploads", data=data.getvalue())["file"]
        given = text_of(*EVERY, source={"path": file}, name="each", bases=["linear", "neighbours"], folds=2)
        one = service.patient("a", "POST", "/workflows", json={"yaml": given})["workflow_id"]
        workflow = read_workflow(given)
        settings = build(warehouse=tmp_path / "warehouse", source="sample")
        states = States(Platform.from_settings(settings).warehouse, workflow.context)
        order = [*plan_of(workflow).order, MODEL]
        killed: list[str] = []
        missed: list[str] = []

        def begun() -> str | None:
            now = states.read()
            known = [*killed, *missed]
            return next(
                (name for name in order if name not in known and name in now and now[name].state == RUNNING), None
            )

        while len(killed) + len(missed) < len(order):
            if service.patient("a", "GET", f"/workflows/{one}")["status"] not in OPEN:  # a dead run is tried again once
                service.patient("a", "POST", f"/workflows/{one}/submit")
            run_id, worker = until(lambda r=running: at_work(r, one), "a run", pause=0.2)
            # Tasks that do not wait for one another are begun in an order of Dagster's own.
            name = until(begun, f"another task than {killed}", pause=0.005)
            os.kill(worker, signal.SIGSTOP)
            if states.read()[name].state != RUNNING:  # it was over before this process had its turn
                missed.append(name)
                os.kill(worker, signal.SIGCONT)
                continue
            killed.append(name)
            os.kill(worker, signal.SIGKILL)
            assert states.read()[name].state == RUNNING, "nobody was left to say how it ended"
            log.info(f"killed in {name}")
            running = daemon_killed(running, variables)
            until(lambda r=running, i=run_id: (i, "STARTED") not in runs_of(r, one), "that it is found dead", pause=0.5)
        if service.patient("a", "GET", f"/workflows/{one}")["status"] == "failed":
            service.patient("a", "POST", f"/workflows/{one}/submit")
        found = until(lambda: ended(service, "a", one), "the end", pause=0.5)
        assert found["status"] == "completed", json.dumps(found, indent=1)
        assert [status for _, status in runs_of(running, one)].count("SUCCESS") == 1
        kept = states.read()
        assert {name: one.state for name, one in kept.items()} == dict.fromkeys(order, FINISHED)
        wanted = dict.fromkeys(killed, 2) | dict.fromkeys(missed, 1)
        assert {name: one.attempts for name, one in kept.items()} == wanted, "no task twice"
        assert len(missed) <= 3, "a machine too slow to look in time"
    finally:
        service.process.terminate()
        service.process.wait(20)
        running.stop()


def at_work(running: Running, workflow_id: str) -> tuple[str, int] | None:
    """The run of a workflow that has begun, and its process; None while there is none."""
    found = [run_id for run_id, status in runs_of(running, workflow_id) if status == "STARTED"]
    pid = pid_of(running, found[0]) if found else None
    return None if pid is None else (found[0], pid)


def limited(folder: Path) -> dict[str, str]:
    """Variables of a platform whose users may have two workflows at once, and four in all."""
    return environment(folder) | {
        "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(TOKENS).replace("'", '"'),
        "FORECAST_PLATFORM_WORKERS": "1",
        "MAX_JOBS_PER_USER": "2",
        "MAX_TOTAL_JOBS": "4",
    }


def daemon_killed(running: Running, variables: dict[str, str]) -> Running:
    """Kill the daemon, with which everything ends, and start it anew."""
    daemon = next(one for one in running.family if "dagster._daemon" in " ".join(one.cmdline()))
    daemon.send_signal(signal.SIGKILL)
    running.process.wait(60)
    return Running.start(running.root, variables)


def ended(service: Service, user: str, workflow_id: str) -> dict[str, Any] | None:
    """A workflow that is no more at work; None while it is."""
    found = service.patient(user, "GET", f"/workflows/{workflow_id}")
    return None if found["status"] in OPEN else found
