"""Submitting: the run's payload from the options, and the guarantee that one request is never started twice."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.clients.databricks.connection import Connection, DatabricksError, perhaps_started
from forecast_platform.clients.databricks.deploy import SOURCE, Deployment
from forecast_platform.clients.databricks.monitor import ENDED, life_of
from forecast_platform.clients.databricks.progress_file import PARAMETER, progress_path
from forecast_platform.clients.databricks.variables import parameters_of, secret_names
from forecast_platform.host.files import write_whole
from forecast_platform.settings.databricks import INIT_SCRIPT_PLACES, DatabricksOptions

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run, SubmitTask

NOTEBOOK_OF = {"train": "train_models", "backfill": "backfill_spark", "infer": "daily_inference"}
_OF_ALL_KEYS = ("backfill", "infer", "tables")
"""Actions over all that is asked for; the others fit models, or are one task."""
SPOT: dict[str, dict[str, Any]] = {
    "aws": {"aws_attributes": {"availability": "SPOT_WITH_FALLBACK", "first_on_demand": 1}},
    "azure": {"azure_attributes": {"availability": "SPOT_WITH_FALLBACK_AZURE", "first_on_demand": 1}},
    "gcp": {"gcp_attributes": {"availability": "PREEMPTIBLE_WITH_FALLBACK_GCP"}},
}
"""By cloud, what makes workers spot machines."""
ENVIRONMENT = "default"
ENVIRONMENT_VERSION = "4"
"""The serverless environment: Python 3.12 and the libraries of the supported runtime; supported until August 2028."""


@dataclass(frozen=True)
class Submitted:
    """A run that is there, whether this call started it or an earlier one did."""

    run_id: int
    started: bool


@dataclass(frozen=True)
class Actions:
    """What is asked for: actions in order, each with the same parameters."""

    actions: tuple[str, ...]
    parameters: dict[str, str]
    serverless: bool = False
    cluster_id: str | None = None

    @property
    def name(self) -> str:
        """The run's name; runs of one name are compared to tell how long one takes."""
        return f"forecast-platform {' + '.join(self.actions)}"


