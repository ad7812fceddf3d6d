"""training_jobs/{input,model,forecast,leaderboard}: an ad-hoc training job, one key of a dynamic partition each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    DagsterExecutionInterruptedError,
    Failure,
    MaterializeResult,
    MetadataValue,
    asset,
    define_asset_job,
    multi_asset,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forecast_platform.graph.assets import shown
from forecast_platform.graph.requested_runs import KIND, KIND_TAG, CancelWatch, report_canceling
from forecast_platform.graph.training_jobs import (
    ATTEMPT_TAG,
    FORECAST,
    INPUT,
    JOB,
    LEADERBOARD,
    MODEL,
    partitions,
    summary_of,
)
from forecast_platform.host.admission import LimitReachedError, UnknownJobError
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.warehouse.base import WarehouseError
from forecast_platform.warehouse.schemas import TRAINING_JOB_FORECASTS, TRAINING_JOB_LEADERBOARDS
from forecast_platform.work.platform import Platform

_GROUP = "training_jobs"
_GRACE_SECONDS = 5.0
"""Seconds that a training has to end by itself once it is to be cancelled; then it is interrupted."""

_CLUSTER_GRACE_SECONDS = 120.0
"""The same where a run of the cluster's has to end first, and its table is dropped."""


def training_job_assets(settings: Settings) -> list[AssetsDefinition]:
    """The four assets of a job."""
    store = JobStore(settings)

    @asset(
        key=INPUT,
        partitions_def=partitions,
        description="A job's data: every series on one grid of stamps, as they were uploaded or read from a table.",
        required_resource_keys={"platform"},
        **shown(_GROUP, "python"),
    )
    def training_jobs_input(context: AssetExecutionContext) -> MaterializeResult:
        from forecast_platform.training_jobs.intake import panel_of

        platform: Platform = context.resources.platform
        job = _begin(context, store)
        with _kept_in_step(context, store, job):
            if job.asked.compute == "cluster" and job.asked.table is not None:
                return MaterializeResult(metadata={"table": job.asked.table, "user": job.user_id})
            panel = panel_of(platform.settings, store.job_folder(job.job_id), job.asked)
        return MaterializeResult(
            metadata={
                "series": len(panel.ids),
                "rows": len(panel.values),
                "frequency": str(panel.frequency),
                "hash": panel.fingerprint,
                "user": job.user_id,
                "notes": MetadataValue.md("\n".join(f"- {note}" for note in panel.notes)),
            }
        )

    @multi_asset(
        name="train_on_the_job_s_data",
        specs=[
            AssetSpec(key, deps=[INPUT], description=text, **shown(_GROUP, "python"))
            for key, text in (
                (MODEL, "A job's best model with the data it was trained on, in open formats, and its MLflow run."),
                (FORECAST, "A job's forecast with intervals, from models refitted on all data."),
                (LEADERBOARD, "A job's models by their scores in a rolling backtest, the same windows for all."),
            )
        ],
        partitions_def=partitions,
        required_resource_keys={"platform"},
    )
    def training_jobs_results(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
        from forecast_platform.training_jobs.progress import Progress
        from forecast_platform.training_jobs.remote_run import RemoteRuns
        from forecast_platform.training_jobs.tables import remove_rows, write_rows
        from forecast_platform.training_jobs.tracking import JobTracker
        from forecast_platform.training_jobs.training import run_job

        job = store.get(context.partition_key)
        platform: Platform = context.resources.platform
        tracker = JobTracker(settings)
        folder = store.job_folder(job.job_id)
        on_cluster = job.asked.compute == "cluster"
        with _kept_in_step(context, store, job, _CLUSTER_GRACE_SECONDS if on_cluster else _GRACE_SECONDS) as wish:
            progress = Progress(
                lambda percent, step: store.tell(job.job_id, context.run_id, percent, step), wish.is_set
            )
            if on_cluster:
                found = RemoteRuns(settings).train(job, progress)
            else:
                found = run_job(folder, job.asked, progress, keep=lambda results: tracker.log(job, folder, results))
            _remove_forgotten(context, platform, store)
            rows = write_rows(platform.warehouse, store, job, found)
            if not store.complete(job.job_id, context.run_id, summary_of(found)):
                remove_rows(platform.warehouse, [(job.job_id, job.day)])
                _end_cancelled(context, store, job)
        best = found["leaderboard"][0]
        yield MaterializeResult(asset_key=MODEL, metadata={"model": best["model"], "folder": str(folder)})
        yield MaterializeResult(asset_key=FORECAST, metadata={"rows": rows, "table": TRAINING_JOB_FORECASTS.name})
        yield MaterializeResult(
            asset_key=LEADERBOARD,
            metadata={
                "leaderboard": MetadataValue.md(_table(found["leaderboard"])),
                "table": TRAINING_JOB_LEADERBOARDS.name,
                "notes": MetadataValue.md("\n".join(f"- {note}" for note in found["notes"])),
            },
        )

    return [training_jobs_input, training_jobs_results]


def training_job(settings: Settings) -> UnresolvedAssetJobDefinition:
    """The job of the four, a partition a run."""
    longest = settings.training_jobs.max_seconds
    return define_asset_job(
        JOB,
        AssetSelection.assets(INPUT, MODEL, FORECAST, LEADERBOARD),
        partitions_def=partitions,
        description="One training job that somebody asked for through the API (docs/jobs.md).",
        # Data, refits and MLflow are outside of a job's own time limit.
        tags={KIND_TAG: KIND, "dagster/max_runtime": str(int(longest * 2 + 600))},
    )


def _remove_forgotten(context: AssetExecutionContext, platform: Platform, store: JobStore) -> None:
    """Remove the rows of jobs that are gone, now that a session with the tables is there. Not after the job is called
    completed: then its run ends at once."""
    from forecast_platform.training_jobs.tables import remove_forgotten

    try:
        remove_forgotten(platform.warehouse, store)
    except WarehouseError as error:
        context.log.warning(f"rows of jobs that are gone are still in the tables, which is tried again: {error}")


def _begin(context: AssetExecutionContext, store: JobStore) -> Job:
    """The job of this run, which works on it from now on."""
    try:
        job = store.get(context.partition_key)
    except UnknownJobError:
        raise Failure(f"no job {context.partition_key} any more: it was deleted", allow_retries=False) from None
    try:
        begun = store.started(job.job_id, context.run_id, _attempt(context))
    except LimitReachedError as error:
        why = f"job {job.job_id} had ended as {job.status} and its place is taken ({error}): submit it again later"
        raise Failure(why, allow_retries=False) from None
    if not begun:
        _end_cancelled(context, store, job)
    return store.get(job.job_id)


def _end_cancelled(context: AssetExecutionContext, store: JobStore, job: Job) -> None:
    """End the run as cancelled."""
    report_canceling(context)
    store.cancelled(job.job_id, context.run_id, _attempt(context))
    raise DagsterExecutionInterruptedError


def _attempt(context: AssetExecutionContext) -> int | None:
    """Which attempt at the job this run is; None where it was launched from the UI."""
    found = context.run_tags.get(ATTEMPT_TAG)
    return None if found is None else int(found)


@contextmanager
def _kept_in_step(
    context: AssetExecutionContext, store: JobStore, job: Job, grace: float = _GRACE_SECONDS
) -> Iterator[threading.Event]:
    """Within this, the wish to cancel is seen, and whatever ends the step is what the store says of the job."""
    from forecast_platform.training_jobs.config import JobError
    from forecast_platform.training_jobs.modes.base import CancelledError

    watch = CancelWatch(
        context,
        lambda: store.wants_cancel(job.job_id),
        grace,
        lambda: store.cancelled(job.job_id, context.run_id, _attempt(context)),
    )
    try:
        with watch:
            yield watch.wish
    except CancelledError:
        _end_cancelled(context, store, job)
    except (DagsterExecutionInterruptedError, KeyboardInterrupt):
        if watch.wish.is_set():
            _end_cancelled(context, store, job)
        _interrupted(context, store, job)
        raise
    except JobError as error:
        store.fail(job.job_id, str(error), context.run_id, _attempt(context))
        raise Failure(str(error), allow_retries=False) from error
    except Exception as error:
        store.fail(job.job_id, f"{type(error).__name__}: {error}", context.run_id, _attempt(context))
        raise


def _interrupted(context: AssetExecutionContext, store: JobStore, job: Job) -> None:
    """From the Dagster UI it is a cancel; where the machine goes down, a failure."""
    from dagster import DagsterRunStatus

    run = context.instance.get_run_by_id(context.run_id)
    if run is not None and run.status == DagsterRunStatus.CANCELING:
        store.cancelled(job.job_id, context.run_id, _attempt(context))
    else:
        why = "interrupted: the service was stopped; submit it again"
        store.fail(job.job_id, why, context.run_id, _attempt(context))


def _table(board: list[dict[str, Any]]) -> str:
    shown = ("model", "mase", "smape", "mape", "wql", "fit_time_marginal", "predict_time")
    lines = [f"| {' | '.join(shown)} |", f"|{'---|' * len(shown)}"]
    for row in board:
        cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in shown]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
