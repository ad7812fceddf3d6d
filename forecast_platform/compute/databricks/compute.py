"""compute=databricks_serverless and databricks_classic: one Databricks run per chunk, submitted by the Dagster step.

Which keys count as written is never what a run says, only what the tables hold afterwards.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING

from forecast_platform.clients.databricks.connection import Connection, DatabricksError
from forecast_platform.clients.databricks.deploy import current_deployment
from forecast_platform.compute.base import Current
from forecast_platform.compute.databricks.run_ledger import RunLedger
from forecast_platform.work.chunk_request import ChunkRequest
from forecast_platform.work.chunks import Chunk, ChunkResult
from forecast_platform.work.fits import current_fits
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import Outcome, RefusedError

if TYPE_CHECKING:
    from forecast_platform.compute.databricks.fleet import Job

MAX_WINDOWS = 16
"""Windows that one run fits."""


class PipesCompute:
    """Chunks and fits as runs of a Databricks workspace, submitted by the Dagster step that needs them."""

    def __init__(self, *, serverless: bool) -> None:
        self.serverless = serverless

    def run(self, platform: Platform, chunks: Sequence[Chunk], current: Current) -> Generator[ChunkResult, None, None]:
        """Yield each chunk's result as soon as the tables were seen to hold its keys, or to lack them."""
        by_request = {
            ChunkRequest("chunk", chunk.series, chunk.model, chunk.version, chunk.dates): chunk for chunk in chunks
        }
        fleet = self._fleet(platform, list(by_request), current)
        try:
            for job in fleet:
                done = job.outcome
                rows = len(done.written) * platform.settings.n_paths
                yield ChunkResult(
                    by_request[job.request],
                    sorted(done.written),
                    done.failed,
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

        def current(dates: Sequence[dt.date]) -> Mapping[dt.date, dt.datetime]:
            fits = current_fits(platform, series, model, version, hashes)
            return {day: fits[day] for day in dates if day in fits}

        starts = sorted(hashes)
        requests = [
            ChunkRequest("fit", series, model, version, tuple(starts[begin : begin + MAX_WINDOWS]))
            for begin in range(0, len(starts), MAX_WINDOWS)
        ]
        fleet = self._fleet(platform, requests, current)
        try:
            for job in fleet:
                job.outcome.rows = len(job.outcome.written)
                yield job.outcome
        finally:
            fleet.close()

    def _fleet(
        self, platform: Platform, requests: Sequence[ChunkRequest], current: Current
    ) -> Generator[Job, None, None]:
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