class Ledger:
    """What was submitted from here, so that a request is found again after a crash. One small JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """By request: the idempotency token of its newest submission and, once known, the run id.

        Raises DatabricksError where the file is no JSON.
        """
        try:
            return dict(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DatabricksError(
                f"{self.path} is no JSON ({error}): delete it; runs are then found by monitor"
            ) from error

    def claim(self, key: str, over: str | None) -> str:
        """The token to submit a request with: a new one, kept before the call, where `over` is the newest known.

        Raises DatabricksError as `read`.
        """
        with self._lock():
            known = self.read()
            token = known.get(key, {}).get("token")
            if token is None or token == over:
                # Databricks remembers a token long after its run, and this file may be lost: none is ever used again.
                token = f"forecast-platform-{secrets.token_hex(16)}"
                self._write({**known, key: {"token": token, "run_id": None}})
            return str(token)

    def keep(self, key: str, token: str, run_id: int) -> None:
        """Keep which run a token has started. Raises DatabricksError as `read`."""
        with self._lock():
            self._write({**self.read(), key: {"token": token, "run_id": run_id}})

    def _write(self, known: Mapping[str, Any]) -> None:
        write_whole(self.path, json.dumps(known, indent=1))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            yield


def submit(connection: Connection, deployed: Deployment, request: Actions, ledger: Ledger) -> Submitted:
    """Start the run, or find the one that the same request has started and that is not over yet.

    The idempotency token is kept before the call: a crash between the call and its answer is repaired by asking again.
    Raises DatabricksError.
    """
    key = _key(connection, deployed, request)
    known = ledger.read().get(key, {})
    over = None
    if known.get("run_id") is not None:
        run = run_or_none(connection, int(known["run_id"]))
        if run is not None and life_of(run) not in ENDED:
            return Submitted(int(known["run_id"]), started=False)
        over = known.get("token")
    token = ledger.claim(key, over)
    run_id = _launch(connection, deployed, request, token)
    if token == known.get("token"):
        # Submitted before, and its answer lost: this is that run, which may have ended long ago.
        run = run_or_none(connection, run_id)
        if run is not None and life_of(run) not in ENDED:
            ledger.keep(key, token, run_id)
            return Submitted(run_id, started=False)
        token = ledger.claim(key, token)
        run_id = _launch(connection, deployed, request, token)
    ledger.keep(key, token, run_id)
    return Submitted(run_id, started=True)


def _key(connection: Connection, deployed: Deployment, request: Actions) -> str:
    """What makes two requests the same: what is asked for and where, whatever was deployed or set meanwhile."""
    # With the wheel or the cluster's size in it, a request made again after a deploy would start a second run while
    # the first still writes the same tables.
    asked = [connection.host, deployed.folder, request.name, request.parameters, request.serverless, request.cluster_id]
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).hexdigest()


def _launch(connection: Connection, deployed: Deployment, request: Actions, token: str) -> int:
    """Submit the request with this token, which also names the file of its progress."""
    told = {**request.parameters, PARAMETER: progress_path(connection.options.volume, token)}
    payload = tasks(connection.options, deployed, replace(request, parameters=told))
    with perhaps_started("give the same command again, which finds it"):
        return launch(connection, deployed, request.name, payload, token, serverless=request.serverless)


def launch(
    connection: Connection,
    deployed: Deployment,
    name: str,
    payload: Sequence[Mapping[str, Any]],
    token: str,
    *,
    serverless: bool,
) -> int:
    """Submit a run of these tasks, one after another; a second call with the same token returns the same run's id."""
    from databricks.sdk.service import jobs

    options = connection.options
    built: list[SubmitTask] = [jobs.SubmitTask.from_dict(dict(task)) for task in payload]
    more: dict[str, Any] = {}
    if serverless:
        spec = {"environment_version": ENVIRONMENT_VERSION, "dependencies": [deployed.wheel, *options.packages]}
        more["environments"] = [jobs.JobEnvironment.from_dict({"environment_key": ENVIRONMENT, "spec": spec})]
        if options.budget_policy_id:
            more["budget_policy_id"] = options.budget_policy_id
    if any("compute" in task for task in payload):
        # 2026-11: databricks-sdk 0.60, which dagster-databricks caps it at, has no type for a task's accelerator.
        body = {
            "run_name": name, "tasks": [dict(task) for task in payload], "idempotency_token": token,
            "timeout_seconds": sum(task["timeout_seconds"] for task in payload),
            **{key: [one.as_dict() for one in more[key]] if key == "environments" else more[key] for key in more},
        }  # fmt: skip
        raw: Any = connection.call(
            "submitting", lambda: connection.client.api_client.do("POST", "/api/2.2/jobs/runs/submit", body=body)
        )
        return int(raw["run_id"])
    answer = connection.call(
        "submitting",
        lambda: connection.client.jobs.submit(
            run_name=name,
            tasks=built,
            idempotency_token=token,
            timeout_seconds=sum(task["timeout_seconds"] for task in payload),
            **more,
        ),
    )
    return int(answer.bind()["run_id"])


def tasks(options: DatabricksOptions, deployed: Deployment, request: Actions) -> list[dict[str, Any]]:
    """The run's tasks as the API takes them: one an action, each after the one before."""
    parameters = {**({"config": deployed.config} if deployed.config else {}), **request.parameters}
    found: list[dict[str, Any]] = []
    for action in request.actions:
        if request.serverless:
            task = wheel_task(options, deployed, action, parameters, serverless=True)
        else:
            path = f"{deployed.folder}/{NOTEBOOK_OF[action]}"
            task = _on_cluster(options, deployed, action, request.cluster_id)
            named = {**parameters, **_told(options, deployed)}
            task["notebook_task"] = {"notebook_path": path, "base_parameters": named, "source": "WORKSPACE"}
        if found:
            task["depends_on"] = [{"task_key": found[-1]["task_key"]}]
        found.append(task)
    return found


