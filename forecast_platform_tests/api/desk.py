"""The API over a fresh platform, and a daemon's work by hand: ticks of the sensor, runs in this process."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, Definitions, build_sensor_context
from dagster._daemon.types import DaemonHeartbeat
from starlette.testclient import TestClient

from forecast_platform.api.app import build_app
from forecast_platform.graph.automation.training_jobs import NAME
from forecast_platform.graph.training_jobs import JOB
from forecast_platform.runs.training_jobs import TrainingJobs
from forecast_platform.settings import Settings, build


@dataclass
class Desk:
    """One platform with its API; `ask` returns status and JSON."""

    settings: Settings
    host: str = "127.0.0.1"
    headers: dict[str, str] = field(default_factory=dict)
    peer: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.jobs = TrainingJobs(self.settings)
        self.client = TestClient(
            build_app(self.settings, self.host, self.jobs),
            base_url="http://127.0.0.1:8000",
            client=(self.peer, 50_000),
            raise_server_exceptions=False,
        )

    @classmethod
    def over(cls, folder: Path, **changes: Any) -> Desk:
        """A desk over a warehouse in `folder`."""
        return cls(build(warehouse=folder / "warehouse", **changes))

    def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {**self.headers, **more.pop("headers", {})}
        reply = self.client.request(method, f"/api/v2{path}", headers=headers, **more)
        return reply.status_code, reply.json()

    def create(self, config: dict[str, Any], **more: Any) -> str:
        """A new job's id."""
        status, job = self.ask("POST", "/jobs", json={"config": config}, **more)
        assert status == 201, job
        return str(job["job_id"])

    @property
    def instance(self) -> DagsterInstance:
        """Dagster's instance."""
        return self.jobs.instance

    def beat(self) -> None:
        """As a daemon that is alive does."""
        self.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "test", []))

    @cached_property
    def definitions(self) -> Definitions:
        """The platform's definitions."""
        from forecast_platform.definitions import build_definitions

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build_definitions(self.settings)

    def tick(self) -> list[Any]:
        """One evaluation of the sensor; the runs that it asks for."""
        definitions = self.definitions
        context = build_sensor_context(instance=self.instance, repository_def=definitions.get_repository_def())
        found: Any = definitions.resolve_sensor_def(NAME)(context)
        return list(getattr(found, "run_requests", None) or [])

    def run(self, request: Any) -> bool:
        """Run what the sensor asked for, to its end; whether it succeeded."""
        done = self.definitions.resolve_job_def(JOB).execute_in_process(
            instance=self.instance, partition_key=request.partition_key, tags=request.tags, raise_on_error=False
        )
        return bool(done.success)
