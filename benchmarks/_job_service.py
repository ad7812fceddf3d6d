"""The parts of benchmarks/jobs.py that start the whole service: API, webserver, daemon and MLflow."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from forecast_platform.host.home import shipped_file
from forecast_platform.settings import build
from forecast_platform.training_jobs.store import JobStore

_PATIENCE = 7200.0
"""Seconds that a client tries again."""


def latency(n_jobs: int = 6) -> None:
    """From a submit to the job's code at work, over HTTP, one job at a time; where the seconds go."""
    import datetime as dt
    import random

    from forecast_platform_tests.api import test_service as tested
    from forecast_platform_tests.ui.running import Running

    rng = random.Random(12)
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        variables = tested.environment(root) | {
            "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(tested.TOKENS).replace("'", '"')
        }
        running, api = Running.start(root, variables), tested.Service(root, variables)
        store = JobStore(build(warehouse=root / "warehouse"))
        try:
            found = []
            for k in range(n_jobs):
                job_id = api.patient("a", "POST", "/jobs", json=tested.config(k))["job_id"]
                time.sleep(rng.uniform(1, 6))  # nobody submits in step with the daemon
                before, asked_at = processor_of(running), time.time()
                api.patient("a", "POST", f"/jobs/{job_id}/submit")
                answered = time.time()
                while store.get(job_id).run_id is None:
                    time.sleep(0.02)
                at_work, processor = time.time(), processor_of(running) - before
                while store.get(job_id).status in tested.OPEN:
                    time.sleep(0.1)
                job = store.get(job_id)
                assert job.status == "completed", job.error
                results = running.ask("{ runsOrError { ... on Runs { results { runId creationTime startTime } } } }")
                [run] = [run for run in results["results"] if run["runId"] == job.run_id]
                requested = dt.datetime.fromisoformat(str(job.requested_at)).timestamp()
                times = [asked_at, answered, requested, run["creationTime"], run["startTime"], at_work]
                found.append(
                    [
                        *(late - early for early, late in itertools.pairwise(times)),
                        at_work - asked_at,
                        processor,
                    ]
                )
            names = (
                *("submit answers", "the sensor asks for a run", "Dagster has the run"),
                *("its process has begun", "the job's code runs", "in all", "processor of all processes"),
            )
            print(f"load {os.getloadavg()[0]:.1f}; medians of {n_jobs} jobs, one at a time, seconds")
            for name, values in zip(names, zip(*found, strict=True), strict=True):
                print(
                    f"{name:<32}{statistics.median(values):7.2f}   {min(values):6.2f} to {max(values):.2f}", flush=True
                )
        finally:
            api.process.terminate()
            api.process.wait(20)
            running.stop()


def processor_of(running: Any) -> float:
    """Seconds of processor that the service's processes have taken so far, with those of their ended children."""
    import psutil

    this, found = psutil.Process(running.process.pid), 0.0
    for one in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += sum(one.cpu_times()[:4])
    return found


STATES = ("pending", "submitting", "queued", "running")
"""In which a job is cancelled: a draft, one that no run was asked for yet, one whose run waits, one at work."""


