"""Many users of the whole service at once, over HTTP: small jobs through kills, and cancels in every state.

`test_service.py` has a tenth of what `benchmarks/jobs.py service` has, by the same seed.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast_platform.graph.training_jobs import JOB_TAG
from forecast_platform.host.home import shipped_file
from forecast_platform.settings import build
from forecast_platform.training_jobs.store import JobStore
from forecast_platform_tests.api.service import OPEN, TOKENS, Service, config, environment
from forecast_platform_tests.training_jobs.tables import asked, weekly
from forecast_platform_tests.ui.running import Running

STATES = ("pending", "submitting", "queued", "running")
"""In which a job is cancelled: a draft, one that no run was asked for yet, one whose run waits, one at work."""

_RUNS = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"


@dataclass(frozen=True)
class Outcome:
    """What came of a crowd's jobs; times in seconds."""

    jobs: int
    """That were to be completed."""
    done: list[str]
    """Completed ones, as their clients saw them."""
    runs: list[tuple[str, str]]
    """Job and status of each of Dagster's runs."""
    cancels: list[tuple[str, str, float]]
    """What a job was when it was cancelled, what became of it, and how long that took."""
    waits: list[float]
    """How long each job waited for its place."""
    states: dict[str, int]
    """How many jobs of the store are in each state."""
    again: int
    """How often a job was tried again."""
    most: int
    """Jobs queued and running at once."""
    seconds: float
    whole: bool
    """Whether every client came to its end."""

    def faults(self) -> list[str]:
        """What was lost, done twice, or left."""
        succeeded = [job_id for job_id, status in self.runs if status == "SUCCESS"]
        found = [f"{job_id} was run twice" for job_id in set(succeeded) if succeeded.count(job_id) > 1]
        # A run that was killed between its job's end and its own is the job's only one.
        cut_off = set(self.done) - set(succeeded)
        found += [f"{one} ran {sum(job == one for job, _ in self.runs)} times" for one in cut_off
                  if [status for job, status in self.runs if job == one].count("FAILURE") < 1]  # fmt: skip
        found += [f"{job_id} ran, and is none of the clients'" for job_id in set(succeeded) - set(self.done)]
        found += [f"cancelled while {was}, and is {now}" for was, now, _ in self.cancels if now != "cancelled"]
        wanted = {"completed": self.jobs, "cancelled": len(self.cancels)}
        if self.states != wanted or len(self.done) != self.jobs:
            found.append(f"{len(self.done)} of {self.jobs} jobs are done; the store has {self.states}")
        return found


class Crowd:
    """Clients of the service, each with one job at a time, and what came of their jobs."""

    def __init__(self, api: Service, store: JobStore, patience: float, tell: Callable[[str], None]) -> None:
        """patience: seconds for which a client tries again; tell: is told of each job that is completed."""
        self.api, self.store, self.patience, self.tell = api, store, patience, tell
        self.began = time.perf_counter()
        self.done: list[str] = []
        self.waits: list[float] = []
        self.cancels: list[tuple[str, str, float]] = []

    def one(self, user: str, seed: int) -> None:
        """A job to its end; tried again where the service was stopped under it."""
        job_id = self._created(user, config(seed))
        self._submitted(user, job_id)
        while True:
            found = self._ask(user, "GET", f"/jobs/{job_id}")
            if found["status"] == "failed" and _was_stopped(found["error"]):
                self._ask(user, "POST", f"/jobs/{job_id}/retry", heed=True)
            elif found["status"] not in OPEN:
                break
            time.sleep(3)
        assert found["status"] == "completed", f"job {job_id}: {found['status']}: {found['error']}"
        results = self._ask(user, "GET", f"/jobs/{job_id}/results")
        assert results["mlflow_run_id"], results["notes"]
        assert len(results["forecast"]) == 4
        self.done.append(job_id)
        self.tell(f"{time.perf_counter() - self.began:5.0f} s {len(self.done)} completed")

    def cancelled(self, user: str, state: str) -> None:
        """A job that would take long, cancelled in this state, or in the next that it is seen in."""
        job_id = self._created(user, {"config": asked(weekly(60, 200), models=["AutoCES"])})
        if state != "pending":
            self._submitted(user, job_id)
        while state in ("queued", "running"):
            job = self.store.get(job_id)
            if job.status == "running" or (state == "queued" and job.requested_at is not None):
                break
            if job.status == "failed" and _was_stopped(job.error):
                self._ask(user, "POST", f"/jobs/{job_id}/retry", heed=True)
            time.sleep(0.2)
        began, seen = time.perf_counter(), self.store.get(job_id)
        self._ask(user, "POST", f"/jobs/{job_id}/cancel")
        while (status := self.store.get(job_id).status) in OPEN:
            self._ask(user, "GET", f"/jobs/{job_id}")
            time.sleep(0.2)
        was = "queued" if seen.status == "submitting" and seen.requested_at is not None else seen.status
        self.cancels.append((was, status, time.perf_counter() - began))

    def open_jobs(self) -> list[int]:
        """How many jobs each user has queued or running."""
        query = f"SELECT count(*) FROM jobs WHERE status IN {OPEN} GROUP BY user_id"
        return [int(row[0]) for row in self._rows(query)] or [0]

    def outcome(self, running: Running, jobs: int, most: int, whole: bool) -> Outcome:
        """What was done, by the clients, the store and Dagster's runs."""
        seconds = time.perf_counter() - self.began
        runs = [(tag["value"], run["status"]) for run in running.ask(_RUNS)["results"] for tag in run["tags"]
                if tag["key"] == JOB_TAG]  # fmt: skip
        states = dict(self._rows("SELECT status, count(*) FROM jobs GROUP BY status"))
        again = int(self._rows("SELECT coalesce(sum(attempt - 1), 0) FROM jobs WHERE attempt > 1")[0][0])
        return Outcome(jobs, self.done, runs, self.cancels, self.waits, states, again, most, seconds, whole)

    def _ask(self, user: str, method: str, path: str, **more: Any) -> dict[str, Any]:
        return self.api.patient(user, method, path, seconds=self.patience, **more)

    def _created(self, user: str, given: dict[str, Any]) -> str:
        return str(self._ask(user, "POST", "/jobs", json=given)["job_id"])

    def _submitted(self, user: str, job_id: str) -> None:
        asked_at = time.perf_counter()
        self._ask(user, "POST", f"/jobs/{job_id}/submit", heed=True)
        self.waits.append(time.perf_counter() - asked_at)

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"{self.store.path.as_uri()}?mode=ro", uri=True)) as looked:
            return looked.execute(query).fetchall()


