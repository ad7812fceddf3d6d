"""The parts of benchmarks/jobs.py that start the whole service: API, webserver, daemon and MLflow."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from forecast_platform.settings import build
from forecast_platform.training_jobs.store import JobStore


def latency(n_jobs: int = 6) -> None:
    """From a submit to the job's code at work, over HTTP, one job at a time; where the seconds go."""
    import datetime as dt
    import random

    from forecast_platform_tests.api import service as tested
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


def service(users: int, each: int = 5, seconds: float = 5400.0) -> None:
    """Everything over HTTP: `users` submit `each` small jobs, through kills of API and daemon, and every second user
    one that is cancelled. seconds: after which what is done by then is told.

    Raises SystemExit where a job is lost or run twice, or is left undone.
    """
    from forecast_platform_tests.api.crowd import drive

    with tempfile.TemporaryDirectory() as made:
        told = functools.partial(print, flush=True)
        found = drive(Path(made), users, each, users // 2, patience=7200, seconds=seconds, tell=told)
    done, ok = len(found.done), [job_id for job_id, status in found.runs if status == "SUCCESS"]
    print(
        f"{done} of {found.jobs} jobs completed by {len(ok)} runs, {len(ok) - len(set(ok))} of them twice, "
        f"{found.again} tried again; by state: {found.states}; {found.seconds:.0f} s wall, "
        f"{found.seconds / max(done, 1):.1f} s a job; at most {found.most} at once; a place after "
        f"{statistics.median(found.waits or [0]):.1f} s at the median; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for state in dict.fromkeys(was for was, *_ in found.cancels):
        taken = [spent for was, _, spent in found.cancels if was == state]
        print(f"{len(taken)} cancelled while {state}: ended after {min(taken):.1f} to {max(taken):.1f} s", flush=True)
    if not found.whole:
        print(f"stopped after {seconds:.0f} s", flush=True)
        os._exit(1)  # clients would go on trying
    if faults := found.faults():
        raise SystemExit("\n".join(faults))
