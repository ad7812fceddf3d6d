"""The routes of /api/v2: each hands on to `runs.training_jobs` and says the answer in HTTP's terms."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from forecast_platform.api import answers
from forecast_platform.api.events import events_of
from forecast_platform.api.faults import FAULTS, FileName, Id, Limit, OneStatus, documented, events, user_of
from forecast_platform.api.modes import modes
from forecast_platform.api.uploads import NoFileError, TooLargeError, declared_size, write_body
from forecast_platform.host.admission import ENDED, STATUSES, UnknownJobError
from forecast_platform.runs.training_jobs import TrainingJobs
from forecast_platform.training_jobs.config import JobError
from forecast_platform.training_jobs.intake import delegated_modes
from forecast_platform.training_jobs.reading import column_names
from forecast_platform.training_jobs.results import DOWNLOADS
from forecast_platform.training_jobs.store import Job


def job_routes(jobs: TrainingJobs) -> APIRouter:
    """All routes over these jobs."""
    router = APIRouter(prefix="/api/v2", responses=FAULTS)
    options = jobs.settings.training_jobs

    def shown(job: Job) -> answers.JobAnswer:
        return answers.job_answer(job, jobs.step_of(job), options.cluster_id)

    @router.post("/jobs", status_code=201, openapi_extra=_BODY, tags=["jobs"])
    async def create_job(request: Request) -> answers.JobAnswer:
        """Create a job from a config, with its data as rows, as an uploaded file, or by a table's name."""
        config = await _config(request)
        return shown(await run_in_threadpool(jobs.create, user_of(request), config))

    @router.get("/jobs", tags=["jobs"])
    def list_jobs(
        request: Request,
        status: OneStatus = None,
        limit: Limit = 50,
    ) -> answers.JobList:
        """The user's newest jobs."""
        if status and status not in STATUSES:
            raise JobError(f"{status!r} is none of {', '.join(STATUSES)}", "status")
        found, total = jobs.listed(user_of(request), status or None, limit)
        return answers.JobList(jobs=[shown(job) for job in found], total=total)

    @router.get("/jobs/training-modes", tags=["about"])
    def training_modes() -> answers.TrainingModes:
        """What can be trained with."""
        return answers.TrainingModes(modes=modes(delegated_modes(jobs.settings)))

    @router.get("/jobs/delegation-status", tags=["about"])
    def delegation_status() -> answers.DelegationStatus:
        """Whether jobs are taken here: `enabled` also where they run on this machine."""
        message = "training jobs run on this machine" if options.enabled else "training jobs are switched off here"
        if options.enabled and options.delegation:
            message = "training jobs run on Databricks, or on this machine where they say compute: local"
        return answers.DelegationStatus(
            enabled=options.enabled,
            cluster_id=options.cluster_id if options.delegation else None,
            message=message,
            training_modes=[mode.value for mode in modes()],
            places=["cluster", "local"] if options.delegation else ["local"],
        )

    @router.get("/jobs/{job_id}", tags=["jobs"])
    def get_job(request: Request, job_id: Id) -> answers.JobAnswer:
        """A job as it is now."""
        return shown(jobs.get(user_of(request), job_id))

    @router.post("/jobs/{job_id}/submit", tags=["jobs"])
    def submit_job(request: Request, job_id: Id) -> answers.JobAnswer:
        """Put a pending job into the queue; 400 where there is none of this id, too."""
        with _unknown_as_wrong():
            return shown(jobs.submit(user_of(request), job_id))

    @router.post("/jobs/{job_id}/retry", tags=["jobs"])
    def retry_job(request: Request, job_id: Id) -> answers.JobAnswer:
        """Put a failed or cancelled job into the queue again."""
        return shown(jobs.submit(user_of(request), job_id, again=True))

    @router.post("/jobs/{job_id}/cancel", tags=["jobs"])
    def cancel_job(request: Request, job_id: Id) -> answers.JobAnswer:
        """Cancel a job: at once where it waits, else as soon as its run takes notice; 400 for an unknown one, too."""
        with _unknown_as_wrong():
            return shown(jobs.cancel(user_of(request), job_id))

    @router.delete("/jobs/{job_id}", tags=["jobs"])
    def delete_job(request: Request, job_id: Id) -> answers.Message:
        """Remove a job that does not run, with all that it left."""
        left = jobs.delete(user_of(request), job_id)
        return answers.Message(message=f"job {job_id} is deleted" + (f"; {left}" if left else ""))

    @router.get("/jobs/{job_id}/results", response_model=answers.Results, tags=["jobs"])
    def job_results(request: Request, job_id: Id) -> dict[str, Any]:
        """What a completed job found."""
        user = user_of(request)
        found = jobs.results(user, job_id)
        return answers.results_answer(jobs.get(user, job_id), found)

    @router.get(
        "/jobs/{job_id}/files/{name}",
        response_class=Response,
        responses=documented("*/*", "The file."),
        tags=["jobs"],
    )
    def job_file(request: Request, job_id: Id, name: FileName) -> FileResponse:
        """One of a completed job's files, to download."""
        path = jobs.file(user_of(request), job_id, name)
        if path is None:
            raise UnknownJobError(f"job {job_id} has no file {name!r}; completed ones have {', '.join(DOWNLOADS)}")
        return FileResponse(path, filename=name)

    @router.get(
        "/jobs/{job_id}/events",
        response_class=Response,
        responses=events("job"),
        tags=["jobs"],
    )
    async def job_events(request: Request, job_id: Id) -> StreamingResponse:
        """The job as server-sent events (`event: job`), whenever it changes, until it has ended."""
        user = user_of(request)

        def look() -> tuple[str, bool]:
            job = jobs.get(user, job_id)
            return shown(job).model_dump_json(), job.status in ENDED

        return await events_of("job", look)

    @router.post("/uploads", status_code=201, openapi_extra=_FILE, tags=["uploads"])
    async def upload(request: Request) -> answers.UploadAnswer:
        """Take a CSV (UTF-8) or Parquet file, as a form's file or as the body itself (`?name=`)."""
        most = int(options.max_upload_mb * 1e6)
        found, columns = await jobs_upload(jobs, request, most)
        return answers.UploadAnswer(file=found.upload_id, name=found.name, size=found.size, columns=columns)

    @router.get("/uploads", tags=["uploads"])
    def list_uploads(request: Request) -> answers.UploadList:
        """The files that the user keeps, the newest first, and how many and how much that may be."""
        kept = [answers.KeptUpload(file=one.upload_id, name=one.name, size=one.size, created_at=one.created_at)
                for one in jobs.uploads.listed(user_of(request))]  # fmt: skip
        return answers.UploadList(uploads=kept, most=options.uploads_a_user, most_mb=options.uploads_mb_a_user)

    @router.delete("/uploads/{file}", tags=["uploads"])
    def delete_upload(request: Request, file: Id) -> answers.Message:
        """Remove an uploaded file; jobs that were created from it have its data already."""
        jobs.uploads.remove(file, user_of(request))
        return answers.Message(message=f"upload {file} is deleted")

    @router.get("/uploads/{file}", tags=["uploads"])
    def look(request: Request, file: Id, time_col: str = "", target_col: str = "", id_col: str = "") -> answers.Look:
        """What is in an uploaded file: its columns, and once those are named its series, frequency and gaps."""
        return answers.Look(**jobs.look(user_of(request), file, time_col, target_col, id_col or None))

    return router


