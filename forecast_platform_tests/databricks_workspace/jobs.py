"""Jobs 2.1 and 2.2: submit, get, get-output, cancel, list, create, run-now. Tasks really run (execution.py)."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forecast_platform_tests.databricks_workspace import clusters
from forecast_platform_tests.databricks_workspace.clusters import now
from forecast_platform_tests.databricks_workspace.execution import Execution
from forecast_platform_tests.databricks_workspace.faults import invalid
from forecast_platform_tests.databricks_workspace.job_checks import check_job, check_tasks
from forecast_platform_tests.databricks_workspace.turns import ENDED, Turn, queued_by_default

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Request, Workspace

TOKEN_LIMIT = 64


@dataclass
class State:
    """A run's or task's state and times."""

    life: str = "PENDING"
    result: str | None = None
    message: str = ""
    queue_reason: str = ""
    cancelled: bool = False
    created: int = field(default_factory=now)
    running: int | None = None
    ended: int | None = None

    def end(self, life: str, result: str | None, message: str = "", *, cancelled: bool = False) -> None:
        self.result, self.message, self.cancelled, self.ended = result, message, cancelled, now()
        self.life = life

    @property
    def about(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "life_cycle_state": self.life,
            "state_message": self.message,
            "user_cancelled_or_timedout": self.cancelled or self.result == "TIMEDOUT",
        }
        if self.result:
            state["result_state"] = self.result
        if self.life == "QUEUED":
            state["queue_reason"] = self.queue_reason
        times = {"start_time": self.created, "setup_duration": (self.running or self.created) - self.created}
        if self.running:
            times["execution_duration"] = (self.ended or now()) - self.running
        if self.ended:
            times["end_time"] = self.ended
            times["run_duration"] = self.ended - self.created
        return {"state": state, **times}


@dataclass
class Task:
    """One task of a run, with its own run id."""

    run_id: int
    spec: dict[str, Any]
    state: State = field(default_factory=State)
    cluster: clusters.Cluster | None = None
    output: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def key(self) -> str:
        return self.spec["task_key"]


@dataclass
class Run:
    """A run of one or several tasks."""

    run_id: int
    name: str
    tasks: list[Task]
    body: dict[str, Any]
    user: str
    job_id: int
    kind: str
    state: State = field(default_factory=State)
    cancelled: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)
    """Ends the wait for a cluster: a test that has made its run slow sets it."""
    forget_at: float | None = None
    shared: dict[str, clusters.Cluster] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is told to hurry; whether it was cancelled."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.hurry.is_set():
            if self.cancelled.wait(0.02):
                return True
        return self.cancelled.is_set()


class Jobs:
    """All jobs and runs of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.runs: dict[int, Run] = {}
        self.defined: dict[int, dict[str, Any]] = {}
        self.tokens: dict[str, int] = {}
        self.lock = threading.Lock()
        self._numbers = itertools.count(int(time.time()) * 1000)

    def job(self, job_id: int) -> dict[str, Any]:
        """A job's settings; submitted runs have a hidden job of their own."""
        if job_id not in self.defined and all(run.job_id != job_id for run in self.runs.values()):
            raise invalid(f"Job {job_id} does not exist.")
        return self.defined.get(job_id, {})

    def start(self, body: dict[str, Any], user: str, job_id: int | None) -> int:
        """Start a run, or return the one that has the same idempotency token."""
        token = body.get("idempotency_token")
        if token is not None and len(token) > TOKEN_LIMIT:
            raise invalid(f"idempotency_token must be at most {TOKEN_LIMIT} characters, was {len(token)}")
        with self.lock:
            if token and token in self.tokens:
                return self.tokens[token]
            check_tasks(self.workspace, body)
            run_id = next(self._numbers)
            tasks = [Task(next(self._numbers), dict(spec)) for spec in body["tasks"]]
            kind = "SUBMIT_RUN" if job_id is None else "JOB_RUN"
            name = body.get("run_name") or body.get("name") or "Untitled"
            owner = next(self._numbers) if job_id is None else job_id
            run = Run(run_id, name, tasks, body, user, owner, kind)
            turn = Turn(run, [other for other in self.runs.values() if other.job_id == owner])
            self.runs[run_id] = run
            if token:
                self.tokens[token] = run_id
        Execution(self.workspace, run, turn).begin()
        return run_id

    def get(self, run_id: int) -> tuple[Run, Task | None]:
        """The run with this id, or the task with it and its run."""
        for run in self.runs.values():
            task = next((task for task in run.tasks if task.run_id == run_id), None)
            if run.run_id == run_id or task:
                if run.forget_at is not None and time.monotonic() >= run.forget_at:
                    break
                return run, task
        raise invalid(f"Run {run_id} does not exist.")

    def stop(self) -> None:
        """End all that runs."""
        for run in self.runs.values():
            run.cancelled.set()
        for run in self.runs.values():
            for task in run.tasks:
                task.done.wait(10)


def _task_about(workspace: Workspace, run: Run, task: Task) -> dict[str, Any]:
    about = {**task.spec, "run_id": task.run_id, **task.state.about, "attempt_number": 0}
    about["run_page_url"] = f"{workspace.host}/jobs/{run.job_id}/runs/{task.run_id}"
    if task.cluster:
        about["cluster_instance"] = {"cluster_id": task.cluster.cluster_id, "spark_context_id": "1"}
    return about