class Crowd:
    """Clients of the service, each with one job at a time, and what came of their jobs."""

    def __init__(self, api: Any, store: JobStore, ongoing: tuple[str, ...]) -> None:
        self.api, self.store, self.ongoing = api, store, ongoing
        self.began = time.perf_counter()
        self.done: list[str] = []
        """Jobs that were completed, as their clients saw it."""
        self.waits: list[float] = []
        """Seconds until a job had a place."""
        self.cancels: list[tuple[str, str, float]] = []
        """What a job was when it was cancelled, what became of it, and seconds until then."""

    def one(self, user: str, seed: int) -> None:
        """A job to its end; tried again where the service was stopped under it."""
        from forecast_platform_tests.api.test_service import config

        job_id = self._created(user, config(seed))
        self._submitted(user, job_id)
        while True:
            found = self.api.patient(user, "GET", f"/jobs/{job_id}", seconds=_PATIENCE)
            if found["status"] == "failed" and _was_stopped(found["error"]):
                self.api.patient(user, "POST", f"/jobs/{job_id}/retry", seconds=_PATIENCE, heed=True)
            elif found["status"] not in self.ongoing:
                break
            time.sleep(3)
        if found["status"] != "completed":
            raise SystemExit(f"job {job_id}: {found['status']}: {found['error']}")
        self.done.append(job_id)
        print(f"{time.perf_counter() - self.began:5.0f} s {len(self.done)} completed", flush=True)

    def cancelled(self, user: str, state: str) -> None:
        """A job that would take long, cancelled in this state, or in the next that it is seen in."""
        from forecast_platform_tests.training_jobs.tables import asked, weekly

        job_id = self._created(user, {"config": asked(weekly(60, 200), models=["AutoCES"])})
        if state != "pending":
            self._submitted(user, job_id)
        while state in ("queued", "running"):
            job = self.store.get(job_id)
            if job.status == "running" or (state == "queued" and job.requested_at is not None):
                break
            if job.status == "failed" and _was_stopped(job.error):
                self.api.patient(user, "POST", f"/jobs/{job_id}/retry", seconds=_PATIENCE, heed=True)
            time.sleep(0.2)
        began, seen = time.perf_counter(), self.store.get(job_id)
        self.api.patient(user, "POST", f"/jobs/{job_id}/cancel", seconds=_PATIENCE)
        while (status := self.store.get(job_id).status) in self.ongoing:
            self.api.patient(user, "GET", f"/jobs/{job_id}", seconds=_PATIENCE)
            time.sleep(0.2)
        was = "queued" if seen.status == "submitting" and seen.requested_at is not None else seen.status
        self.cancels.append((was, status, time.perf_counter() - began))

    def _created(self, user: str, config: dict[str, Any]) -> str:
        return str(self.api.patient(user, "POST", "/jobs", seconds=_PATIENCE, json=config)["job_id"])

    def _submitted(self, user: str, job_id: str) -> None:
        asked = time.perf_counter()
        self.api.patient(user, "POST", f"/jobs/{job_id}/submit", seconds=_PATIENCE, heed=True)
        self.waits.append(time.perf_counter() - asked)

    def open_jobs(self) -> list[int]:
        """How many jobs each user has queued or running."""
        query = f"SELECT count(*) FROM jobs WHERE status IN {self.ongoing} GROUP BY user_id"
        return [int(row[0]) for row in self._rows(query)] or [0]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"{self.store.path.as_uri()}?mode=ro", uri=True)) as looked:
            return looked.execute(query).fetchall()

    def tell(self, running: Any, jobs: int, wall: float, most: int) -> bool:
        """Print what was done; whether every job was completed by one run, and every cancelled one is."""
        from forecast_platform.graph.training_jobs import JOB_TAG

        query = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"
        runs = running.ask(query)["results"]
        succeeded = [
            tag["value"] for run in runs if run["status"] == "SUCCESS" for tag in run["tags"] if tag["key"] == JOB_TAG
        ]
        twice = len(succeeded) - len(set(succeeded))
        states = dict(self._rows("SELECT status, count(*) FROM jobs GROUP BY status"))
        again = int(self._rows("SELECT coalesce(sum(attempt - 1), 0) FROM jobs WHERE attempt > 1")[0][0])
        done = len(self.done)
        print(
            f"{done} of {jobs} jobs completed by {len(succeeded)} runs, {twice} of them twice, {again} tried again; by "
            f"state: {states}; {wall:.0f} s wall, {wall / max(done, 1):.1f} s a job; at most {most} at once; a place "
            f"after {statistics.median(self.waits or [0]):.1f} s at the median; load {os.getloadavg()[0]:.1f}"
        )
        for state in dict.fromkeys(was for was, *_ in self.cancels):
            seconds = [taken for was, _, taken in self.cancels if was == state]
            print(f"{len(seconds)} cancelled while {state}: ended after {min(seconds):.1f} to {max(seconds):.1f} s")
        ends = {status for _, status, _ in self.cancels}
        return done == jobs and not twice and ends <= {"cancelled"} and not set(states) & {"failed", *self.ongoing}


