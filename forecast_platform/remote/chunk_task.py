"""The actions `chunk` and `fit`: what one run that Dagster submits does, and the texts that go back and forth.

With Pipes parameters it reports to the Dagster step that submitted it; without, it prints. The keys that it is asked
for are made whatever is stored: the asking side has planned already.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import IO, Any

from forecast_platform import __version__
from forecast_platform.host.progress import reporter
from forecast_platform.host.redaction import hide
from forecast_platform.remote.parameters import ParameterError, TaskFailedError, settings_for
from forecast_platform.work.chunk_request import PIPES, ChunkRequest, reply_of
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome

ACTIONS = ("chunk", "fit")
_SEND_SECONDS = 2.0
"""How often the run's messages are written to the volume."""


def run(action: str, parameters: Mapping[str, str]) -> str:
    """Do one chunk with the settings of this cluster; returns what became of it as JSON.

    Raises ParameterError before anything is done, TaskFailedError where keys failed.
    """
    given = dict(parameters)
    text = given.pop("chunk", None)
    bootstrap = {PIPES[name]: given.pop(name) for name in PIPES if name in given}
    with _reporting(bootstrap) as pipes:
        wanted = pipes.get_extra("chunk") if pipes else json.loads(text or "{}")
        if not wanted or wanted.get("action") != action:
            raise ParameterError(f"chunk = {wanted}: a {action} is wanted, as JSON or in the extras of Pipes")
        request = ChunkRequest.from_dict(wanted)
        settings = settings_for(given)
        if settings.compute not in ("local", "spark"):
            raise ParameterError(f"compute = {settings.compute!r}: a chunk is computed with local or spark")
        info = pipes.log.info if pipes else _print
        info(f"{request.about}: begun, forecast-platform {__version__}, compute {settings.compute}")
        outcome = do(Platform.from_settings(settings), request, info)
        reply = reply_of(outcome)
        if pipes:
            pipes.report_custom_message({"outcome": reply})
        info(
            f"{request.about}: {len(outcome.written)} written, {len(outcome.failed)} failed, "
            f"{outcome.rows:,} rows, {outcome.seconds:.2f} s"
        )
        if outcome.failed:
            first = next(iter(reply["failed"]))
            raise TaskFailedError(f"{request.about}: {len(outcome.failed)} keys failed\n{first}")
    return json.dumps(reply)


def do(platform: Platform, request: ChunkRequest, info: Any) -> Outcome:
    """Fit or forecast the request's keys, all of them."""
    from forecast_platform.pipeline.inference import forecast
    from forecast_platform.pipeline.training import train

    known = platform.settings.series_names
    if request.series not in known:
        reason = f"series {request.series!r} is not configured on the cluster, which knows {', '.join(known)}: "
        return Outcome(
            request.series,
            request.model,
            failed=dict.fromkeys(request.dates, reason + "mend databricks.config and deploy again"),
        )
    work = train if request.action == "fit" else forecast
    return work(
        platform,
        request.series,
        request.model,
        request.dates,
        version=request.version,
        overwrite=True,
        progress=reporter(info),
    )


def _print(text: str) -> None:
    sys.stdout.write(f"{dt.datetime.now(dt.timezone.utc):%H:%M:%S} {text}\n")
    sys.stdout.flush()


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
