"""compute=databricks_serverless and databricks_classic: one Databricks run per task, submitted by the Dagster step.

Which keys of a table count as written is never what a run says, only what the tables hold afterwards.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.deploy import current_deployment
from forecast_platform.compute.base import Current
from forecast_platform.compute.databricks.run_ledger import RunLedger
from forecast_platform.work.chunks import Chunk, ChunkResult
from forecast_platform.work.fits import current_fits
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome, RefusedError
from forecast_platform.work.tasks import CHUNK, FIT, TaskRequest, TaskResult

if TYPE_CHECKING:
    from forecast_platform.compute.databricks.fleet import WorkedTask

MAX_WINDOWS = 16
"""Windows that one run fits."""


class PipesCompute:
    """Tasks as runs of a Databricks workspace, submitted by the Dagster step that needs them.

    Each method raises RefusedError where it runs in no Dagster step, or nothing is deployed that runs could be of.
    """

    def __init__(self, *, serverless: bool) -> None:
        self.serverless = serverless

    def run(self, platform: Platform, chunks: Sequence[Chunk], current: Current) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as the tables were seen to hold its keys, or to lack them."""
        by_request = {
            TaskRequest.of_dates(CHUNK, chunk.series, chunk.model, chunk.version, chunk.dates): chunk
            for chunk in chunks
        }
        fleet = self._fleet(platform, list(by_request), current)
        try:
            for job in fleet:
                done = job.result
                rows = len(done.written) * platform.settings.n_paths
                yield ChunkResult(
                    by_request[job.request],
                    sorted(_dates(done.written)),
                    {day: done.failed[day.isoformat()] for day in _dates(done.failed)},
                    rows,
                    done.seconds,
                    runs=tuple(done.runs),
                )
        finally:
            fleet.close()

    def fit(
        self, platform: Platform, series: str, model: str, version: str, hashes: Mapping[dt.date, str]
    ) -> Generator[Outcome, None, None]:
        """Yield what became of windows to fit, whose training data have these hashes."""

        def current(keys: Sequence[str]) -> Mapping[str, dt.datetime]:
            fits = current_fits(platform, series, model, version, hashes)
            return {day.isoformat(): made for day, made in fits.items() if day.isoformat() in set(keys)}

        starts = sorted(hashes)
        requests = [
            TaskRequest.of_dates(FIT, series, model, version, tuple(starts[begin : begin + MAX_WINDOWS]))
            for begin in range(0, len(starts), MAX_WINDOWS)
        ]
        fleet = self._fleet(platform, requests, current)
        try:
            for job in fleet:
                done = job.result
                outcome = Outcome(series, model, _dates(done.written), notes=done.notes, runs=done.runs)
                outcome.failed = {day: done.failed[day.isoformat()] for day in _dates(done.failed)}
                outcome.rows, outcome.seconds = len(outcome.written), done.seconds
                yield outcome
        finally:
            fleet.close()

    def perform(self, platform: Platform, requests: Sequence[TaskRequest]) -> Generator[TaskResult, None, None]:
        """Yield each plain task's result: its run's reply says what became of it, since no table does."""
        fleet = self._fleet(platform, requests, lambda keys: {})
        try:
            for job in fleet:
                yield job.result
        finally:
            fleet.close()

    def _fleet(
        self, platform: Platform, requests: Sequence[TaskRequest], current: Current
    ) -> Generator[WorkedTask, None, None]:
        from forecast_platform.compute.databricks.fleet import Fleet

        if not requests:
            return
        if platform.step is None:
            raise RefusedError(
                f"compute = {platform.settings.compute!r} submits runs from a Dagster step, and this is none: run it "
                "through Dagster (`forecast-platform backfill`, the UI), or set compute to local or spark"
            )
        try:
            connection = Connection(platform.settings.databricks)
            deployed = current_deployment(connection)
        except DatabricksError as error:
            raise RefusedError(str(error)) from None
        book = RunLedger(platform.settings.warehouse / "_databricks" / "runs")
        fleet = Fleet(connection, deployed, book, platform.step, current, serverless=self.serverless)
        yield from fleet.work(requests)


def _dates(keys: Iterable[str]) -> set[dt.date]:
    return set(map(dt.date.fromisoformat, keys))