def _was_stopped(error: str | None) -> bool:
    """Whether a job failed for its process was interrupted or killed: its user submits it again."""
    return "service was stopped" in str(error) or "without a word from the job" in str(error)


def killed_daemon(running: Any, root: Path, variables: dict[str, str]) -> Any:
    """Kill Dagster's daemon: `up` ends where one of its processes does, and is started again, as a service manager
    does; returns that."""
    daemon = next(one for one in running.family if "dagster._daemon" in " ".join(one.cmdline()))
    daemon.send_signal(signal.SIGKILL)
    running.process.wait(60)
    return type(running).start(root, variables)


def service(users: int, each: int = 5, at_once: int = 2, limit: float = 5400.0) -> None:
    """Everything over HTTP: `users` submit `each` small jobs, through kills of API and daemon, and cancels.

    Clients try again on 429 when Retry-After says, and look at a job every 3 s, as the front end does. Every second
    user has one more job, which is cancelled in one of the states that a job can be in. at_once: training jobs that
    Dagster's queue lets run together, 1 as it is shipped. limit: seconds after which what is done by then is told.
    Raises SystemExit where a job is lost or run twice, or is left undone.
    """
    import random
    from concurrent.futures import ThreadPoolExecutor

    from forecast_platform_tests.api import test_service as tested
    from forecast_platform_tests.ui.running import Running

    names = [f"user{k:02d}" for k in range(users)]
    tested.TOKENS.clear()
    tested.TOKENS.update({name: name * 3 for name in names})
    rng = random.Random(12)
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        variables = tested.environment(root) | {
            "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(tested.TOKENS).replace("'", '"'),
        }
        tested.Service.probe = names[0]
        shipped = shipped_file("dagster.yaml").read_text()
        one_job = "value: training_job\n        limit: 1\n"
        assert one_job in shipped
        (root / "home").mkdir()
        (root / "home" / "dagster.yaml").write_text(shipped.replace(one_job, one_job.replace("1", str(at_once))))
        running, api = Running.start(root, variables), tested.Service(root, variables)
        store = JobStore(build(warehouse=root / "warehouse"))
        crowd = Crowd(api, store, tested.OPEN)
        most, began = 0, time.perf_counter()

        def work(number: int) -> None:
            with ThreadPoolExecutor(each + 1) as threads:
                jobs = [threads.submit(crowd.one, names[number], each * number + k) for k in range(each)]
                if number % 2 == 0:
                    jobs.append(threads.submit(crowd.cancelled, names[number], STATES[number // 2 % len(STATES)]))
                for job in jobs:
                    job.result()

        with ThreadPoolExecutor(users) as threads:
            clients = [threads.submit(work, number) for number in range(users)]
            # Jobs done when the API is killed, and when the daemon is.
            kills = [
                rng.randrange(users * each // 10, users * each // 3),
                rng.randrange(users * each // 3, users * each * 2 // 3),
            ]
            while not all(client.done() for client in clients):
                time.sleep(0.2)
                if not store.exists:
                    continue
                counts = crowd.open_jobs()
                assert max(counts) <= 3, counts
                assert sum(counts) <= 10, counts
                most = max(most, sum(counts))
                if kills and len(crowd.done) >= kills[0]:
                    kills.pop(0)
                    if kills:
                        api.process.kill()
                        api.process.wait()
                        api.start()
                    else:
                        running = killed_daemon(running, root, variables)
                if time.perf_counter() - began > limit:
                    print(f"stopped after {limit:.0f} s:", end=" ")
                    break
            wall = time.perf_counter() - began
            good = crowd.tell(running, users * each, wall, most)
            api.process.terminate()
            api.process.wait(20)
            running.stop()
            if not all(client.done() for client in clients):
                os._exit(1)  # clients would go on trying
            for client in clients:
                client.result()
    if not good:
        raise SystemExit("a job was lost, or run twice")