def _run_about(workspace: Workspace, run: Run) -> dict[str, Any]:
    about = {
        "job_id": run.job_id,
        "run_id": run.run_id,
        "number_in_job": run.run_id,
        "run_name": run.name,
        "run_type": run.kind,
        "format": "MULTI_TASK",
        "creator_user_name": run.user,
        "run_page_url": f"{workspace.host}/jobs/{run.job_id}/runs/{run.run_id}",
        **run.state.about,
        "tasks": [_task_about(workspace, run, task) for task in run.tasks],
    }
    if len(run.tasks) == 1 and run.tasks[0].cluster:
        about["cluster_instance"] = {"cluster_id": run.tasks[0].cluster.cluster_id, "spark_context_id": "1"}
    return about


def submit(workspace: Workspace, request: Request) -> dict[str, Any]:
    return {"run_id": workspace.jobs.start(request.json, request.user, None)}


def runs_get(workspace: Workspace, request: Request) -> dict[str, Any]:
    run, task = workspace.jobs.get(int(request.need("run_id")))
    return _run_about(workspace, run) if task is None else _task_about(workspace, run, task)


def runs_output(workspace: Workspace, request: Request) -> dict[str, Any]:
    run, task = workspace.jobs.get(int(request.need("run_id")))
    if task is None:
        if len(run.tasks) > 1:
            raise invalid(
                "Retrieving the output of runs with multiple tasks is not supported. "
                "Please retrieve the output of each individual task run instead."
            )
        task = run.tasks[0]
    return {"metadata": _task_about(workspace, run, task), **task.output}


def cancel(workspace: Workspace, request: Request) -> dict[str, Any]:
    run, _ = workspace.jobs.get(int(request.need("run_id")))
    run.cancelled.set()
    return {}


def runs_list(workspace: Workspace, request: Request) -> dict[str, Any]:
    found = [run for run in workspace.jobs.runs.values() if run.forget_at is None]
    if "job_id" in request.query:
        found = [run for run in found if run.job_id == int(request.query["job_id"])]
    if request.query.get("active_only") == "true":
        found = [run for run in found if run.state.life not in ENDED]
    if request.query.get("completed_only") == "true":
        found = [run for run in found if run.state.life in ENDED]
    if request.query.get("run_type"):
        found = [run for run in found if run.kind == request.query["run_type"]]
    began, ended = (int(request.query.get(f"start_time_{name}", limit)) for name, limit in (("from", 0), ("to", 2**63)))
    found = [run for run in found if began <= run.state.about["start_time"] <= ended]
    found = sorted(found, key=lambda run: -run.run_id)
    offset, limit = int(request.query.get("page_token") or 0), int(request.query.get("limit", 20))
    page = [_run_about(workspace, run) for run in found[offset : offset + limit]]
    if request.query.get("expand_tasks") != "true":
        for run in page:
            del run["tasks"]
    more = offset + limit < len(found)
    return {"runs": page, "has_more": more, **({"next_page_token": str(offset + limit)} if more else {})}


def create(workspace: Workspace, request: Request) -> dict[str, Any]:
    body = request.json
    check_job(workspace, body)
    with workspace.jobs.lock:
        job_id = next(workspace.jobs._numbers)
        workspace.jobs.defined[job_id] = {**queued_by_default(request.path), **body}
    return {"job_id": job_id}


def get(workspace: Workspace, request: Request) -> dict[str, Any]:
    job_id = int(request.need("job_id"))
    return {"job_id": job_id, "settings": workspace.jobs.job(job_id), "creator_user_name": request.user}


def list_(workspace: Workspace, request: Request) -> dict[str, Any]:
    name = request.query.get("name")
    found = [(job_id, body) for job_id, body in workspace.jobs.defined.items() if name in (None, body.get("name"))]
    return {"jobs": [{"job_id": job_id, "settings": {"name": body.get("name")}} for job_id, body in found]}


def run_now(workspace: Workspace, request: Request) -> dict[str, Any]:
    job_id = int(request.need("job_id"))
    workspace.jobs.job(job_id)
    given = request.json
    body = {**workspace.jobs.defined[job_id], "idempotency_token": given.get("idempotency_token")}
    body |= {"queue": given["queue"]} if given.get("queue") else {}
    body["tasks"] = [_with_parameters(task, given) for task in body["tasks"]]
    run_id = workspace.jobs.start(body, request.user, job_id)
    return {"run_id": run_id, "number_in_job": run_id}


def _with_parameters(task: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    task = dict(task)
    for kind, name, target in (
        ("spark_python_task", "python_params", "parameters"),
        ("python_wheel_task", "python_params", "parameters"),
        ("python_wheel_task", "python_named_params", "named_parameters"),
    ):
        if kind in task and given.get(name):
            task[kind] = {**task[kind], target: given[name]}
    if "notebook_task" in task:
        widgets = {**task["notebook_task"].get("base_parameters", {}), **given.get("notebook_params", {})}
        task["notebook_task"] = {**task["notebook_task"], "base_parameters": widgets}
    return task


_V = r"/api/2\.[12]/jobs/"
ROUTES = {
    ("POST", _V + "runs/submit"): submit,
    ("GET", _V + "runs/get"): runs_get,
    ("GET", _V + "runs/get-output"): runs_output,
    ("POST", _V + "runs/cancel"): cancel,
    ("GET", _V + "runs/list"): runs_list,
    ("POST", _V + "create"): create,
    ("GET", _V + "get"): get,
    ("GET", _V + "list"): list_,
    ("POST", _V + "run-now"): run_now,
}
