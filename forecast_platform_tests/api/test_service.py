"""The whole service over HTTP: API, webserver, daemon and MLflow as an operator starts them, with kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from forecast_platform.graph.training_jobs import JOB_TAG
from forecast_platform.host.services import free_port
from forecast_platform_tests.training_jobs.tables import asked, weekly
from forecast_platform_tests.ui.running import Running
from forecast_platform_tests.waiting import until

TOKENS = {name: name * 20 for name in "abcd"}
OPEN = ("submitting", "running", "cancelling")


def environment(root: Path) -> dict[str, str]:
    """Variables of a platform of its own in `root`, over the sample."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
    return kept | {
        "FORECAST_PLATFORM_WAREHOUSE": str(root / "warehouse"),
        "FORECAST_PLATFORM_REPORTS_URL": f"http://127.0.0.1:{free_port()}",
        "DAGSTER_HOME": str(root / "home"),
        "OMP_NUM_THREADS": "1",
    }


class Service:
    """The API as a process of its own."""

    probe = "a"
    """Whose token shows that it answers."""

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self.root, self.variables, self.port = root, variables, free_port()
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.root / "api.log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forecast_platform.cli", "api", "--port", str(self.port)],
                env=self.variables, cwd=self.root, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until(self.answers, "start of the API", 120, pause=0.2)

    def answers(self) -> bool:
        """Whether it takes requests."""
        assert self.process.poll() is None, (self.root / "api.log").read_text()
        try:
            return self.ask(self.probe, "GET", "/jobs").ok
        except requests.ConnectionError:
            return False

    def ask(self, user: str, method: str, path: str, **more: Any) -> requests.Response:
        """One request of a user."""
        headers = {"Authorization": f"Bearer {TOKENS[user]}"}
        url = f"http://127.0.0.1:{self.port}/api/v2{path}"
        return requests.request(method, url, headers=headers, timeout=60, **more)

    def patient(
        self, user: str, method: str, path: str, *, seconds: float = 150, heed: bool = False, **more: Any
    ) -> dict[str, Any]:
        """As a client that tries again, for so long, where the service is full or away; `heed`: when it is told to."""
        end = time.monotonic() + seconds
        while True:
            try:
                reply = self.ask(user, method, path, **more)
            except requests.ConnectionError:
                reply = None
            if reply is not None and reply.ok:
                return dict(reply.json())
            assert reply is None or reply.status_code in (429, 503), reply.text
            assert time.monotonic() < end, "no room"
            time.sleep(float(reply.headers.get("Retry-After", 0.5)) if heed and reply is not None else 0.5)


def config(k: int, models: list[str] | None = None) -> dict[str, Any]:
    return {"config": asked(weekly(1, 40, seed=k), models=models or ["HistoricAverage"])}