def wheel_task(
    options: DatabricksOptions,
    deployed: Deployment,
    action: str,
    parameters: Mapping[str, str],
    *,
    serverless: bool,
    gpu: bool = False,
    cluster_id: str | None = None,
) -> dict[str, Any]:
    """One action as a task that runs the wheel's entry point, on serverless compute or on a cluster."""
    task = _on_cluster(options, deployed, action, cluster_id)
    if serverless:
        task = {"task_key": action, "timeout_seconds": _limit(options, action), "environment_key": ENVIRONMENT}
        if gpu:
            task["compute"] = {"hardware_accelerator": options.accelerator}
    entry = {"package_name": "forecast-platform", "entry_point": "forecast-platform-task"}
    named = {"action": action, **parameters, **_told(options, deployed)}
    return {**task, "python_wheel_task": {**entry, "named_parameters": named}}


def _told(options: DatabricksOptions, deployed: Deployment) -> dict[str, str]:
    """Parameters of every run: where its secrets are, and which code it must be."""
    return {**parameters_of(options), **({SOURCE: deployed.source} if deployed.source else {})}


def _on_cluster(
    options: DatabricksOptions, deployed: Deployment, action: str, cluster_id: str | None
) -> dict[str, Any]:
    """A task's place and libraries: the cluster named, the settings' one, or a new one."""
    packages = [{"pypi": {"package": package}} for package in options.packages]
    cluster = cluster_id or options.existing_cluster_id
    place = {"existing_cluster_id": cluster} if cluster else {"new_cluster": new_cluster(options, action)}
    limits = {"task_key": action, "timeout_seconds": _limit(options, action)}
    return {**limits, "libraries": [{"whl": deployed.wheel}, *packages], **place}


def cloud_of(node_type: str) -> str:
    """Whose machines these are, which their names tell."""
    if node_type.startswith("Standard_"):
        return "azure"
    return "gcp" if re.match(r"[a-z]\d\w*-(standard|highmem|highcpu|megamem|ultramem)", node_type) else "aws"


def new_cluster(options: DatabricksOptions, action: str) -> dict[str, Any]:
    """The cluster of an action: a single node for one task, `workers` for what forecasts all."""
    few = options.chunk_workers if action == "chunk" else options.training_workers
    workers = options.workers if action in _OF_ALL_KEYS else few
    cluster: dict[str, Any] = {
        "spark_version": options.runtime,
        "node_type_id": options.node_type,
        "data_security_mode": options.data_security_mode,
        "custom_tags": {"application": "forecast_platform", "action": action, **options.tags},
    }
    if options.init_scripts:
        cluster["init_scripts"] = [_init_script(path) for path in options.init_scripts]
    if options.driver_node_type:
        cluster["driver_node_type_id"] = options.driver_node_type
    variables = {
        **options.environment,
        **{name: "{{secrets/" + secret + "}}" for name, secret in options.secrets.items()},
        **secret_names(options),
    }
    if variables:
        cluster["spark_env_vars"] = variables
    if workers == 0:
        cluster["num_workers"] = 0
        cluster["spark_conf"] = {"spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*]"}
        cluster["custom_tags"]["ResourceClass"] = "SingleNode"
    elif options.max_workers and options.max_workers > workers:
        cluster["autoscale"] = {"min_workers": workers, "max_workers": options.max_workers}
    else:
        cluster["num_workers"] = workers
    if options.spot and workers:
        # The driver stays on demand: losing it loses the run.
        cluster.update(SPOT[cloud_of(options.node_type)])
    return cluster


def _init_script(path: str) -> dict[str, Any]:
    place = next(place for start, place in INIT_SCRIPT_PLACES.items() if path.startswith(start))
    return {place: {"destination": path.removeprefix("/Workspace") if place == "workspace" else path}}


def _limit(options: DatabricksOptions, action: str) -> int:
    forecasts = action == "chunk" or action in _OF_ALL_KEYS
    return options.timeout_seconds if forecasts else options.training_timeout_seconds


def run_or_none(connection: Connection, run_id: int) -> Run | None:
    """The run; None where the workspace no longer knows it (it keeps runs for 60 days)."""
    from databricks.sdk.errors import NotFound

    def look() -> Run | None:
        try:
            return connection.client.jobs.get_run(run_id)
        except NotFound:
            return None

    return connection.call(f"looking at run {run_id}", look)