def drive(
    root: Path,
    users: int,
    each: int,
    cancels: int,
    *,
    limits: tuple[int, int] = (3, 10),
    at_once: int = 2,
    patience: float = 600,
    seconds: float = 5400,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """`users` bring `each` small jobs, and `cancels` more that are cancelled in each state in turn.

    Clients try again on 429 when Retry-After says, and look at a job every 3 s, as the front end does. API and daemon
    are killed at jobs drawn by a seed. limits: jobs queued and running of a user and in all; at_once: training jobs
    that Dagster's queue lets run together, 1 as it is shipped; seconds: after which what is done by then is told, and
    clients are left. Raises AssertionError where a limit is passed, and what a client found wrong.
    """
    names = [f"user{k:02d}" for k in range(users)]
    with _tokens({name: name * 3 for name in names}):
        variables = environment(root) | {
            "FORECAST_PLATFORM_TRAINING_JOBS__TOKENS": str(TOKENS).replace("'", '"'),
            "MAX_JOBS_PER_USER": str(limits[0]),
            "MAX_TOTAL_JOBS": str(limits[1]),
        }
        _let_run_together(root / "home", at_once)
        running, api = Running.start(root, variables), Service(root, variables)
        store = JobStore(build(warehouse=root / "warehouse"))
        crowd = Crowd(api, store, patience, tell)

        def work(number: int) -> None:
            mine = [STATES[k % len(STATES)] for k in range(cancels) if k * users // cancels == number]
            with ThreadPoolExecutor(each + len(mine)) as threads:
                jobs = [threads.submit(crowd.one, names[number], each * number + k) for k in range(each)]
                jobs += [threads.submit(crowd.cancelled, names[number], state) for state in mine]
                for job in jobs:
                    job.result()

        threads = ThreadPoolExecutor(users)
        clients = [threads.submit(work, number) for number in range(users)]
        rng, total, most = random.Random(12), users * each, 0
        # Jobs done when the API is killed, and when the daemon is.
        kills = [
            rng.randrange(total // 10, max(total // 3, total // 10 + 1)),
            rng.randrange(total // 3, total * 2 // 3),
        ]
        try:
            while not all(client.done() for client in clients) and time.perf_counter() - crowd.began < seconds:
                time.sleep(0.2)
                if not store.exists:
                    continue
                counts = crowd.open_jobs()
                assert max(counts) <= limits[0], counts
                assert sum(counts) <= limits[1], counts
                most = max(most, sum(counts))
                if kills and len(crowd.done) >= kills[0]:
                    kills.pop(0)
                    if kills:
                        api.process.kill()
                        api.process.wait()
                        api.start()
                    else:
                        running = _killed_daemon(running, root, variables)
            whole = all(client.done() for client in clients)
            for client in clients if whole else ():
                client.result()
            assert not (whole and kills), "nothing was killed"
            return crowd.outcome(running, total, most, whole)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            api.process.terminate()
            api.process.wait(20)
            running.stop()


@contextlib.contextmanager
def _tokens(given: Mapping[str, str]) -> Any:
    """These users' tokens, while it lasts."""
    before, probe = dict(TOKENS), Service.probe
    TOKENS.clear()
    TOKENS.update(given)
    Service.probe = next(iter(given))
    try:
        yield
    finally:
        TOKENS.clear()
        TOKENS.update(before)
        Service.probe = probe


def _let_run_together(home: Path, at_once: int) -> None:
    """The shipped `dagster.yaml` with another number of training jobs at a time."""
    shipped, one_job = shipped_file("dagster.yaml").read_text(), "value: training_job\n        limit: 1\n"
    assert one_job in shipped
    home.mkdir()
    (home / "dagster.yaml").write_text(shipped.replace(one_job, one_job.replace("1", str(at_once))))


def _was_stopped(error: str | None) -> bool:
    """Whether a job failed for its process was interrupted or killed: its user submits it again."""
    return "service was stopped" in str(error) or "without a word from the job" in str(error)


def _killed_daemon(running: Running, root: Path, variables: dict[str, str]) -> Running:
    """Kill Dagster's daemon: `up` ends where one of its processes does, and is started again, as a service manager
    does; returns that."""
    daemon = next(one for one in running.family if "dagster._daemon" in " ".join(one.cmdline()))
    daemon.send_signal(signal.SIGKILL)
    running.process.wait(60)
    return Running.start(root, variables)
