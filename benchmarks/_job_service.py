"""The parts of benchmarks/jobs.py that start the whole service: API, webserver, daemon and MLflow."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from forecast_platform.host.home import shipped_file
from forecast_platform.settings import build
from forecast_platform.training_jobs.store import JobStore


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


def service(users: int, each: int = 5, at_once: int = 2, limit: float = 330.0) -> None:
    """Everything over HTTP: `users` submit `each` small jobs, through kills of API and daemon.

    Clients try again on 429 when Retry-After says, and look at a job every 3 s, as the front end does. at_once:
    training jobs that Dagster's queue lets run together, 1 as it is shipped. limit: seconds after
    which what is done by then is told.
    """
    import random
    import signal
    from concurrent.futures import ThreadPoolExecutor

    from forecast_platform.graph.training_jobs import JOB_TAG
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
        waits: list[float] = []
        most, began = 0, time.perf_counter()

        def one(user: str, k: int) -> tuple[str, str, str]:
            job = api.patient(user, "POST", "/jobs", seconds=3600, json=tested.config(hash((user, k)) % 1000))
            asked = time.perf_counter()
            api.patient(user, "POST", f"/jobs/{job['job_id']}/submit", seconds=3600, heed=True)
            waits.append(time.perf_counter() - asked)
            while True:
                found = api.patient(user, "GET", f"/jobs/{job['job_id']}", seconds=3600)
                if found["status"] == "failed" and "service was stopped" in str(found["error"]):
                    api.patient(user, "POST", f"/jobs/{job['job_id']}/retry", seconds=3600, heed=True)
                elif found["status"] not in tested.OPEN:
                    print(f"{time.perf_counter() - began:5.0f} s {job['job_id']} {found['status']}", flush=True)
                    return user, job["job_id"], found["status"]
                time.sleep(3)

        def work(user: str) -> list[tuple[str, str, str]]:
            with ThreadPoolExecutor(each) as threads:
                return list(threads.map(lambda k: one(user, k), range(each)))

        with ThreadPoolExecutor(users) as threads:
            clients = [threads.submit(work, name) for name in names]
            kills = sorted(rng.uniform(20, 20 + 2 * users) for _ in range(2))
            while not all(client.done() for client in clients):
                time.sleep(0.2)
                if not store.exists:
                    continue
                with contextlib.closing(sqlite3.connect(f"{store.path.as_uri()}?mode=ro", uri=True)) as looked:
                    query = f"SELECT count(*) FROM jobs WHERE status IN {tested.OPEN} GROUP BY user_id"
                    counts = [int(count) for (count,) in looked.execute(query)] or [0]
                assert max(counts) <= 3, counts
                assert sum(counts) <= 10, counts
                most = max(most, sum(counts))
                if kills and time.perf_counter() - began > kills[0]:
                    kills.pop(0)
                    if kills:
                        api.process.kill()
                        api.process.wait()
                        api.start()
                    else:
                        daemon = next(one for one in running.family if "dagster._daemon" in " ".join(one.cmdline()))
                        daemon.send_signal(signal.SIGKILL)
                        running.process.wait(60)
                        running = Running.start(root, variables)
                if time.perf_counter() - began > limit:
                    print(f"stopped after {limit:.0f} s:", end=" ")
                    break
            wall = time.perf_counter() - began
            query = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"
            succeeded = [
                tag["value"]
                for run in running.ask(query)["results"]
                if run["status"] == "SUCCESS"
                for tag in run["tags"]
                if tag["key"] == JOB_TAG
            ]
            with contextlib.closing(sqlite3.connect(f"{store.path.as_uri()}?mode=ro", uri=True)) as looked:
                states = dict(looked.execute("SELECT status, count(*) FROM jobs WHERE attempt > 0 GROUP BY status"))
            completed = states.get("completed", 0)
            print(
                f"{users} users, {completed} of {users * each} jobs completed (submitted ones by state: {states}); "
                f"{wall:.0f} s wall, {wall / max(completed, 1):.1f} s a job; at most {most} at once; run twice "
                f"{len(succeeded) - len(set(succeeded))}; a place after {statistics.median(waits or [0]):.1f} s at the "
                f"median; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            api.process.terminate()
            api.process.wait(20)
            running.stop()
            if not all(client.done() for client in clients):
                os._exit(1)  # clients would go on trying
            for client in clients:
                client.result()
