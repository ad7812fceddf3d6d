"""The API's workflows as the page uses them."""

from __future__ import annotations

from typing import Any

from forecast_platform.app.client import Api


class WorkflowApi(Api):
    """Questions about workflows on behalf of one visitor."""

    def check(self, text: str) -> dict[str, Any]:
        """Faults with their places, or the tasks in running order."""
        return dict(self._ask("POST", "/workflows/check", json={"yaml": text}).json())

    def create(self, text: str) -> str:
        """Keep a workflow; returns its id."""
        return str(self._ask("POST", "/workflows", json={"yaml": text}).json()["workflow_id"])

    def act(self, workflow_id: str, what: str) -> None:
        """submit or cancel."""
        self._ask("POST", f"/workflows/{workflow_id}/{what}")

    def delete(self, workflow_id: str) -> None:
        """Remove a workflow."""
        self._ask("DELETE", f"/workflows/{workflow_id}")

    def listed(self) -> list[dict[str, Any]]:
        """The visitor's newest workflows."""
        return list(self._ask("GET", "/workflows").json()["workflows"])

    def get(self, workflow_id: str) -> dict[str, Any]:
        """A workflow with its tasks."""
        return dict(self._ask("GET", f"/workflows/{workflow_id}").json())

    def text(self, workflow_id: str) -> str:
        """A workflow's YAML."""
        return self._ask("GET", f"/workflows/{workflow_id}/yaml").text

    def results(self, workflow_id: str) -> dict[str, Any]:
        """What a completed workflow found."""
        return dict(self._ask("GET", f"/workflows/{workflow_id}/results").json())

    def file(self, workflow_id: str, name: str) -> bytes:
        """report or export."""
        return self._ask("GET", f"/workflows/{workflow_id}/{name}").content
