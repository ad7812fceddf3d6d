"""Training jobs in the graph: a run a job whatever dies, and a cancel in every state a run can be in."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus, RunsFilter, build_sensor_context
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.workspace.load_target import WorkspaceFileTarget

from forecast_platform.graph.automation.training_jobs import NAME
from forecast_platform.graph.requested_runs import KIND_TAG, USER_TAG
from forecast_platform.graph.training_jobs import JOB, JOB_TAG, tags_of
from forecast_platform.host.home import shipped_file
from forecast_platform.training_jobs.store import Job, JobStore
from forecast_platform.training_jobs.tracking import JOB_TAG as JOB_TAG_OF_MLFLOW
from forecast_platform.training_jobs.tracking import JobTracker
from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.training_jobs.tables import asked


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse whose Dagster instance is made: that takes longer than a test."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        Desk.over(folder).beat()
    return folder


@pytest.fixture
def desk(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shutil.copytree(template, tmp_path / "own")
    return Desk.over(tmp_path / "own", training_jobs={"keep_days": 1})


def submitted(desk: Desk, **changes: Any) -> Job:
    job_id = desk.create(asked(**changes))
    return desk.jobs.submit("local", job_id)


def run_in(desk: Desk, job: Job, status: DagsterRunStatus, **tags: str) -> str:
    """A run of the job as it would be in this state."""
    definition = desk.definitions.resolve_job_def(JOB)
    partition = {"dagster/partition": job.job_id}
    location, *_ = WorkspaceFileTarget([str(shipped_file("workspace.yaml"))]).create_origins()
    run = desk.instance.create_run_for_job(
        definition,
        tags={**tags_of(job), **partition, **tags},
        status=status,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), JOB),
    )
    return run.run_id


def test_the_sensor_asks_for_each_job_under_its_id_until_there_is_a_run(desk: Desk) -> None:
    assert desk.tick() == []
    job = submitted(desk)
    [first] = desk.tick()
    assert (first.run_key, first.partition_key) == (job.job_id, job.job_id)
    assert first.tags[USER_TAG] == "local"
    assert desk.instance.has_dynamic_partition("training_jobs", job.job_id)
    [again] = desk.tick()  # as after a daemon that died before Dagster had the run: the same key is run once
    assert again.run_key == first.run_key
    run_in(desk, job, DagsterRunStatus.QUEUED)
    assert desk.tick() == []


def test_a_later_look_is_there_when_a_job_is_submitted(desk: Desk) -> None:
    desk.tick()
    job_id = desk.create(asked())
    context = build_sensor_context(
        instance=desk.instance,
        cursor=desk.settings.now().isoformat(),
        repository_def=desk.definitions.get_repository_def(),
    )
    with ThreadPoolExecutor(1) as threads:
        look = threads.submit(desk.definitions.resolve_sensor_def(NAME), context)
        time.sleep(0.5)
        assert not look.done(), "it waits"
        desk.jobs.store.submit(job_id, "local")
        found: Any = look.result(60)
    assert [request.run_key for request in found.run_requests] == [job_id]


def test_a_look_does_not_wait_where_nobody_has_asked_for_anything_lately(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(JobStore, "wait_for_one", lambda _, seconds, pause: waits.append(seconds))
    job_id = desk.create(asked())

    def look() -> int:
        context = build_sensor_context(
            instance=desk.instance,
            cursor=desk.settings.now().isoformat(),
            repository_def=desk.definitions.get_repository_def(),
        )
        desk.definitions.resolve_sensor_def(NAME)(context)
        return len(waits)

    assert look() == 1, "somebody has just created a job"
    an_hour_ago = time.time() - 3600
    os.utime(desk.jobs.store.path.with_name("jobs.used"), (an_hour_ago, an_hour_ago))
    assert look() == 1
    assert Desk(desk.settings).ask("GET", f"/jobs/{job_id}")[0] == 200
    assert look() == 2, "whoever looks at a job may submit the next"


def test_the_queue_of_the_shipped_instance_limits_jobs_and_users_by_the_tags_that_runs_carry(desk: Desk) -> None:
    import yaml

    limits = yaml.safe_load(shipped_file("dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    tags = tags_of(submitted(desk))
    assert {"key": KIND_TAG, "value": tags[KIND_TAG], "limit": 1} in limits
    assert {"key": USER_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 2} in limits


def test_a_queued_run_is_taken_out_of_the_queue(desk: Desk) -> None:
    job = submitted(desk)
    desk.tick()
    run_id = run_in(desk, job, DagsterRunStatus.QUEUED)
    assert desk.jobs.cancel("local", job.job_id).status == "cancelled"
    assert desk.instance.get_run_by_id(run_id).status == DagsterRunStatus.CANCELED  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_wish_to_cancel_a_starting_run_is_kept_and_the_run_then_ends_as_cancelled(desk: Desk) -> None:
    job = submitted(desk)
    [request] = desk.tick()
    run_in(desk, job, DagsterRunStatus.STARTING)
    assert desk.jobs.cancel("local", job.job_id).status == "cancelling"
    assert not desk.run(request)
    [run] = desk.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.CANCELED]))
    assert run.tags[JOB_TAG] == job.job_id
    assert desk.jobs.get("local", job.job_id).status == "cancelled"
    assert not (desk.jobs.store.job_folder(job.job_id) / "results.json").exists()


@pytest.mark.parametrize(
    ("status", "tags", "becomes"),
    [
        (DagsterRunStatus.FAILURE, {}, "failed"),
        (DagsterRunStatus.FAILURE, {"dagster/will_retry": "true"}, "submitting"),
        (DagsterRunStatus.CANCELED, {}, "cancelled"),
        (DagsterRunStatus.SUCCESS, {}, "failed"),
        (DagsterRunStatus.STARTED, {}, "submitting"),
    ],
)
def test_a_run_that_ended_without_a_word_settles_its_job(
    desk: Desk, status: DagsterRunStatus, tags: dict[str, str], becomes: str
) -> None:
    job = submitted(desk)
    desk.tick()
    run_in(desk, job, status, **tags)
    found = desk.jobs.get("local", job.job_id)
    assert found.status == becomes
    assert (found.error is not None) == (becomes == "failed")


def test_a_failure_of_which_dagster_has_not_said_whether_it_tries_again_is_not_the_end(desk: Desk) -> None:
    job = submitted(desk)
    desk.tick()
    run_id = run_in(desk, job, DagsterRunStatus.STARTED)
    failure = DagsterEvent(DagsterEventType.RUN_FAILURE.value, JOB)
    # As Dagster does: first the status, then the tag.
    desk.instance.run_storage.handle_run_event(run_id, failure, dt.datetime.now(dt.timezone.utc))
    assert desk.instance.get_run_by_id(run_id).status == DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert desk.jobs.get("local", job.job_id).status == "submitting"
    desk.instance.add_run_tags(run_id, {"dagster/will_retry": "false"})
    assert desk.jobs.get("local", job.job_id).status == "failed"


@pytest.mark.slow
def test_a_job_that_cannot_be_trained_fails_with_its_reason_and_is_tried_again(desk: Desk) -> None:
    job = submitted(desk)
    panel = desk.jobs.store.job_folder(job.job_id) / "panel.npz"
    whole = panel.read_bytes()
    panel.write_bytes(b"")
    [request] = desk.tick()
    assert not desk.run(request)
    found = desk.jobs.get("local", job.job_id)
    assert found.status == "failed"
    assert str(found.error).startswith("data: panel.npz of the job cannot be read")
    panel.write_bytes(whole)
    desk.jobs.submit("local", job.job_id, again=True)
    [request] = desk.tick()
    assert request.run_key == f"{job.job_id}:2"
    assert desk.run(request)
    assert desk.jobs.get("local", job.job_id).status == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "pruned"])
def test_a_job_that_failed_after_it_was_logged_leaves_nothing_in_mlflow(desk: Desk, how: str) -> None:
    job = submitted(desk)
    client, experiment_id = JobTracker(desk.settings).client_for(job.job_id)
    logged = client.create_run(experiment_id, tags={JOB_TAG_OF_MLFLOW: job.job_id}).info.run_id
    desk.jobs.store.fail(job.job_id, "the tables' disk is full")
    if how == "deleted":
        assert desk.ask("DELETE", f"/jobs/{job.job_id}") == (200, {"message": f"job {job.job_id} is deleted"})
    else:
        later = desk.settings.now() + dt.timedelta(days=2)
        Desk(desk.settings.with_clock(lambda: later)).tick()
    assert client.get_run(logged).info.lifecycle_stage == "deleted"
    assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"


def test_a_job_is_deleted_also_where_mlflow_is_not_there_and_that_is_said(desk: Desk) -> None:
    away = Desk(desk.settings.model_copy(update={"mlflow_tracking_uri": "nonsense://host"}))
    job = submitted(away)
    away.jobs.store.fail(job.job_id, "broken")
    status, found = away.ask("DELETE", f"/jobs/{job.job_id}")
    assert status == 200
    assert found["message"].startswith(f"job {job.job_id} is deleted; MLflow keeps its runs (nonsense://host): ")
    assert away.ask("GET", f"/jobs/{job.job_id}")[0] == 404


@pytest.mark.slow
def test_a_finished_job_is_pruned_with_its_partition_and_runs(desk: Desk) -> None:
    job = submitted(desk)
    [request] = desk.tick()
    assert desk.run(request)
    later = desk.settings.now() + dt.timedelta(days=2)
    old = Desk(desk.settings.with_clock(lambda: later))
    old.tick()
    assert old.jobs.listed("local", None, 10) == ([], 0)
    assert old.instance.get_runs() == []
    assert old.instance.get_dynamic_partitions("training_jobs") == []
    assert not old.jobs.store.job_folder(job.job_id).exists()
