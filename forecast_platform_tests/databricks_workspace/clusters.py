"""Clusters: created, started and ended as a job needs them; nothing is rented, only time passes."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forecast_platform_tests.databricks_workspace.faults import invalid

if TYPE_CHECKING:
    from forecast_platform_tests.databricks_workspace.server import Request, Workspace


def now() -> int:
    """Milliseconds since 1970, as the API gives times."""
    return int(time.time() * 1000)


@dataclass
class Cluster:
    """One cluster and what happened to it."""

    cluster_id: str
    spec: dict[str, Any]
    source: str
    state: str = "PENDING"
    message: str = "Finding instances for new nodes, acquiring more instances if necessary"
    reason: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    started: int = field(default_factory=now)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def log(self, kind: str, **details: Any) -> None:
        self.events.append({"cluster_id": self.cluster_id, "timestamp": now(), "type": kind, "details": details})

    def start(self, seconds: float, wait: Callable[[float], bool]) -> None:
        """Wait until it runs: at once where it does, else after `seconds`, unless `wait` says that it is not wanted."""
        with self.lock:
            if self.state == "RUNNING":
                return
            if self.state == "TERMINATED":
                self.state, self.message = "PENDING", "Starting Spark"
                self.log("STARTING", user="someone@example.com")
            if not wait(seconds):
                self.state, self.message = "RUNNING", ""
                self.log("RUNNING", current_num_workers=self.spec.get("num_workers", 0))

    def end(self, code: str = "JOB_FINISHED", kind: str = "SUCCESS", **parameters: str) -> None:
        """Terminate it for this reason."""
        self.state, self.message = "TERMINATED", ""
        self.reason = {"code": code, "type": kind, "parameters": parameters}
        self.log("TERMINATING", reason=self.reason)

    @property
    def about(self) -> dict[str, Any]:
        """The API's description."""
        hidden = {"libraries"}
        about = {key: value for key, value in self.spec.items() if key not in hidden}
        about.update(
            cluster_id=self.cluster_id,
            state=self.state,
            state_message=self.message,
            cluster_source=self.source,
            start_time=self.started,
            creator_user_name="someone@example.com",
            spec={key: value for key, value in self.spec.items() if key not in hidden},
        )
        if self.reason:
            about["termination_reason"] = self.reason
        return about


class Clusters:
    """All clusters of a workspace."""

    def __init__(self, start_seconds: float) -> None:
        self.start_seconds = start_seconds
        self.all: dict[str, Cluster] = {}
        self._numbers = itertools.count(1)

    def create(self, spec: dict[str, Any], source: str = "JOB") -> Cluster:
        """A new cluster, not yet started. Refuses a specification the API would refuse."""
        check(spec)
        number = next(self._numbers)
        cluster = Cluster(f"{time.strftime('%m%d-%H%M%S')}-local{number:03d}", dict(spec), source)
        cluster.log("CREATING", cluster_size={"num_workers": spec.get("num_workers", 0)}, user="someone@example.com")
        self.all[cluster.cluster_id] = cluster
        return cluster

    def get(self, cluster_id: str) -> Cluster:
        """The cluster with this id; the API's error otherwise."""
        if cluster_id not in self.all:
            raise invalid(f"Cluster {cluster_id} does not exist")
        return self.all[cluster_id]


def check(spec: dict[str, Any]) -> None:
    """Refuse what the API refuses."""
    if not spec.get("spark_version"):
        raise invalid("Missing required field: cluster_spec.new_cluster.spark_version")
    if not spec.get("node_type_id") and not spec.get("instance_pool_id"):
        raise invalid("Either node_type_id or instance_pool_id must be set in new_cluster")
    if spec.get("num_workers") is None and not spec.get("autoscale"):
        raise invalid("Missing required field: new_cluster.size: give num_workers or autoscale")
    workers = spec.get("num_workers")
    single = spec.get("spark_conf", {}).get("spark.databricks.cluster.profile") == "singleNode" or spec.get(
        "is_single_node"
    )
    if workers == 0 and not single:
        raise invalid("num_workers is 0: a single node cluster needs spark.databricks.cluster.profile singleNode")


def create(workspace: Workspace, request: Request) -> dict[str, Any]:
    cluster = workspace.clusters.create(request.json, "API")
    never = threading.Event()
    threading.Thread(target=cluster.start, args=(workspace.clusters.start_seconds, never.wait), daemon=True).start()
    return {"cluster_id": cluster.cluster_id}


def get(workspace: Workspace, request: Request) -> dict[str, Any]:
    return workspace.clusters.get(request.need("cluster_id")).about


def events(workspace: Workspace, request: Request) -> dict[str, Any]:
    cluster = workspace.clusters.get(request.need("cluster_id"))
    ordered = cluster.events if request.json.get("order") == "ASC" else cluster.events[::-1]
    return {"events": ordered, "total_count": len(ordered)}


def list_(workspace: Workspace, request: Request) -> dict[str, Any]:
    return {"clusters": [cluster.about for cluster in workspace.clusters.all.values()]}


def start(workspace: Workspace, request: Request) -> dict[str, Any]:
    cluster = workspace.clusters.get(request.need("cluster_id"))
    never = threading.Event()
    threading.Thread(target=cluster.start, args=(workspace.clusters.start_seconds, never.wait), daemon=True).start()
    return {}


def delete(workspace: Workspace, request: Request) -> dict[str, Any]:
    workspace.clusters.get(request.need("cluster_id")).end("USER_REQUEST", username="someone@example.com")
    return {}


_V = r"/api/2\.[01]/clusters/"
ROUTES = {
    ("POST", _V + "create"): create,
    ("GET", _V + "get"): get,
    ("POST", _V + "events"): events,
    ("GET", _V + "list"): list_,
    ("POST", _V + "start"): start,
    ("POST", _V + "delete"): delete,
}
