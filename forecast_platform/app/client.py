"""The API as the page asks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import requests

ACTIVE = ("submitting", "running", "cancelling")
_FORWARDED = ("X-Forwarded-User", "X-Forwarded-Email", "Authorization")
"""Headers that say who is at the page; handed on to the API, which believes them from a trusted proxy alone."""


class ApiError(RuntimeError):
    """The API refused, or does not answer; the message is for whoever is at the page."""


@dataclass(frozen=True)
class Api:
    """Questions to the API on behalf of one visitor.

    Every question raises ApiError where the API refuses it or does not answer.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_visitor(cls, url: str, headers: Mapping[str, str]) -> Api:
        """The API as the visitor with these request headers sees it."""
        lower = {name.lower(): value for name, value in headers.items()}
        return cls(url, {name: lower[name.lower()] for name in _FORWARDED if name.lower() in lower})

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            reply = requests.request(method, f"{self.url}/api/v2{path}", headers=dict(self.headers), timeout=60, **more)
        except requests.RequestException as error:
            raise ApiError(f"the API at {self.url} does not answer: start `forecast-platform api` ({error})") from None
        if not reply.ok:
            try:
                detail = str(reply.json()["detail"])
            except (ValueError, KeyError, TypeError):
                detail = reply.text[:500]
            raise ApiError(detail)
        return reply

    def modes(self) -> list[dict[str, Any]]:
        """What can be trained with."""
        return list(self._ask("GET", "/jobs/training-modes").json()["modes"])

    def places(self) -> list[str]:
        """Where jobs may be trained: cluster, local; the first is where they are by themselves."""
        return list(self._ask("GET", "/jobs/delegation-status").json()["places"])

    def jobs(self, limit: int = 50) -> list[dict[str, Any]]:
        """The visitor's newest jobs, at most `limit` (a count)."""
        return list(self._ask("GET", f"/jobs?limit={limit}").json()["jobs"])

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return dict(self._ask("GET", f"/jobs/{job_id}").json())

    def act(self, job_id: str, what: str) -> None:
        """submit, retry or cancel."""
        self._ask("POST", f"/jobs/{job_id}/{what}")

    def delete(self, job_id: str) -> None:
        """Remove a job."""
        self._ask("DELETE", f"/jobs/{job_id}")

    def results(self, job_id: str) -> dict[str, Any]:
        """What a completed job found."""
        return dict(self._ask("GET", f"/jobs/{job_id}/results").json())

    def file(self, job_id: str, name: str) -> bytes:
        """One of a job's files."""
        return self._ask("GET", f"/jobs/{job_id}/files/{name}").content

    def upload(self, name: str, stream: IO[bytes]) -> str:
        """Bring a file; returns its id."""
        return str(self._ask("POST", "/uploads", params={"name": name}, data=stream).json()["file"])

    def look(self, file: str, **columns: Any) -> dict[str, Any]:
        """What is in an uploaded file."""
        given = {name: value for name, value in columns.items() if value}
        return dict(self._ask("GET", f"/uploads/{file}", params=given).json())

    def recommend(self, task: str, criteria: str | None = None) -> dict[str, Any]:
        """Which registered model for a task."""
        return dict(self._ask("POST", "/recommendations", json={"task": task, "criteria": criteria}).json())

    def train(self, config: Mapping[str, Any]) -> str:
        """Create a job and submit it; returns its id."""
        job_id = str(self._ask("POST", "/jobs", json={"config": dict(config)}).json()["job_id"])
        self.act(job_id, "submit")
        return job_id
