"""Running what was submitted: each task waits for its upstream tasks and its cluster, then is a process of its own."""

from __future__ import annotations

import compileall
import hashlib
import io
import json
import os
import re
import secrets as random
import shutil
import signal
import tempfile
import threading
import time
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform_tests.databricks_workspace.clusters import Cluster, now
from forecast_platform_tests.forked import CALENDAR, MLFLOW, Forked, Forks

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.jobs import Run, Task
    from forecast_platform_tests.databricks_workspace.server import Workspace
    from forecast_platform_tests.databricks_workspace.turns import Turn

RUNNER = Path(__file__).with_name("runner.py")
OUTPUT_LIMIT = 5 * 1024 * 1024
_SECRET = re.compile(r"^\{\{secrets/([^/]+)/([^/}]+)\}\}$")
KEPT = ("PATH", "LANG", "LC_ALL", "JAVA_HOME", "JDK_JAVA_OPTIONS", "TMPDIR", "TZ")
"""Variables of the server's process that a task sees; everything else (tokens, PYTHONPATH) it does not."""

INTERPRETERS = Forks(
    (
        *("pandas", "pyarrow.dataset", "deltalake", "scipy.stats", "pydantic_settings", "requests", "filelock"),
        *("yaml", "dagster", "dagster_pipes", "pyspark.sql.connect.session", "exchange_calendars", *MLFLOW),
    ),
    CALENDAR,
)
"""With a cluster's libraries, and nothing of ours: that comes from the task's own wheels and paths."""
PLAIN = Forks(("json", "traceback", "importlib.util"))
"""For tasks without a wheel, which mostly need no library."""

_INSTALLING = threading.Lock()


@cache
def _installations() -> tempfile.TemporaryDirectory[str]:
    """Where wheels are unpacked, until this process ends."""
    return tempfile.TemporaryDirectory(prefix="databricks-wheels-")


def installed(wheel: Path) -> Path:
    """A wheel's contents as pip leaves them, with bytecode; one of the same content is unpacked once."""
    content = wheel.read_bytes()
    folder = Path(_installations().name) / hashlib.blake2b(content, digest_size=16).hexdigest()
    with _INSTALLING:
        if not folder.exists():
            made = folder.with_suffix(".part")
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(made)
            compileall.compile_dir(made, quiet=2, stripdir=str(made), prependdir=str(folder))
            made.rename(folder)
    return folder


class LibraryError(Exception):
    """A library that the task needs cannot be installed here."""


