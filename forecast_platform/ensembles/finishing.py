"""The end of a workflow: its model, its report, its MLflow runs; each made again only where something changed."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.forecasts import open_rows, write_newest
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.packaging import Ensemble, LostFitError, PackageError, model_of
from forecast_platform.ensembles.predictor import bases_in
from forecast_platform.ensembles.reading import written
from forecast_platform.ensembles.report import report_path, write_report
from forecast_platform.ensembles.running import MODEL, EarlierTaskError, Run, why_it_ended
from forecast_platform.ensembles.store import FAILED, FINISHED, RUNNING, State
from forecast_platform.ensembles.threads import one_thread_each
from forecast_platform.host import process_identity
from forecast_platform.host.files import sync_folder, sync_tree
from forecast_platform.host.mlflow_store import PROCESS_TAG, StoreError, client_with, close_abandoned
from forecast_platform.host.progress import silent
from forecast_platform.work.run_files import log_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SUFFIX = {"route": "clustering", "stack": "stacking", "boost": "boosting", "vote": "voting"}
_PARTS = 3
"""Of the step's progress: the model, the report, the record; what is named is worked on."""


class UntrackedError(RuntimeError):
    """A workflow's model is made and kept, and MLflow did not take the record of it."""


@dataclass(frozen=True)
class Result:
    """What a workflow came to.

    scores: by metric the model's, in the metric's own unit. mlflow_run_id: the parent run, whose artifact `model` is
    the deployable model.
    """

    task: str
    sha256: str
    report: str
    mlflow_run_id: str
    registered: str
    scores: dict[str, float]
    fresh: bool = True


def finish(run: Run, tell: Callable[[int, int, str], None] = silent, *, again: bool = False) -> Result:
    """Make a workflow's model, report and MLflow runs, or find them made, as by another run that is at it now.

    Raises EarlierTaskError, PackageError, FoldError where a holdout leaves too few rows, and UntrackedError where
    MLflow does not answer, or its database is another or was lost: the model can be exported, and the next try records
    it. Where a fit is gone, the tasks that follow from it are finished no more, so that the next run makes it anew.
    """
    with run.store.lock(MODEL):
        try:
            return _finished(run, tell, again=again)
        except LostFitError as lost:
            states = run.states.read()
            for name, outcome in run.outcomes(states).items():
                if outcome.node is not None and lost.key in bases_in(outcome.node):
                    run.states.write(name, replace(states[name], state=FAILED, error=str(lost)))
            raise


def _finished(run: Run, tell: Callable[[int, int, str], None], *, again: bool) -> Result:
    states = run.states.read()
    if not again and (found := _result_in(run, states)) is not None:
        keep_report(run)
        return found
    outcomes = run.outcomes(states)
    missing = [name for name in run.plan.order if name not in outcomes]
    if missing:
        raise EarlierTaskError(f"the model waits for {', '.join(missing)}, not finished for these inputs: run it first")
    began, clock = dt.datetime.now(dt.timezone.utc), time.perf_counter()
    before = states.get(MODEL)
    wanted = run.hashes[MODEL]
    attempts = before.attempts + 1 if before is not None and before.input_hash == wanted else 1
    state = State(RUNNING, wanted, attempts, began, run_id=run.run_id)
    run.states.write(MODEL, state)
    try:
        with one_thread_each():
            result, kept = _made(run, outcomes, tell)
    except BaseException as error:
        made = isinstance(error, UntrackedError)
        said = str(error) if made else why_it_ended(error)
        ended = dt.datetime.now(dt.timezone.utc)
        whole = run.store.digest(MODEL) if made else None
        run.states.write(MODEL, replace(state, state=FAILED, finished_at=ended, error=said, artifact_sha256=whole))
        raise
    now = dt.datetime.now(dt.timezone.utc)
    run.states.write(
        MODEL,
        replace(
            state,
            state=FINISHED,
            finished_at=now,
            seconds=time.perf_counter() - clock,
            result=json.dumps({**vars(result), "fresh": False}, sort_keys=True),
            artifact_sha256=kept,
        ),
    )
    return result


def _made(run: Run, outcomes: Mapping[str, Outcome], tell: Callable[[int, int, str], None]) -> tuple[Result, str]:
    """The result, and the hash of the bundle of its model."""
    known: dict[tuple[str, int], Fitted] = {}
    tell(0, _PARTS, "the model")
    end, digest, files = model_of(run, outcomes, known)
    kept = run.store.put_hashed(MODEL, files)
    if run.workflow.context.source.forecasts is not None:
        _vote_on_newest(run, files)
    tell(1, _PARTS, "the report")
    report = write_report(run, outcomes, known)
    tell(2, _PARTS, "MLflow's record")
    try:
        run_id, registered = _track(run, outcomes, end, files, report)
    except Exception as error:
        # Whatever MLflow or its database raises: it costs the record, never the model.
        told = str(error).strip() or type(error).__name__
        why = told if isinstance(error, StoreError) else told.splitlines()[0]
        raise UntrackedError(
            f"MLflow at {run.platform.settings.tracking_uri} did not take the result: {why}; the model is made "
            "(`forecast-platform ensemble export` writes it), run the workflow again to record it"
        ) from error
    tell(_PARTS, _PARTS, "the model, its report and record")
    scores = {name: value for name, value in end.scores.items() if value == value}
    return Result(end.task, digest, str(report), run_id, registered, scores), kept


def _vote_on_newest(run: Run, files: Mapping[str, bytes]) -> None:
    newest = open_rows(run.frame)
    predicted = Ensemble.of(files).probabilities(newest) if len(newest) else np.zeros((0, 1))
    write_newest(run.platform.warehouse, run.workflow.context, newest, predicted)


