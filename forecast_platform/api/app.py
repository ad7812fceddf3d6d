"""The API's app: routes behind the guard, every error as {"detail": text}."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from forecast_platform import __version__
from forecast_platform.api.users import Guard, Users
from forecast_platform.ensembles.submissions import NameTakenError
from forecast_platform.ensembles.yaml_lines import WorkflowError
from forecast_platform.host.admission import LimitReachedError, LostStoreError, UnknownJobError, WrongStateError
from forecast_platform.host.guarded_app import App, Message, Receive, Scope, Send
from forecast_platform.language.errors import LanguageError, RegistryError
from forecast_platform.runs.training_jobs import TrainingJobs, UnavailableError
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import JobError
from forecast_platform.training_jobs.tracking import JobTracker

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

_ABOUT = """Training jobs: bring a table, choose a mode, wait, read the leaderboard and the forecast.

Create a job, submit it, then poll it or listen to its events. Workflows of ensembles go the same
way. Errors are `{"detail": "field: what is wrong"}`."""


def build_app(settings: Settings, host: str = "127.0.0.1", jobs: TrainingJobs | None = None) -> App:
    """The guarded app for a server that binds `host`. Raises SettingsError where nothing says who may ask it."""
    users = Users(settings, host)
    jobs = jobs or TrainingJobs(settings)
    return Guard(_Limited(plain_app(jobs), settings), users, jobs.note_use)


def plain_app(jobs: TrainingJobs) -> FastAPI:
    """The app without its guard."""
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError

    from forecast_platform.api import answers, workflow_answers
    from forecast_platform.api.answers import CreateJob
    from forecast_platform.api.recommendations import NoModelError, recommendation_routes
    from forecast_platform.api.routes import WrongTypeError, job_routes
    from forecast_platform.api.uploads import TooLargeError
    from forecast_platform.api.workflows import workflow_routes
    from forecast_platform.runs.submitted_workflows import SubmittedWorkflows

    app = FastAPI(title="forecast_platform: training jobs and workflows", version=__version__, description=_ABOUT)
    app.include_router(job_routes(jobs))
    app.include_router(workflow_routes(SubmittedWorkflows(jobs.settings, jobs)))
    app.include_router(recommendation_routes(jobs.settings))
    most = jobs.settings.training_jobs.max_upload_mb
    statuses: list[tuple[type[Exception], int, Callable[[Any], str]]] = [
        (JobError, 400, str),
        (WorkflowError, 400, str),
        (WrongStateError, 400, str),
        (NameTakenError, 409, str),
        (RequestValidationError, 400, _first),
        (UnknownJobError, 404, str),
        (LanguageError, 400, str),
        (RegistryError, 503, str),
        (NoModelError, 404, str),
        (WrongTypeError, 415, str),
        (TooLargeError, 413, lambda error: f"file: larger than {most:g} MB: leave out what is not read"),
        (_OverLimitError, 413, str),
        (UnavailableError, 503, str),
        (LostStoreError, 503, str),
        (LimitReachedError, 429, str),
    ]
    for kind, status, text in statuses:
        app.add_exception_handler(kind, _answering(status, text))
    app.add_exception_handler(405, _not_allowed)
    app.add_exception_handler(Exception, _answering(500, lambda _: "an error of this server: its log has the cause"))
    made = app.openapi

    def whole() -> dict[str, Any]:
        # The body of POST /jobs is read by hand, so its parts are not among what FastAPI collects.
        document = made()
        body = CreateJob.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        schemas |= {**body.pop("$defs"), "CreateJob": body}
        # The framework's own refusal of a field, which is a 400 here, with one text.
        for operation in (one for path in document["paths"].values() for one in path.values()):
            operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        # It leaves each null out of examples, which then lack fields that every answer has.
        for module in (answers, workflow_answers):
            for name in schemas.keys() & vars(module).keys():
                if extra := vars(module)[name].model_config.get("json_schema_extra"):
                    schemas[name] |= extra
        return document

    app.openapi = whole  # type: ignore[method-assign]
    return app


async def _not_allowed(request: Request, _error: Exception) -> JSONResponse:
    """Names every method of the path: the framework names those of its first route alone."""
    from fastapi.responses import JSONResponse
    from starlette.routing import Match, Route

    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE:
            found |= route.methods or set()
    allowed = ", ".join(sorted(found))
    text = f"{request.method} is not allowed here: {allowed}"
    return JSONResponse({"detail": text}, 405, {"Allow": allowed})


def _answering(status: int, text: Callable[[Any], str]) -> Any:
    async def answer(_request: Request, error: Exception) -> JSONResponse:
        from fastapi.responses import JSONResponse

        after = getattr(error, "retry_after", None) or (5 if status == 503 else None)
        headers = {"Retry-After": str(after)} if after else {}
        body: dict[str, Any] = {"detail": text(error)}
        if isinstance(error, WorkflowError):
            body["problems"] = [vars(one) for one in error.problems]
        return JSONResponse(body, status, headers)

    return answer


def _first(error: Any) -> str:
    """A request's first fault as one text: the front end shows a list as [object Object]."""
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in found['loc'][1:])}: {found.get('input')!r}: {found['msg']}"


class _Limited:
    """Refuses a request with rows that is larger than the limit before it is held; uploads have their own."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._most = int(settings.training_jobs.max_request_mb * 1e6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; a body that goes on too long ends in an error."""
        if scope["type"] != "http" or scope["path"].startswith("/api/v2/uploads"):
            await self._app(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise _OverLimitError(
                    f"data: a request has at most {self._most / 1e6:g} MB: upload the rows as a file (/api/v2/uploads)"
                )
            return message

        await self._app(scope, counted, send)


class _OverLimitError(Exception):
    """The body is larger than a request may be."""


def warm(jobs: TrainingJobs) -> None:
    """Bring in what the first requests need, which takes seconds: whoever asks first should not wait for it."""
    for library in ("statsforecast.models", "mlflow"):
        importlib.import_module(library)
    with contextlib.suppress(UnavailableError):
        jobs.instance  # noqa: B018 - opened once
    JobTracker(jobs.settings).prepare()


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve the API until interrupted. Raises SettingsError, see `build_app`."""
    import uvicorn

    jobs = TrainingJobs(settings)
    app: Any = build_app(settings, host, jobs)
    threading.Thread(target=warm, args=(jobs,), daemon=True).start()
    # Whom a proxy speaks for is for the guard to judge, by the address that is really connected.
    uvicorn.run(app, host=host, port=port, log_level="warning", proxy_headers=False)