class Execution:
    """One run's threads."""

    def __init__(self, workspace: Workspace, run: Run, turn: Turn) -> None:
        self.workspace, self.run, self.turn = workspace, run, turn

    def begin(self) -> None:
        """Start the thread that begins the tasks when it is the run's turn, and ends the run."""
        faults = self.workspace.faults
        forgotten = faults.for_task("forgotten", self.run.tasks[0].key)
        if forgotten:
            self.run.forget_at = time.monotonic() + forgotten.seconds
        if faults.for_task("skipped", self.run.tasks[0].key) or self.turn.skipped:
            self.turn.skip()
            return
        threading.Thread(target=self._begin_in_turn, daemon=True).start()

    def _begin_in_turn(self) -> None:
        self.turn.wait()
        for task in self.run.tasks:
            threading.Thread(target=self._task, args=(task,), daemon=True).start()
        self._finish()

    def _finish(self) -> None:
        for task in self.run.tasks:
            task.done.wait()
        for cluster in self.run.shared.values():
            cluster.end()
        bad = [task for task in self.run.tasks if task.state.result != "SUCCESS"]
        first = next((task for task in bad if task.state.result not in ("UPSTREAM_FAILED", "UPSTREAM_CANCELED")), None)
        if first is None:
            self.run.state.end("TERMINATED", "SUCCESS")
        elif self.run.cancelled.is_set():
            self.run.state.end("TERMINATED", "CANCELED", "Run cancelled.", cancelled=True)
        elif first.state.result == "TIMEDOUT":
            self.run.state.end("TERMINATED", "TIMEDOUT", first.state.message)
        else:
            message = f"Task {first.key} failed with message: {first.state.message}"
            if len(bad) > 1:
                message += " This caused all downstream tasks to get skipped."
            self.run.state.end("INTERNAL_ERROR", "FAILED", message)

    def _task(self, task: Task) -> None:
        try:
            self._run_task(task)
        except Exception as error:
            # The server's own fault must not leave a run that never ends: say it as the workspace would.
            task.state.end("INTERNAL_ERROR", "FAILED", f"Unexpected failure of the workspace: {error!r}")
            raise
        finally:
            if task.cluster and not task.spec.get("existing_cluster_id") and not task.spec.get("job_cluster_key"):
                task.cluster.end()
            task.done.set()

    def _run_task(self, task: Task) -> None:
        run, state = self.run, task.state
        upstream = [
            other for other in run.tasks if other.key in {d["task_key"] for d in task.spec.get("depends_on", [])}
        ]
        if upstream:
            state.life = "BLOCKED"
        for other in upstream:
            other.done.wait()
        if any(other.state.result != "SUCCESS" for other in upstream):
            result = "UPSTREAM_CANCELED" if run.cancelled.is_set() else "UPSTREAM_FAILED"
            state.end("TERMINATED", result, "Upstream task failed.")
            return
        queued = self.workspace.faults.for_task("queued", task.key)
        if queued:
            state.life = run.state.life = "QUEUED"
            run.state.queue_reason = "Queued due to reaching maximum concurrent runs of 1."
            run.cancelled.wait(queued.seconds)
        state.life = run.state.life = "PENDING"
        if self._cancelled(task) or not self._start_cluster(task) or self._cancelled(task):
            return
        try:
            self._check_libraries(task)
        except LibraryError as error:
            state.end("INTERNAL_ERROR", "FAILED", f"Library installation failed: {error}")
            return
        state.life = run.state.life = "RUNNING"
        state.running = now()
        run.state.running = run.state.running or state.running
        self._execute(task)

    def _cancelled(self, task: Task) -> bool:
        if self.run.cancelled.is_set():
            task.state.end("TERMINATED", "CANCELED", "Run cancelled.", cancelled=True)
        return self.run.cancelled.is_set()

    def _start_cluster(self, task: Task) -> bool:
        workspace, spec = self.workspace, task.spec
        slow = workspace.faults.for_task("slow_start", task.key)
        seconds = slow.seconds if slow else workspace.clusters.start_seconds
        if spec.get("new_cluster"):
            task.cluster = workspace.clusters.create(spec["new_cluster"])
        elif spec.get("existing_cluster_id"):
            task.cluster = workspace.clusters.get(spec["existing_cluster_id"])
        elif spec.get("job_cluster_key"):
            with self.run.lock:
                task.cluster = self._shared_cluster(spec["job_cluster_key"])
        task.state.message = "Waiting for cluster" if task.cluster else "Waiting for serverless compute"
        fault = workspace.faults.for_task("cluster", task.key)
        if fault:
            self.run.wait(seconds)
            name = "the serverless cluster"
            if task.cluster:
                name = f"Cluster '{task.cluster.cluster_id}'"
                task.cluster.end(fault.code, "CLOUD_FAILURE", databricks_error_message=fault.message)
            text = f"{name} was terminated. Reason: {fault.code} (CLOUD_FAILURE). {fault.message}"
            task.state.end("INTERNAL_ERROR", "FAILED", text)
            return False
        if task.cluster:
            task.cluster.start(seconds, self.run.wait)
        else:
            self.run.wait(seconds)
        task.state.message = "In run"
        return True

    def _shared_cluster(self, key: str) -> Cluster:
        if key not in self.run.shared:
            [spec] = [e["new_cluster"] for e in self.run.body["job_clusters"] if e["job_cluster_key"] == key]
            self.run.shared[key] = self.workspace.clusters.create(spec)
        return self.run.shared[key]

    def _dependencies(self, task: Task) -> tuple[list[str], list[str]]:
        """Wheels, and requirements from the package index, of the task's libraries or environment."""
        wheels, packages = [], []
        for library in task.spec.get("libraries", []):
            if "whl" in library:
                wheels.append(library["whl"])
            elif "pypi" in library:
                packages.append(library["pypi"]["package"])
            elif "requirements" in library:
                packages += self.workspace.local(library["requirements"]).read_text().splitlines()
        for environment in self.run.body.get("environments", []):
            if environment["environment_key"] == task.spec.get("environment_key"):
                for need in environment.get("spec", {}).get("dependencies", []):
                    (wheels if need.endswith(".whl") else packages).append(need)
        return wheels, packages

    def _check_libraries(self, task: Task) -> None:
        from importlib.metadata import PackageNotFoundError, version

        from packaging.requirements import InvalidRequirement, Requirement

        fault = self.workspace.faults.for_task("library", task.key)
        if fault:
            raise LibraryError(fault.message)
        wheels, packages = self._dependencies(task)
        for wheel in wheels:
            if not self.workspace.local(wheel).is_file():
                raise LibraryError(f"{wheel}: no such file. Error code: DRIVER_LIBRARY_INSTALLATION_FAILURE")
        for package in packages:
            # The interpreter's own packages stand for what the package index would give.
            try:
                need = Requirement(package)
                there = version(need.name)
            except (InvalidRequirement, PackageNotFoundError) as error:
                raise LibraryError(f"Could not find a version that satisfies the requirement {package}") from error
            if not need.specifier.contains(there, prereleases=True):
                raise LibraryError(f"Could not find a version that satisfies the requirement {package} (here: {there})")

    def _environment(self, task: Task, home: Path) -> dict[str, str]:
        values = {name: os.environ[name] for name in KEPT if name in os.environ}
        cluster = task.cluster.spec if task.cluster else {}
        values |= {"HOME": str(home), "DATABRICKS_RUNTIME_VERSION": cluster.get("spark_version", "client.2.5")}
        values |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **self.workspace.environment}
        for name, value in cluster.get("spark_env_vars", {}).items():
            secret = _SECRET.match(value)
            if secret:
                value = self.workspace.access.scopes.get(secret[1], {}).get(secret[2], "")
            values[name] = value
        return values

    def _execute(self, task: Task) -> None:
        home = Path(tempfile.mkdtemp(prefix="databricks-task-"))
        token = f"run{random.token_hex(16)}"
        self.workspace.tokens[token] = self.run.user
        try:
            spec = {
                "task": task.spec,
                "root": str(self.workspace.root),
                "wheels": [str(installed(self.workspace.local(wheel))) for wheel in self._dependencies(task)[0]],
                "secrets": self.workspace.access.scopes,
                "host": self.workspace.host,
                "token": token,
                "spark": self.workspace.spark,
                "remote": self.workspace.cluster_spark if task.cluster else self.workspace.serverless_spark,
                "conf": _usage_tags(task),
                "run": {"run_id": task.run_id, "job_run_id": self.run.run_id, "job_id": self.run.job_id},
                "fail": self.workspace.faults.for_task("task", task.key) is not None,
                "result": str(home / "result.json"),
            }
            (home / "spec").write_text(json.dumps(spec))
            with (home / "spec").open("rb") as asked, (home / "log").open("wb") as log:
                process = (INTERPRETERS if spec["wheels"] else PLAIN).start(
                    [str(RUNNER)],
                    env=self._environment(task, home),
                    cwd=home,
                    files=(asked.fileno(), log.fileno(), log.fileno()),
                    session=True,
                )
            ending = self._wait(task, process)
            self._conclude(task, home, process, ending)
        finally:
            self.workspace.tokens.pop(token, None)
            shutil.rmtree(home, ignore_errors=True)

    def _wait(self, task: Task, process: Forked) -> str | None:
        """Until the process ends by itself (None), or is ended: cancelled, timeout or lost."""
        lost = self.workspace.faults.for_task("lost", task.key)
        timeout = self.workspace.faults.for_task("timeout", task.key)
        limits = [limit for limit in (task.spec.get("timeout_seconds"), self.run.body.get("timeout_seconds")) if limit]
        limits += [timeout.seconds] if timeout else []
        began = time.monotonic()
        while process.poll() is None:
            spent = time.monotonic() - began
            ending = None
            if self.run.cancelled.wait(0.02):
                ending = "cancelled"
            elif limits and spent > min(limits):
                ending = "timeout"
            elif lost and spent > lost.seconds:
                ending = "lost"
            if ending:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return ending
        return None

    def _conclude(self, task: Task, home: Path, process: Forked, ending: str | None) -> None:
        text = (home / "log").read_text(errors="replace")
        output: dict[str, Any] = {}
        if not task.spec.get("notebook_task"):
            output |= {"logs": text[-OUTPUT_LIMIT:], "logs_truncated": len(text) > OUTPUT_LIMIT}
        result = home / "result.json"
        found = json.loads(result.read_text()) if ending is None and result.is_file() else {}
        if "notebook" in found:
            output["notebook_output"] = {"result": found["notebook"], "truncated": False}
        state = task.state
        if "error" in found:
            output |= {"error": found["error"], "error_trace": found["trace"]}
        task.output = output
        state.life = "TERMINATING"
        if ending == "cancelled":
            state.end("TERMINATED", "CANCELED", "Run cancelled.", cancelled=True)
        elif ending == "timeout":
            state.end("TERMINATED", "TIMEDOUT", "Run timed out.")
        elif "error" in found:
            state.end("TERMINATED", "FAILED", "Workload failed, see run output for details")
        elif ending == "lost" or not found:
            where = task.cluster.cluster_id if task.cluster else "serverless"
            code = "" if ending else f" (exit code {process.returncode})"
            reason = f"Could not reach driver of cluster {where}.{code}"
            task.output["error"] = reason
            state.end("INTERNAL_ERROR", "FAILED", f"Run result unavailable: run failed with error message {reason}")
        else:
            state.end("TERMINATED", "SUCCESS")


def _usage_tags(task: Task) -> dict[str, str]:
    """What a classic cluster's Spark configuration says of the cluster; serverless compute has none."""
    if task.cluster is None:
        return {}
    logs = task.cluster.spec.get("cluster_log_conf", {}).get("dbfs", {})
    tags = {
        "clusterId": task.cluster.cluster_id,
        "clusterLogDeliveryEnabled": str(bool(logs)).lower(),
        "clusterLogDestination": logs.get("destination", ""),
        "sparkVersion": task.cluster.spec["spark_version"],
    }
    return {f"spark.databricks.clusterUsageTags.{name}": value for name, value in tags.items()}
