"""A workflow's tasks as assets: `ensembles/<workflow>/<task>`, each `depends_on` an edge, and the model at the end."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    Backoff,
    DagsterExecutionInterruptedError,
    DataVersion,
    Definitions,
    Failure,
    JobDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
    define_asset_job,
    in_process_executor,
)

from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.plain import numbered
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.remote_task import is_remote, perform_remotely
from forecast_platform.ensembles.running import MODEL, Done, Run, followed
from forecast_platform.ensembles.submissions import Submissions
from forecast_platform.ensembles.workshop import ENGINE
from forecast_platform.graph.assets import UnlessCanceled
from forecast_platform.graph.keys import Keys
from forecast_platform.graph.pipes_step import DagsterStep
from forecast_platform.graph.requested_runs import CancelWatch, report_canceling
from forecast_platform.graph.workflow_runs import ATTEMPT_TAG, WORKFLOW_TAG, mark_process, task_key
from forecast_platform.host.disk import full_disk
from forecast_platform.host.progress import reporter
from forecast_platform.settings import Settings
from forecast_platform.work.platform import Platform

POOL = "ensembles"
"""Concurrency pool of all workflows' tasks: `dagster instance concurrency set ensembles N` bounds them."""
_RETRIES = UnlessCanceled(max_retries=1, delay=5, backoff=Backoff.EXPONENTIAL)

PlatformMaker = Callable[[], Platform]


def job_name(workflow: Workflow) -> str:
    """The job that runs all of a workflow."""
    return job_name_of(workflow.context.slug)


def job_name_of(slug: str) -> str:
    """The same, by what stands for the workflow in names of assets."""
    return f"ensemble_{slug}"


def workflow_definitions(
    workflow: Workflow, platform: PlatformMaker = Platform.from_settings, settings: Settings | None = None
) -> Definitions:
    """The assets of a workflow, and the job that runs them in order; nothing is read or computed here.

    settings: which models and series there are, where a workflow over forecasts names none.
    """
    return Definitions(assets=workflow_assets(workflow, platform, settings), jobs=[_job(workflow)])


def asset_name(name: str, is_taken: Callable[[str], bool]) -> str:
    """A name of anybody's as assets may carry it, numbered where that is taken."""
    return numbered(re.sub(r"\W", "_", name, flags=re.ASCII), is_taken)


def broken_definitions(name: str, said: str) -> Definitions:
    """An asset that stands for a workflow that cannot be read: it shows the faults, and fails with them."""

    @asset(
        key=AssetKey(["ensembles", name, "unreadable"]),
        group_name="ensembles",
        description=f"This workflow cannot be read; mend its file.\n\n```\n{said}\n```",
        kinds={"yaml"},
    )
    def unreadable() -> None:
        raise Failure(f"the workflow cannot be read:\n{said}", allow_retries=False)

    return Definitions(assets=[unreadable])


def workflow_assets(
    workflow: Workflow, platform: PlatformMaker, settings: Settings | None = None
) -> list[AssetsDefinition]:
    """One asset a task, and one of the model. settings: as `workflow_definitions` has them."""
    opened = _Opened(workflow, platform)
    plan, read = plan_of(workflow), _forecasts_of(workflow, settings)
    above = {name: [task_key(workflow, one) for one in plan.needs[name]] or read for name in plan.order}
    made = [_task_asset(workflow, name, above[name], opened) for name in plan.order]
    return [*made, _model_asset(workflow, plan.order, opened)]


class _Opened:
    """The workflow over its table, opened once a run of this process."""

    def __init__(self, workflow: Workflow, platform: PlatformMaker) -> None:
        self.workflow, self.platform = workflow, platform
        self._last: tuple[str, Run] | None = None

    def __call__(self, context: AssetExecutionContext) -> Run:
        run_id = context.run_id
        if self._last is None or self._last[0] != run_id:
            platform = self.platform()
            if platform.settings.compute == "local":
                # Elsewhere a task may go on when this process is gone.
                mark_process(context.instance, run_id)
            self._last = run_id, Run(platform, self.workflow, run_id=run_id)
        return self._last[1]


def _task_asset(workflow: Workflow, name: str, above: Iterable[AssetKey], opened: _Opened) -> AssetsDefinition:
    task = workflow.task(name)

    @asset(
        key=task_key(workflow, name),
        deps=list(above),
        group_name="ensembles",
        description=f"{task.task} of the workflow {workflow.context.name}.",
        kinds={"scikitlearn"},
        code_version=_code_version(workflow, task.model_dump(mode="json")),
        retry_policy=_RETRIES,
        pool=POOL,
        tags={"workflow": workflow.context.slug},
    )
    def made(context: AssetExecutionContext) -> MaterializeResult[Any]:
        with _told(), _cancellable(context, opened), _Reported(context, opened, name) as reported:
            run = opened(context)
            if is_remote(run):
                done, address = perform_remotely(run, name, DagsterStep(context))
            else:
                done, address = run.perform(name, reporter(context.log.info)), ""
            reported.fresh = done.fresh
        for note in done.outcome.notes:
            context.log.warning(note)
        more = {"databricks_run": MetadataValue.url(address)} if address else {}
        return MaterializeResult(metadata={**_metadata(done), **more}, data_version=DataVersion(run.hashes[name]))

    return made


def _forecasts_of(workflow: Workflow, settings: Settings | None) -> list[AssetKey]:
    """The assets of the daily graph that a first task reads: of the models and the series' groups that it is over."""
    source = workflow.context.source.forecasts
    if source is None:
        return []
    if settings is None:
        return [Keys().point_forecasts(model) for model in source.of]
    wanted = set(source.series or settings.series_names)
    groups = [one.name for one in settings.series_groups if wanted & set(one.series)]
    return [Keys(group).point_forecasts(model) for group in groups for model in source.of or settings.models]