@pytest.mark.slow
def test_jobs_of_many_users_are_run_once_each_within_the_limits_through_kills_and_cancels(tmp_path: Path) -> None:
    variables = environment(tmp_path) | {
        "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(TOKENS).replace("'", '"'),
        "MAX_JOBS_PER_USER": "2",
        "MAX_TOTAL_JOBS": "5",
    }
    running = Running.start(tmp_path, variables)
    service = Service(tmp_path, variables)
    rng = random.Random(12)
    counts: list[dict[str, int]] = []
    watching = True

    def watch() -> None:
        while watching:
            found = {}
            for user in TOKENS:
                try:
                    jobs = service.ask(user, "GET", "/jobs?limit=100").json()["jobs"]
                except requests.ConnectionError:
                    continue
                found[user] = sum(job["status"] in OPEN for job in jobs)
            counts.append(found)
            time.sleep(0.3)

    def client(user: str) -> list[str]:
        ids = []
        for k in range(2):
            job = service.patient(user, "POST", "/jobs", json=config(ord(user) + k))
            service.patient(user, "POST", f"/jobs/{job['job_id']}/submit")
            ids.append(job["job_id"])
        return ids

    def ended(user: str, job_id: str) -> dict[str, Any] | None:
        job = service.patient(user, "GET", f"/jobs/{job_id}")
        return job if job["status"] in ("completed", "failed", "cancelled") else None

    with ThreadPoolExecutor(6) as threads:
        watcher = threads.submit(watch)
        clients = {user: threads.submit(client, user) for user in "abc"}
        # `d` cancels in every state: pending, waiting, and at work.
        long = service.patient("d", "POST", "/jobs", json={"config": asked(weekly(60, 200), models=["AutoCES"])})
        draft = service.patient("d", "POST", "/jobs", json=config(1))
        assert service.patient("d", "POST", f"/jobs/{draft['job_id']}/cancel")["status"] == "cancelled"
        service.patient("d", "POST", f"/jobs/{long['job_id']}/submit")
        time.sleep(rng.uniform(1, 3))
        service.process.kill()
        service.process.wait()
        service.start()
        daemon = next(one for one in running.family if "dagster._daemon" in " ".join(one.cmdline()))
        workers = [
            one for one in psutil.Process(running.process.pid).children(recursive=True) if one not in running.family
        ]
        until(
            lambda: service.patient("d", "GET", f"/jobs/{long['job_id']}")["progress"] > 0, "work on the long job", 150
        )
        began = time.monotonic()
        assert service.patient("d", "POST", f"/jobs/{long['job_id']}/cancel")["status"] == "cancelling"
        assert until(lambda: ended("d", long["job_id"]), "cancel")["status"] == "cancelled"
        cancelled_after = time.monotonic() - began
        waiting = service.patient("d", "POST", "/jobs", json=config(7))
        service.patient("d", "POST", f"/jobs/{waiting['job_id']}/submit")
        service.patient("d", "POST", f"/jobs/{waiting['job_id']}/cancel")
        # `up` ends where one of its processes does, and is started again, as a service manager does.
        daemon.send_signal(signal.SIGKILL)
        running.process.wait(60)
        running = Running.start(tmp_path, variables)
        jobs = [(user, job_id) for user, found in clients.items() for job_id in found.result()]
        states = [until(lambda one=one: ended(*one), f"end of {one}", 150, pause=0.5) for one in jobs]
        assert until(lambda: ended("d", waiting["job_id"]), "cancel of a waiting job")["status"] == "cancelled"
        watching = False
        watcher.result()
    try:
        again = [service.patient(user, "POST", f"/jobs/{job['job_id']}/retry")
                 for (user, _), job in zip(jobs, states, strict=True) if job["status"] == "failed"]  # fmt: skip
        assert all("service was stopped" in str(job["error"]) for job in states if job["status"] == "failed"), states
        for job in again:
            until(lambda job=job: ended(job["user_id"], job["job_id"]), "a job that is tried again", 150)
        for user, job_id in jobs:
            found = service.patient(user, "GET", f"/jobs/{job_id}/results")
            assert found["mlflow_run_id"], found["notes"]
            assert len(found["forecast"]) == 4
        assert counts
        assert max(max(found.values(), default=0) for found in counts) <= 2
        assert max(sum(found.values()) for found in counts) <= 5
        tags = running.ask("{ runsOrError { ... on Runs { results { status tags { key value } } } } }")["results"]
        runs = [(tag["value"], run["status"]) for run in tags for tag in run["tags"] if tag["key"] == JOB_TAG]
        done = [job_id for job_id, status in runs if status == "SUCCESS"]
        assert len(done) == len(set(done)), runs
        # One that was killed between its job's end and its own is the job's only one, and the job stays completed.
        killed = {job_id for _, job_id in jobs} - set(done)
        assert [status for job_id, status in runs if job_id in killed] == ["FAILURE"] * len(killed), runs
        assert set(done) <= {job_id for _, job_id in jobs}
        assert cancelled_after < 20
        assert workers is not None
    finally:
        service.process.terminate()
        service.process.wait(20)
        running.stop()
