"""What goes wrong with a step's remote runs: the Dagster run's status, the partitions, the tables, the message."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from forecast_platform.clients.databricks.connection import Connection
from forecast_platform.clients.databricks.monitor import TaskError
from forecast_platform.clients.databricks.volume import Volume
from forecast_platform.compute.databricks.fleet import passing
from forecast_platform.graph.pipes_step import VolumeMessages
from forecast_platform_tests.databricks.pipes_worlds import (
    FIRST,
    LAST,
    MESSAGES,
    World,
    cluster_before_release,
    day,
    keys,
)
from forecast_platform_tests.databricks_workspace import RunFault, Workspace
from forecast_platform_tests.waiting import PATIENCE, until
from forecast_platform_tests.worlds import days

ALL = set(days(FIRST, LAST))


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while a Dagster run goes on."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


@contextmanager
def released(world: World) -> Iterator[None]:
    """Within this, a step attaches to a run that waits for its cluster; then the cluster is there."""

    def release() -> None:
        instance = world.launcher.instance
        until(lambda: any("attached to it" in world.log(run.run_id) for run in instance.get_runs()))
        for run in world.workspace.jobs.runs.values():
            run.hurry.set()

    with beside(release):
        yield


def failed(world: World, *said: str, status: str = "FAILURE") -> str:
    """Forecast, which must fail saying this; nothing is materialized or written. Returns the message."""
    finished = world.forecast()
    text = "\n".join(finished.messages)
    assert finished.status == status, text
    for part in said:
        assert part in text, text
    assert world.partitions().get("FAILED") == keys()
    assert "MATERIALIZED" not in world.partitions()
    assert not world.dates()
    world.no_secret_anywhere()
    return text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RunFault("cluster", code="AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE", times=9), "to mend: the cloud gave"),
        (RunFault("library", message="no distribution", times=9), "to mend: a library could not be installed"),
    ],
)
@cluster_before_release
def test_a_fault_that_another_try_would_meet_again_fails_at_once(
    world: World, workspace: Workspace, fault: RunFault, said: str
) -> None:
    workspace.faults.add(fault)
    text = failed(world, said, f"{workspace.host}/jobs/")
    assert len(workspace.jobs.runs) == 1, text
    assert not world.book()


@pytest.mark.slow
@cluster_before_release
def test_a_quota_stops_what_is_not_submitted_yet(world: World, workspace: Workspace) -> None:
    world.options["concurrent_runs"] = 1
    workspace.faults.add(RunFault("cluster", code="QUOTA_EXCEEDED", times=9))
    finished = world.forecast("2017-12-30", "2018-01-02")
    assert finished.status == "FAILURE"
    assert "raise the quota" in finished.messages[0]
    assert "not submitted, after another task's run failed" in finished.messages[0]
    assert len(workspace.jobs.runs) == 1
    assert world.partitions() == {"FAILED": keys("2017-12-30", "2018-01-02")}
    assert not world.dates()
    assert not world.book()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        RunFault("cluster"),
        RunFault("skipped"),
        RunFault("lost", seconds=0.1),
    ],
)
@cluster_before_release
def test_a_run_that_databricks_lost_is_submitted_again(world: World, workspace: Workspace, fault: RunFault) -> None:
    workspace.faults.add(fault)
    finished = world.forecast()
    assert finished.success, finished.messages
    assert len(workspace.jobs.runs) == 2
    assert world.dates() == ALL
    assert world.partitions() == {"MATERIALIZED": keys()}
    assert "are submitted again" in world.log(finished.run_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RunFault("cluster", times=9), "CLOUD_PROVIDER_LAUNCH_FAILURE"),
        (RunFault("skipped", times=9), "maximum concurrent runs"),
        (RunFault("lost", times=9, seconds=0.1), "larger driver_node_type"),
    ],
)
@cluster_before_release
def test_a_run_that_databricks_loses_each_time_fails_with_the_cause(
    world: World, workspace: Workspace, fault: RunFault, said: str
) -> None:
    workspace.faults.add(fault)
    failed(world, said, f"{workspace.host}/jobs/")
    assert len(workspace.jobs.runs) == 2


@pytest.mark.slow
@cluster_before_release
def test_a_failure_of_the_remote_code_shows_its_traceback_and_is_not_tried_again(
    world: World, workspace: Workspace
) -> None:
    workspace.faults.add(RunFault("task"))
    failed(world, "RuntimeError: this failure was asked for", 'raise RuntimeError("this failure', workspace.host)
    assert len(workspace.jobs.runs) == 1


@pytest.mark.slow
@cluster_before_release
def test_a_chunk_that_fails_leaves_the_others_their_keys(world: World, workspace: Workspace) -> None:
    world.options["concurrent_runs"] = 1
    workspace.faults.add(RunFault("task"))
    finished = world.forecast("2017-12-31", "2018-01-01")
    assert finished.status == "FAILURE"
    assert len(workspace.jobs.runs) == 2
    [written] = world.dates()
    [lost] = {day("2017-12-31"), day("2018-01-01")} - {written}
    assert world.partitions() == {"MATERIALIZED": {f"{written}|Alpha"}, "FAILED": {f"{lost}|Alpha"}}
    assert f"{lost}: Databricks run" in finished.messages[0]


@pytest.mark.slow
@cluster_before_release
def test_keys_that_failed_remotely_fail_here_with_their_reason_and_the_others_are_kept(
    world: World, workspace: Workspace
) -> None:
    world.cluster["max_staleness_days"] = 0
    world.deploy()
    finished = world.forecast("2018-04-01", "2018-04-04")
    assert finished.status == "FAILURE"
    assert "at most 0 are allowed" in finished.messages[0]
    assert "2018-04-03 to 2018-04-04" in finished.messages[0]
    assert world.dates() == {day("2018-04-01"), day("2018-04-02")}
    assert world.partitions() == {
        "MATERIALIZED": keys("2018-04-01", "2018-04-02"),
        "FAILED": keys("2018-04-03", "2018-04-04"),
    }


@pytest.mark.slow
@cluster_before_release
def test_a_success_that_the_tables_do_not_show_is_a_failure(world: World, workspace: Workspace) -> None:
    world.cluster["seed"] = 99
    world.deploy()
    finished = world.forecast()
    assert finished.status == "FAILURE"
    assert "the tables do not hold these keys" in finished.messages[0]
    assert world.partitions() == {"FAILED": keys()}
    assert world.dates() == ALL, "with the other seed: stored, but not what was asked for"


@pytest.mark.slow
@cluster_before_release
def test_a_secret_that_remote_code_shows_is_hidden_everywhere(world: World, workspace: Workspace) -> None:
    other = "dapi0123456789abcdef0123456789abcdef"
    world.deploy()
    settings = workspace.local("/Workspace/Shared/forecast_platform/settings.yaml")
    settings.write_text(settings.read_text() + f"timezone: {other}\n")
    text = failed(world, "timezone", "***", "mend it and deploy again")
    assert other not in text
    world.no_secret_anywhere(other)


def test_a_message_that_quotes_a_token_arrives_without_it(world: World, workspace: Workspace) -> None:
    connection = Connection(world.settings.databricks)
    volume = Volume(connection)
    volume.make(f"{MESSAGES}/run/messages")
    log = {"method": "log", "params": {"message": "sent Bearer abc", "extra": [workspace.token, 1, None]}}
    volume.write(f"{MESSAGES}/run/messages/1.json", json.dumps(log).encode())
    volume.write(f"{MESSAGES}/run/messages/2.json", json.dumps({"half": "é"}, ensure_ascii=False).encode()[:-3])
    handler = Handler()
    reader = VolumeMessages(connection, f"{MESSAGES}/run")
    with reader.read_messages(handler):
        reader.pull()
    assert handler.seen == [{"method": "log", "params": {"message": "sent Bearer ***", "extra": ["***", 1, None]}}]


class Handler:
    """What Pipes' own handler is to a reader."""

    received_closed_message = False

    def __init__(self) -> None:
        self.seen: list[object] = []

    def handle_message(self, message: object) -> None:
        self.seen.append(message)


