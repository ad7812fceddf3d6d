"""The kinds of tasks as actions: what one run that Dagster submits does.

With Pipes parameters it reports to the Dagster step that submitted it; without, it prints. The keys that it is asked
for are made whatever is stored: the asking side has planned already.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import IO, Any

from forecast_platform import __version__
from forecast_platform.ensembles import task_kind
from forecast_platform.host.progress import reporter, say
from forecast_platform.host.redaction import hide
from forecast_platform.remote.parameters import ParameterError, TaskFailedError, settings_for
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome
from forecast_platform.work.tasks import CHUNK, FIT, PIPES, PLAIN, Reply, TaskRequest, perform, register

_SEND_SECONDS = 2.0
"""How often the run's messages are written to the volume."""

# A job's parameters name a kind but no function: what a run can be asked for is what is registered here.
register(task_kind.KIND, task_kind.do_task)


def is_kind(action: str) -> bool:
    """Whether an action is a kind of task."""
    return action in (CHUNK, FIT, *PLAIN)


def run(kind: str, parameters: Mapping[str, str]) -> str:
    """Do one task with the settings of this cluster; returns what became of it as JSON.

    Raises ParameterError before anything is done, TaskFailedError where keys failed.
    """
    given = dict(parameters)
    text = given.pop("task", None)
    bootstrap = {PIPES[name]: given.pop(name) for name in PIPES if name in given}
    with _reporting(bootstrap) as pipes:
        wanted = pipes.get_extra("task") if pipes else json.loads(text or "{}")
        if not wanted or wanted.get("kind") != kind:
            raise ParameterError(f"task = {wanted}: a {kind} is wanted, as JSON or in the extras of Pipes")
        request = TaskRequest.from_dict(wanted)
        settings = settings_for(given)
        if settings.compute not in ("local", "spark"):
            raise ParameterError(f"compute = {settings.compute!r}: a task is done with local or spark")
        info = pipes.log.info if pipes else say
        info(f"{request.about}: begun, forecast-platform {__version__}, compute {settings.compute}")
        if kind in PLAIN:
            result = perform(request)
            reply = Reply(result.failed, result.notes, result.seconds, result.value)
            told = f"{result.seconds:.2f} s"
        else:
            outcome = do(Platform.from_settings(settings), request, info)
            failed = {day.isoformat(): reason for day, reason in outcome.failed.items()}
            reply = Reply(failed, outcome.notes, outcome.seconds)
            told = (
                f"{len(outcome.written)} written, {len(failed)} failed, {outcome.rows:,} rows, {outcome.seconds:.2f} s"
            )
        if pipes:
            pipes.report_custom_message({"outcome": reply.to_dict()})
        info(f"{request.about}: {told}")
        if reply.failed:
            first = next(iter(reply.failed.values()))
            raise TaskFailedError(f"{request.about}: {len(reply.failed)} keys failed\n{first}")
    return json.dumps(reply.to_dict())


def do(platform: Platform, request: TaskRequest, info: Any) -> Outcome:
    """Fit or forecast the request's keys, all of them."""
    from forecast_platform.pipeline.inference import forecast
    from forecast_platform.pipeline.training import train

    known = platform.settings.series_names
    series, model, version = request.subject
    if series not in known:
        reason = f"series {series!r} is not configured on the cluster, which knows {', '.join(known)}: "
        return Outcome(
            series,
            model,
            failed=dict.fromkeys(request.dates, reason + "mend databricks.config and deploy again"),
        )
    work = train if request.kind == FIT else forecast
    return work(
        platform,
        series,
        model,
        request.dates,
        version=version,
        overwrite=True,
        progress=reporter(info),
    )


class _ToDagster(logging.Handler):
    """What this package logs, in the step's log."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__(logging.INFO)
        self.target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on as text, with its traceback."""
        self.target.log(record.levelno, self.format(record))


@contextmanager
def _reporting(bootstrap: Mapping[str, str]) -> Iterator[Any]:
    """The Pipes context of the step that submitted this run; None where there is none."""
    if not bootstrap:
        yield None
        return
    from dagster_pipes import (
        PipesBufferedFilesystemMessageWriterChannel,
        PipesMappingParamsLoader,
        PipesUnityCatalogVolumesContextLoader,
        PipesUnityCatalogVolumesMessageWriter,
        open_dagster_pipes,
    )

    class Channel(PipesBufferedFilesystemMessageWriterChannel):
        def upload_messages_chunk(self, payload: IO[Any], index: int) -> None:
            super().upload_messages_chunk(StringIO(hide(payload.read())), index)

    class Writer(PipesUnityCatalogVolumesMessageWriter):
        def make_channel(self, params: Any) -> PipesBufferedFilesystemMessageWriterChannel:
            return Channel(path=params["path"], interval=self.interval)

    with open_dagster_pipes(
        context_loader=PipesUnityCatalogVolumesContextLoader(),
        message_writer=Writer(interval=_SEND_SECONDS),
        params_loader=PipesMappingParamsLoader(bootstrap),
    ) as pipes:
        ours = logging.getLogger("forecast_platform")
        handler = _ToDagster(pipes.log)
        ours.addHandler(handler)
        try:
            yield pipes
        finally:
            ours.removeHandler(handler)
