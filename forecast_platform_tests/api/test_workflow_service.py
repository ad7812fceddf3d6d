"""Workflows over HTTP with everything that an operator starts: assets without a restart by hand, kills, a cancel."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.graph.workflow_runs import WORKFLOW_TAG
from forecast_platform_tests.api.service import OPEN, TOKENS, Service, environment
from forecast_platform_tests.api.test_workflows import TASKS, text
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ui.running import LOGS, Running
from forecast_platform_tests.waiting import until

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
    variables = environment(tmp_path) | {
        "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(TOKENS).replace("'", '"'),
        "FORECAST_PLATFORM_WORKERS": "1",
        "MAX_JOBS_PER_USER": "2",
        "MAX_TOTAL_JOBS": "4",
    }
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

    def ended(user: str, one: str) -> dict[str, Any] | None:
        found = service.patient(user, "GET", f"/workflows/{one}")
        return None if found["status"] in OPEN else found

    try:
        before = {"/".join(node["assetKey"]["path"]) for node in running.ask(ASSETS)}
        assert not any(key.startswith("ensembles/") for key in before)
        first = submitted("a", 0)
        began = time.monotonic()
        wanted = "ensembles/of_a_0/stack_top_any"
        until(lambda: wanted in {"/".join(node["assetKey"]["path"]) for node in running.ask(ASSETS)}, "assets", 60)
        waited = time.monotonic() - began
        with ThreadPoolExecutor(5) as threads, contextlib.ExitStack() as stack:
            stack.callback(stopped.set)
            watcher = threads.submit(watch)
            others = {
                user: threads.submit(lambda u=user, n=n: [submitted(u, k) for k in range(n)])
                for user, n in (("b", 2), ("c", 1))
            }
            # Killed in the middle: run worker first, then everything.
            [(run_id, _)] = until(lambda: [one for one in runs_of(running, first) if one[1] == "STARTED"], "a run", 90)
            os.kill(until(lambda: pid_of(running, run_id), "the run's process", 30), signal.SIGKILL)
            service.process.kill()
            service.process.wait()
            service.start()
            ids = [("a", first), *((user, one) for user, found in others.items() for one in found.result())]
            daemon = next(one for one in running.family if "dagster._daemon" in " ".join(one.cmdline()))
            daemon.send_signal(signal.SIGKILL)
            running.process.wait(60)
            running = Running.start(tmp_path, variables)
            gone = submitted("d", 0, {"task": "stack_top_any", "stack": {"top_n": 2}})
            cancelled = service.patient("d", "POST", f"/workflows/{gone}/cancel")["status"]
            assert cancelled in ("cancelled", "cancelling")
            found = {}
            for user, one in ids:
                found[one] = until(lambda u=user, w=one: ended(u, w), f"end of {one}", pause=0.5)
                if found[one]["status"] == "failed":  # its run was stopped with the service, twice
                    service.patient(user, "POST", f"/workflows/{one}/submit")
                    found[one] = until(lambda u=user, w=one: ended(u, w), f"end of {one}", pause=0.5)
            assert until(lambda: ended("d", gone), "cancel")["status"] == "cancelled"
            stopped.set()
            watcher.result()
        for _, one in ids:
            assert found[one]["status"] == "completed", json.dumps(found[one], indent=1)
            assert {task["state"] for task in found[one]["tasks"]} == {"finished"}
            assert [status for _, status in runs_of(running, one)].count("SUCCESS") == 1
        results = service.patient("a", "GET", f"/workflows/{first}/results")
        assert set(results["tasks"]) == {task["task"] for task in TASKS}
        assert max(max(one.values()) for one in counts) <= 2
        assert max(sum(one.values()) for one in counts) <= 4
        assert waited < 40
    finally:
        service.process.terminate()
        service.process.wait(20)
        running.stop()