async def jobs_upload(jobs: TrainingJobs, request: Request, most: int) -> Any:
    """Receive a file and look at its columns; nothing is left of one that is refused.

    Raises JobError where the body is no file or has no columns to read, TooLargeError for a file above the limit,
    LimitReachedError for one beyond what the user may keep.
    """
    user = user_of(request)
    with contextlib.ExitStack() as place:
        receiving = await run_in_threadpool(place.enter_context, jobs.receiving(user, declared_size(request, most)))
        try:
            size, name = await write_body(request, receiving.path, receiving.most)
        except NoFileError as error:
            raise JobError(str(error), "file") from None
        except TooLargeError:
            if receiving.most == most:
                raise
            raise jobs.uploads.grown_too_large(user) from None
        columns = await run_in_threadpool(column_names, receiving.path)
        return await run_in_threadpool(receiving.keep, name, size), columns


async def _config(request: Request) -> Any:
    """The `config` of a JSON body."""
    body = await request.body()
    if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        raise WrongTypeError("send it with Content-Type: application/json")
    try:
        given = json.loads(body)
    except ValueError as error:
        raise JobError(f"the body is no JSON: {error}") from None
    except RecursionError:
        raise JobError("the body is nested too deep: rows are one value a cell") from None
    if b"\\ud" in body.lower():
        _require_whole_characters(given)
    if not isinstance(given, dict) or "config" not in given:
        raise JobError("is missing: the body is {'config': {...}}", "config")
    return given["config"]


@contextlib.contextmanager
def _unknown_as_wrong() -> Iterator[None]:
    """An unknown job answers 400 where the front end's contract says so."""
    try:
        yield
    except UnknownJobError as error:
        raise JobError(str(error)) from None


def _require_whole_characters(given: Any) -> None:
    """JSON may hold halves of a character, which no file, table or database takes. Raises JobError."""
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = str(error.object)[error.start]
        raise JobError(f"the body holds half a character ({half!a}), which is no text: write the whole one") from None


class WrongTypeError(ValueError):
    """A body of another kind."""


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/CreateJob"},
                "example": {
                    "config": {
                        "data": [{"week": "2024-01-01", "sales": 12.5}, {"week": "2024-01-08", "sales": 13.0}],
                        "time_col": "week",
                        "target_col": "sales",
                        "horizon": 12,
                        "frequency": "weekly",
                        "training_mode": "statsforecast",
                    }
                },
            }
        },
    }
}
_FILE = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
            "text/csv": {"schema": {"type": "string"}, "example": "week,sales\n2024-01-01,12.5\n"},
        },
    }
}