def _model_asset(workflow: Workflow, tasks: Iterable[str], opened: _Opened) -> AssetsDefinition:
    @asset(
        key=task_key(workflow, MODEL),
        deps=[task_key(workflow, one) for one in tasks],
        group_name="ensembles",
        description=f"The deployable MLflow model of {workflow.context.name}, and its report.",
        kinds={"mlflow"},
        code_version=_code_version(workflow, workflow.context.register_),
        retry_policy=_RETRIES,
        pool=POOL,
        tags={"workflow": workflow.context.slug},
    )
    def model(context: AssetExecutionContext) -> MaterializeResult[Any]:
        from forecast_platform.ensembles.finishing import finish

        with _told(), _cancellable(context, opened), _Reported(context, opened, MODEL) as reported:
            run = opened(context)
            result = finish(run, reporter(context.log.info))
            reported.fresh = result.fresh
        metadata: dict[str, Any] = {
            "task": result.task,
            "report": MetadataValue.path(result.report),
            "mlflow_run_id": result.mlflow_run_id,
            "sha256": result.sha256,
            "computed": result.fresh,
            **{name: MetadataValue.float(value) for name, value in result.scores.items()},
        }
        return MaterializeResult(metadata=metadata, data_version=DataVersion(run.hashes[MODEL]))

    return model


def _code_version(workflow: Workflow, own: Any) -> str:
    """What the results of an asset follow from beside its inputs: of another, Dagster shows it as to be made again.

    own: what is of this asset alone, as JSON has it.
    """
    return hashlib.sha256(json.dumps([ENGINE, followed(workflow), own], sort_keys=True).encode()).hexdigest()[:12]


def _job(workflow: Workflow) -> JobDefinition | Any:
    from dagster import AssetSelection

    keys = [task_key(workflow, one.name) for one in workflow.tasks]
    return define_asset_job(
        job_name(workflow),
        AssetSelection.assets(*keys, task_key(workflow, MODEL)),
        executor_def=in_process_executor,
        description=f"All tasks of the workflow {workflow.context.name}, then its model.",
    )


@contextmanager
def _cancellable(context: AssetExecutionContext, opened: _Opened) -> Iterator[None]:
    """Within this, a step of a run that somebody asked for through the API ends where they want it cancelled."""
    workflow_id = context.run_tags.get(WORKFLOW_TAG)
    if workflow_id is None:
        yield
        return
    store, attempt = Submissions(opened.platform().settings), int(context.run_tags.get(ATTEMPT_TAG, "0"))

    def wanted() -> bool:
        return store.wants_cancel(workflow_id, attempt)

    if wanted():
        report_canceling(context)
        raise DagsterExecutionInterruptedError
    with CancelWatch(context, wanted):
        yield


class _Reported:
    """Within this a task's end, whatever it is, is posted to the webhook that the settings name, where they do."""

    def __init__(self, context: AssetExecutionContext, opened: _Opened, task: str) -> None:
        self.context, self.opened, self.task, self.fresh = context, opened, task, True

    def __enter__(self) -> "_Reported":
        self.since = dt.datetime.now(dt.timezone.utc)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        from forecast_platform.ensembles.reporting import report_end

        cancelled = isinstance(error, DagsterExecutionInterruptedError | KeyboardInterrupt)
        workflow_id = self.context.run_tags.get(WORKFLOW_TAG)
        try:
            why = report_end(
                self.opened(self.context), self.task, run_id=self.context.run_id, workflow_id=workflow_id,
                cancelled=cancelled, fresh=self.fresh, error=error, since=self.since,
            )  # fmt: skip
        except Exception as fault:  # noqa: BLE001 - told in the log: a task does not fail because nobody heard of it
            why = f"{type(fault).__name__}: {fault}"
        if why is not None:
            self.context.log.warning(f"the end of {self.task} was not reported to the webhook: {why}")


class _told:
    """Within this, what no other try would mend ends the step with its own words."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        from forecast_platform.ensembles.running import EarlierTaskError
        from forecast_platform.ensembles.workshop import TaskTimeoutError
        from forecast_platform.warehouse.base import DiskFullError

        # Faults of the workflow or its table are ValueErrors of ours; a table that is not there is a FileNotFoundError.
        if isinstance(error, ValueError | EarlierTaskError | TaskTimeoutError | FileNotFoundError | DiskFullError):
            raise Failure(str(error), allow_retries=False) from error
        if isinstance(error, Exception) and (full := full_disk(error)) is not None:
            raise Failure(full, allow_retries=False) from error


def _metadata(done: Done) -> dict[str, Any]:
    outcome = done.outcome
    found: dict[str, Any] = {
        "computed": done.fresh,
        "seconds": round(outcome.seconds, 3),
        "fits": outcome.fits if done.fresh else 0,
        **{name: MetadataValue.float(value) for name, value in outcome.scores.items() if value == value},
    }
    if done.tables:
        found["table"] = ", ".join(done.tables)
    if outcome.unrouted is not None:
        found["routed_against_unrouted"] = outcome.verdict
    if outcome.members:
        lines = [f"| {one['name']} | {'yes' if one['chosen'] else ''} |" for one in outcome.members if "chosen" in one]
        found["models"] = MetadataValue.md("\n".join(["| model | chosen |", "|---|---|", *lines]))
    return found