@pytest.mark.slow
@pytest.mark.parametrize("compute", ["databricks_classic", "databricks_serverless"])
def test_a_secret_of_the_task_is_hidden_where_the_remote_code_shows_it(
    world: World, workspace: Workspace, compute: str
) -> None:
    hidden = 'Pa55-"word"-of-a-feed'
    client = workspace.client()
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "feed", string_value=hidden)
    world.compute = compute
    world.options["secrets"] = {"FORECAST_PLATFORM_TIMEZONE": "keys/feed"}
    text = failed(world, "timezone", "***")
    assert hidden not in text
    [run] = workspace.jobs.runs.values()
    assert "Pa55" not in str(run.tasks[0].output), "nor does the workspace show it"
    world.no_secret_anywhere(hidden, "Pa55")


def error(life: str, state: str, text: str) -> TaskError:
    return TaskError("chunk", 1, life, state, text, "", "", "", "")


def test_only_what_databricks_failed_is_tried_again() -> None:
    assert passing([error("INTERNAL_ERROR", "FAILED", "Could not reach driver of cluster 1")])
    assert passing([error("SKIPPED", "SKIPPED", "limit of 1 maximum concurrent runs")])
    for given in (
        error("TERMINATED", "FAILED", "ValueError: no"),
        error("TERMINATED", "CANCELED", "Run cancelled."),
        error("TERMINATED", "TIMEDOUT", "Run timed out."),
        error("INTERNAL_ERROR", "FAILED", "Library installation failed: x"),
        error("INTERNAL_ERROR", "FAILED", "terminated. Reason: QUOTA_EXCEEDED"),
    ):
        assert not passing([given])
        assert not passing([error("INTERNAL_ERROR", "FAILED", ""), given])
    assert not passing([])


@pytest.mark.slow
@cluster_before_release
def test_a_service_principal_submits_and_its_secret_is_nowhere(
    world: World, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, wrong = "a-principal-s-own-secret", "another-secret-that-is-wrong"
    workspace.oauth_clients["service"] = secret
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "service")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", secret)
    done = world.forecast()
    assert done.success, done.messages
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", wrong)
    refused = world.forecast("2018-02-05", "2018-02-05")
    assert not refused.success
    assert any("invalid_client" in text for text in refused.messages), refused.messages
    world.no_secret_anywhere(secret, wrong)
    for shown in (secret, wrong):
        assert shown not in world.log(done.run_id) + world.log(refused.run_id) + "".join(refused.messages)
