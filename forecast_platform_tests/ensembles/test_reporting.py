"""The end of a task is posted to the webhook; a receiver that fails never fails the task, and the state says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagster import AssetKey, instance_for_test
from pydantic import ValidationError

from forecast_platform.ensembles import reporting
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.graph.assets.ensembles import job_name, workflow_definitions
from forecast_platform.runs.workflows import status
from forecast_platform.settings import Settings, build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.test_run import text_at
from forecast_platform_tests.receivers import Receiver, receiver

SECRET = "sixteen letters and more"
VOTE, BAD = {"task": "vote_mix", "id": "good"}, {"task": "boost", "boost": {"method": "gbm"}, "id": "bad"}


@pytest.fixture
def there():
    with receiver() as found:
        yield found


def settings_of(folder: Path, there: Receiver) -> Settings:
    classes().to_parquet(folder / "table.parquet")
    hook = {"webhook_url": there.url, "webhook_secret": SECRET}
    return build(warehouse=folder / "warehouse", source="sample", workers=1, training_jobs=hook)


def test_the_end_of_each_task_is_posted_and_whether_it_was_taken_stands_in_its_state(
    tmp_path: Path, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "PAUSES", (0.0,))
    settings = settings_of(tmp_path, there)
    text = text_at(tmp_path, VOTE, {**BAD, "boost": {"method": "lightgbm"}}, bases=["linear"])
    workflow = read_workflow(text)
    definitions = workflow_definitions(workflow, lambda: Platform.from_settings(settings))
    job = definitions.resolve_job_def(job_name(workflow))
    # The first end is not taken, twice; the second is. lightgbm is an extra that is not installed.
    there.answers = [500, 500]
    with instance_for_test() as instance:
        keys = [AssetKey(["ensembles", "small", name]) for name in ("good", "bad")]
        result = job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys)
        log = "\n".join(f"{one.user_message} {one.dagster_event}" for one in instance.all_logs(result.run_id))
    ended = {one.step_key for one in result.all_events if one.is_step_success}
    assert ended == {"ensembles__small__good"}, "a receiver that fails does not fail the task"
    assert "was not reported to the webhook: the receiver answered 500" in log
    assert SECRET not in log
    assert there.url not in log

    assert all(there.verified(SECRET))
    told = {said["task"]: said for said in (json.loads(body)["data"] for _, body, _, _ in there.got)}
    assert len(there.got) == 3
    assert (told["good"]["state"], told["bad"]["state"]) == ("finished", "failed")
    assert told["good"]["run_id"] == result.run_id
    assert "needs lightgbm" in told["bad"]["error"]
    found = {one.task: one for one in status(settings, workflow)}
    reports = {name: found[name].report for name in ("good", "bad")}
    assert set(reports.values()) == {"delivered", "not delivered: the receiver answered 500"}
    assert found["good"].run_id == result.run_id


def test_a_task_that_cannot_begin_is_told_as_failed_though_it_was_finished_before(
    tmp_path: Path, there: Receiver
) -> None:
    settings = settings_of(tmp_path, there)
    workflow = read_workflow(text_at(tmp_path, VOTE, bases=["linear"]))
    for wanted in ("finished", "failed"):
        definitions = workflow_definitions(workflow, lambda: Platform.from_settings(settings))
        job = definitions.resolve_job_def(job_name(workflow))
        with instance_for_test() as instance:
            keys = [AssetKey(["ensembles", "small", "good"])]
            job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=keys)
        told = json.loads(there.got[-1][1])["data"]
        assert told["state"] == wanted, told
        classes().drop(columns="target").to_parquet(tmp_path / "table.parquet")
    assert "target 'target' is no column" in told["error"], told["error"]
    assert told["seconds"] is None
    [good, _] = status(settings, workflow)
    assert (good.state, good.report) == ("finished", "delivered"), "what it says is of the table as it was"


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ({"webhook_url": "https://x.example"}, "set both, or neither"),
        ({"webhook_url": "ftp://x.example", "webhook_secret": SECRET}, "begins with https://"),
        ({"webhook_url": "https://x.example", "webhook_secret": "short"}, "16 characters at least"),
        ({"webhook_url": "https://x.example", "webhook_secret": "whsec_not base 64 !"}, "followed by base64"),
    ],
)
def test_a_webhook_that_is_half_set_or_unsigned_is_refused_without_showing_it(hook: dict, said: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=said) as found:
        build(source="sample", training_jobs=hook)
    assert "x.example" not in str(found.value)