def result_of(run: Run) -> Result | None:
    """The result that was made of these inputs; None where there is none, or it is to be registered and is not."""
    return _result_in(run, run.states.read())


def _result_in(run: Run, states: Mapping[str, State]) -> Result | None:
    state = states.get(MODEL)
    if state is None or state.state != FINISHED or state.input_hash != run.hashes[MODEL] or state.result is None:
        return None
    if run.store.digest(MODEL) != state.artifact_sha256:
        return None
    # Where reports are kept now: the warehouse may have been moved, or be a copy.
    found = replace(Result(**json.loads(state.result)), report=str(report_path(run)))
    return None if run.workflow.context.register_ and not found.registered else found


def keep_report(run: Run) -> Path:
    """The page of a finished workflow; written again where it is gone: backups hold none.

    Raises OSError, PackageError.
    """
    path = report_path(run)
    if not path.is_file():
        with one_thread_each():
            write_report(run, run.outcomes(), {})
    return path


def model_files(run: Run) -> dict[str, bytes]:
    """The files of the newest model, an MLflow model folder, by their place in it. Raises PackageError."""
    state = run.states.read().get(MODEL)
    files = run.store.get(MODEL)
    if files is None or state is None or run.store.digest(MODEL) != state.artifact_sha256:
        raise PackageError(
            f"{run.workflow.context.name} has no finished model: `forecast-platform ensemble run` makes it"
        )
    return files


def export_model(run: Run, folder: Path) -> Path:
    """Write the newest model as an MLflow model folder; returns the folder, which has its name once it is whole.

    Raises PackageError, OSError.
    """
    files = model_files(run)
    if folder.exists() and any(folder.iterdir()):
        raise PackageError(f"{folder} is not empty: name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.partial")
    try:
        for name, data in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        sync_tree(partial)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return folder


def experiment_name(run: Run) -> str:
    """The MLflow experiment of a workflow."""
    return f"/Experiments/ensemble_{run.workflow.context.name}"


def _track(
    run: Run, outcomes: Mapping[str, Outcome], end: Outcome, files: Mapping[str, bytes], report: Path
) -> tuple[str, str]:  # fmt: skip
    """The workflow's MLflow run with a child a task; returns its id and the registered name, empty where none."""
    from mlflow.entities import Metric, Param

    client, experiment = client_with(run.platform.settings, experiment_name(run))
    context = run.workflow.context
    states = run.states.read()
    close_abandoned(client, experiment)
    owner = {"workflow": context.name, PROCESS_TAG: process_identity.this_process()}
    tags = {**owner, "deployed_task": end.task}
    parent = client.create_run(experiment, tags=tags, run_name=context.name)
    run_id = str(parent.info.run_id)
    for name, outcome in outcomes.items():
        kind = run.workflow.task(name).kind
        begun = int(states[name].started_at.timestamp() * 1000)
        child = client.create_run(
            experiment,
            start_time=begun,
            tags={**owner, "mlflow.parentRunId": run_id, "task": name},
            run_name=f"{name}_{_SUFFIX[kind]}",
        )
        metrics = _metrics(kind, outcome)
        params = {"task_type": outcome.type, "fits": outcome.fits, "input_hash": states[name].input_hash}
        client.log_batch(
            child.info.run_id,
            metrics=[Metric(key, value, begun, 0) for key, value in metrics.items() if value == value],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        texts = {"base_models.json": json.dumps(outcome.members, indent=1)}
        texts["result_metadata.json"] = states[name].result or "{}"
        texts |= {file: json.dumps(fitted, indent=1) for file, fitted in _fitted(kind, outcome).items()}
        log_files(client, child, {name: text.encode() for name, text in texts.items()})
        finished = states[name].finished_at
        ended = None if finished is None else int(finished.timestamp() * 1000)
        client.set_terminated(child.info.run_id, end_time=ended)
    client.log_batch(run_id, metrics=[Metric(k, v, 0, 0) for k, v in _metrics("stack", end).items() if v == v])
    own = {"workflow.yaml": written(run.workflow).encode(), report.name: report.read_bytes()}
    log_files(client, parent, {**own, **{f"model/{name}": data for name, data in files.items()}})
    registered = _register(run, client, run_id) if context.register_ else ""
    client.set_terminated(run_id)
    return run_id, registered


def _fitted(kind: str, outcome: Outcome) -> dict[str, Any]:
    """What a task has fitted over rows and base models, by the artifacts that others look for."""
    if kind == "route":
        return {"cluster_model/routers.json": outcome.routers}
    if kind != "stack" or outcome.node is None:
        return {}
    own = {name: outcome.node[name] for name in ("state", "weights", "calibration") if name in outcome.node}
    return {"meta_learner/meta_learner.json": own}


def _metrics(kind: str, outcome: Outcome) -> dict[str, float]:
    """Metrics by the names that others read."""
    if kind == "route":
        return {"n_clusters": float(len(outcome.sizes)), **outcome.scores}
    found = {f"stacked_{name}" if name != "rows" else name: value for name, value in outcome.scores.items()}
    if "stacked_rmse" in found:
        found["stacked_mse"] = found["stacked_rmse"] ** 2
    return found


def _register(run: Run, client: MlflowClient, run_id: str) -> str:
    from mlflow.exceptions import MlflowException

    context = run.workflow.context
    catalog, schema, _ = context.source.place
    name = f"{catalog}.{schema}.{context.slug}"
    try:
        client.create_registered_model(name, tags={"workflow": context.name})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    client.create_model_version(name, source=source, run_id=run_id, tags={"workflow": context.name})
    return name
