"""The routes of /api/v2/workflows: each hands on to `runs.submitted_workflows` and says the answer in HTTP's terms."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, StreamingResponse

from forecast_platform.api import answers, workflow_answers
from forecast_platform.api.events import events_of
from forecast_platform.api.faults import FAULTS, Id, Limit, OneStatus, documented, events, user_of
from forecast_platform.ensembles.reading import json_schema
from forecast_platform.ensembles.submissions import Submission
from forecast_platform.host.admission import ENDED, STATUSES
from forecast_platform.runs.submitted_workflows import SubmittedWorkflows
from forecast_platform.runs.workflows import results_text
from forecast_platform.training_jobs.config import JobError

_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": workflow_answers.WorkflowFault, "description": "The text is wrong: each fault with its place."},
    409: {"model": answers.Fault, "description": "Another workflow has this name."},
}


def workflow_routes(workflows: SubmittedWorkflows) -> APIRouter:
    """All routes over these workflows."""
    router = APIRouter(prefix="/api/v2/workflows", responses=FAULTS, tags=["workflows"])

    def whole(one: Submission) -> workflow_answers.WorkflowAnswer:
        tasks = workflows.tasks(one)
        return workflow_answers.workflow_answer(one, tasks, workflows.step_of(one, tasks))

    @router.post("/check")
    def check_workflow(given: workflow_answers.WorkflowText) -> workflow_answers.CheckAnswer:
        """Read a workflow without keeping it: every fault with line and column, or the tasks in running order."""
        return workflow_answers.check_answer(workflows.check(given.yaml))

    @router.get("/schema")
    def workflow_schema() -> dict[str, Any]:
        """The grammar as JSON schema, for editors."""
        return json_schema()

    @router.post("", status_code=201, responses=_REFUSED)
    def create_workflow(request: Request, given: workflow_answers.WorkflowText) -> workflow_answers.WorkflowAnswer:
        """Keep a workflow, or a newer text of the one of its name; submit it to run it."""
        return whole(workflows.create(user_of(request), given.yaml))

    @router.get("")
    def list_workflows(request: Request, status: OneStatus = None, limit: Limit = 50) -> workflow_answers.WorkflowList:
        """The user's newest workflows."""
        if status and status not in STATUSES:
            raise JobError(f"{status!r} is none of {', '.join(STATUSES)}", "status")
        found, total = workflows.listed(user_of(request), status or None, limit)
        shown = [workflow_answers.workflow_answer(one) for one in found]
        return workflow_answers.WorkflowList(workflows=shown, total=total)

    @router.get("/{workflow_id}")
    def get_workflow(request: Request, workflow_id: Id) -> workflow_answers.WorkflowAnswer:
        """A workflow as it is now, with each task's state and times."""
        return whole(workflows.get(user_of(request), workflow_id))

    @router.get(
        "/{workflow_id}/yaml", response_class=Response, responses=documented("text/plain", "The workflow's YAML.")
    )
    def workflow_text(request: Request, workflow_id: Id) -> PlainTextResponse:
        """The workflow's text, as it was sent."""
        return PlainTextResponse(workflows.get(user_of(request), workflow_id).text)

    @router.post("/{workflow_id}/submit", responses=_REFUSED)
    def submit_workflow(request: Request, workflow_id: Id) -> workflow_answers.WorkflowAnswer:
        """Run a workflow, or run it again: tasks that are finished for the same inputs are not computed anew."""
        return whole(workflows.submit(user_of(request), workflow_id))

    @router.post("/{workflow_id}/cancel")
    def cancel_workflow(request: Request, workflow_id: Id) -> workflow_answers.WorkflowAnswer:
        """Cancel a workflow: at once where it waits, else as soon as its run takes notice. Finished tasks are kept."""
        return whole(workflows.cancel(user_of(request), workflow_id))

    @router.delete("/{workflow_id}")
    def delete_workflow(request: Request, workflow_id: Id) -> answers.Message:
        """Remove a workflow that does not run: its assets, fits and data. Its tables and MLflow runs stay."""
        workflows.delete(user_of(request), workflow_id)
        return answers.Message(message=f"workflow {workflow_id} is deleted")

    @router.get("/{workflow_id}/results", response_model=workflow_answers.WorkflowResults)
    def workflow_results(request: Request, workflow_id: Id) -> Response:
        """What a completed workflow found: scores, leaderboards, routed against unrouted."""
        text = results_text(workflows.results(user_of(request), workflow_id))
        return Response(text, media_type="application/json")

    @router.get("/{workflow_id}/report", response_class=Response, responses=documented("text/html", "The page."))
    def workflow_report(request: Request, workflow_id: Id) -> HTMLResponse:
        """A completed workflow's page."""
        return HTMLResponse(workflows.report(user_of(request), workflow_id))

    @router.get(
        "/{workflow_id}/export",
        response_class=Response,
        responses=documented("application/zip", "The ZIP file."),
    )
    def export_workflow(request: Request, workflow_id: Id) -> Response:
        """A completed workflow's model: an MLflow model folder as a ZIP file."""
        data = workflows.model(user_of(request), workflow_id)
        headers = {"Content-Disposition": 'attachment; filename="model.zip"'}
        return Response(data, media_type="application/zip", headers=headers)

    @router.get("/{workflow_id}/events", response_class=Response, responses=events("workflow"))
    async def workflow_events(request: Request, workflow_id: Id) -> StreamingResponse:
        """The workflow as server-sent events (`event: workflow`), whenever it changes, until it has ended."""
        user = user_of(request)

        def look() -> tuple[str, bool]:
            one = workflows.get(user, workflow_id)
            return whole(one).model_dump_json(), one.status in ENDED

        return await events_of("workflow", look)

    return router
