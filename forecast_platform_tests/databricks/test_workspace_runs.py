"""Runs through the real SDK: what is submitted is executed, watched, cancelled, disturbed."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from databricks.sdk.errors import DatabricksError, InvalidParameterValue, ResourceDoesNotExist
from databricks.sdk.service import jobs

from forecast_platform_tests.databricks.conftest import NODE, python_task, script
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.waiting import until

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

NOTEBOOK = """# Databricks notebook source
# MAGIC %md
# MAGIC # Title

# COMMAND ----------
dbutils.widgets.text("name", "nobody")

# COMMAND ----------
import json

name = dbutils.widgets.get("name")
print(f"hello {name}")

# COMMAND ----------
dbutils.notebook.exit(json.dumps({"name": name}))

# COMMAND ----------
raise RuntimeError("never reached")
"""


def finish(client: WorkspaceClient, *tasks: Any, **more: Any) -> jobs.Run:
    """Submit, wait, return the run whatever its result."""
    return ended(client, client.jobs.submit(tasks=list(tasks), **more).bind()["run_id"])


def ended(client: WorkspaceClient, run_id: int) -> jobs.Run:
    def look() -> jobs.Run | None:
        run = client.jobs.get_run(run_id)
        return run if life(run) in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR") else None

    return until(look, f"the end of run {run_id}")


def life(run: Any) -> str:
    return str(run.state.life_cycle_state.value)


def result(run: Any) -> str | None:
    return run.state.result_state.value if run.state.result_state else None


def output(client: WorkspaceClient, run: jobs.Run, key: str = "main") -> jobs.RunOutput:
    [task] = [task for task in run.tasks or [] if task.task_key == key]
    return client.jobs.get_run_output(task.run_id or 0)


def test_a_script_runs_with_its_parameters_and_the_workspaces_paths(
    workspace: Workspace, client: WorkspaceClient
) -> None:
    source = """
import os, pathlib, shutil, sys
pathlib.Path("/Volumes/main/forecast/files/deep").mkdir(parents=True)
pathlib.Path("/Volumes/main/forecast/files/deep/a.txt").write_text("text")
os.rename("/Volumes/main/forecast/files/deep/a.txt", "/dbfs/b.txt")
with open("/dbfs/b.txt") as stream:
    print("read", stream.read(), sys.argv[1:], os.path.exists("/Volumes/main/forecast/files/deep/a.txt"))
print(dbutils.fs.head("dbfs:/b.txt"), [entry.name for entry in dbutils.fs.ls("dbfs:/")])
sys.path.append("/Workspace/modules")
import helper
known = dbutils.secrets.get("keys", "password") == "hidden"
print(helper.VALUE, known, os.environ["SETTING"], os.environ["FROM_SECRET"])
"""
    workspace.local("/Workspace/modules").mkdir()
    workspace.local("/Workspace/modules/helper.py").write_text("VALUE = 42\n")
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "password", string_value="hidden")
    variables = {"SETTING": "set", "FROM_SECRET": "{{secrets/keys/password}}"}
    cluster = {**NODE, "spark_env_vars": variables}
    run = finish(client, python_task(script(workspace, source), "--x", "1", new_cluster=cluster))
    assert result(run) == "SUCCESS", output(client, run)
    lines = (output(client, run).logs or "").splitlines()
    assert lines == ["read text ['--x', '1'] False", "text ['b.txt']", "42 True set hidden"]
    assert workspace.local("dbfs:/b.txt").read_text() == "text"


def test_a_task_sees_nothing_of_the_callers_environment(
    workspace: Workspace, client: WorkspaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "mine")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    run = finish(client, python_task(script(workspace, "import os; print('mine' in str(dict(os.environ)))")))
    assert output(client, run).logs == "False\n"


def test_a_task_is_logged_in_to_its_own_workspace(workspace: Workspace, client: WorkspaceClient) -> None:
    source = "from databricks.sdk import WorkspaceClient\nprint(WorkspaceClient().current_user.me().user_name)"
    run = finish(client, python_task(script(workspace, source)))
    assert output(client, run).logs == "someone@example.com\n", output(client, run)


def test_a_notebook_reads_its_widgets_and_exits_with_its_result(client: WorkspaceClient) -> None:
    client.workspace.mkdirs("/Shared")
    client.workspace.upload("/Shared/greet.py", NOTEBOOK.encode())
    task = {
        "task_key": "main",
        "notebook_task": {"notebook_path": "/Shared/greet.py", "base_parameters": {"name": "X"}},
    }
    run = finish(client, jobs.SubmitTask.from_dict(task))
    shown = output(client, run).notebook_output
    assert result(run) == "SUCCESS"
    assert shown is not None
    assert shown.result == '{"name": "X"}'


@pytest.mark.slow
def test_a_wheel_is_installed_and_its_entry_point_called(workspace: Workspace, client: WorkspaceClient) -> None:
    folder = workspace.local("/Volumes/main/forecast/files")
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "greeter-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("greeter/__init__.py", "import sys\ndef main():\n    print('greeted', sys.argv[1:])\n")
        wheel.writestr("greeter-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
        wheel.writestr("greeter-1.0.dist-info/entry_points.txt", "[console_scripts]\ngreet = greeter:main\n")
    path = "/Volumes/main/forecast/files/greeter-1.0-py3-none-any.whl"
    entry = {"package_name": "greeter", "entry_point": "greet", "parameters": ["a"]}
    classic = {"task_key": "main", "python_wheel_task": entry, "new_cluster": NODE, "libraries": [{"whl": path}]}
    run = finish(client, jobs.SubmitTask.from_dict(classic))
    assert output(client, run).logs == "greeted ['a']\n"
    serverless = {"task_key": "main", "python_wheel_task": entry, "environment_key": "default"}
    environment = {
        "environment_key": "default",
        "spec": {"client": "2", "dependencies": [path, "databricks-sdk>=0.60"]},
    }
    run = finish(
        client,
        jobs.SubmitTask.from_dict(serverless),
        environments=[jobs.JobEnvironment.from_dict(environment)],
    )
    assert output(client, run).logs == "greeted ['a']\n"


def test_a_failure_has_its_traceback_in_the_tasks_output(workspace: Workspace, client: WorkspaceClient) -> None:
    run = finish(client, python_task(script(workspace, "print('begun')\n1 / 0\n")))
    assert (life(run), result(run)) == ("INTERNAL_ERROR", "FAILED")
    found = output(client, run)
    assert found.error == "ZeroDivisionError: division by zero"
    assert "line 2" in (found.error_trace or "")
    assert (found.logs or "").startswith("begun\n")


def test_what_follows_a_failed_task_is_not_run_and_the_parent_has_no_output(
    workspace: Workspace, client: WorkspaceClient
) -> None:
    path = script(workspace, "print('done')")
    workspace.faults.add(RunFault("task", task_key="second"))
    after = [{"task_key": "second"}]
    run = finish(
        client,
        python_task(path, key="first"),
        python_task(path, key="second"),
        python_task(path, key="third", depends_on=after),
    )
    results = {task.task_key: result(task) for task in run.tasks or []}
    assert results == {"first": "SUCCESS", "second": "FAILED", "third": "UPSTREAM_FAILED"}
    assert run.state is not None
    assert "Task second failed" in str(run.state.state_message)
    with pytest.raises(InvalidParameterValue, match="each individual task run"):
        client.jobs.get_run_output(run.run_id or 0)
    assert output(client, run, "second").error == "RuntimeError: this failure was asked for"


def test_of_a_task_that_was_retried_the_newest_attempt_counts() -> None:
    from forecast_platform.clients.databricks.monitor import tasks_of

    tasks = [("train", 1, 12), ("infer", 0, 13), ("train", 0, 11)]
    named = [{"task_key": key, "attempt_number": attempt, "run_id": number} for key, attempt, number in tasks]
    assert [task.run_id for task in tasks_of(jobs.Run.from_dict({"tasks": named}))] == [12, 13]


def test_the_same_idempotency_token_never_starts_a_second_run(workspace: Workspace, client: WorkspaceClient) -> None:
    task = python_task(script(workspace, "pass"))
    first = client.jobs.submit(tasks=[task], idempotency_token="once").bind()["run_id"]
    assert client.jobs.submit(tasks=[task], idempotency_token="once").bind()["run_id"] == first
    ended(client, first)
    assert client.jobs.submit(tasks=[task], idempotency_token="once").bind()["run_id"] == first
    assert len(workspace.jobs.runs) == 1
    with pytest.raises(InvalidParameterValue, match="at most 64"):
        client.jobs.submit(tasks=[task], idempotency_token="x" * 65)


@pytest.mark.parametrize(("token", "runs"), [("once", 1), (None, 2)])
def test_an_answer_lost_on_its_way_starts_two_runs_unless_there_is_a_token(
    workspace: Workspace, client: WorkspaceClient, token: str | None, runs: int
) -> None:
    workspace.faults.add(Fault("drop_after", "*/runs/submit"))
    client.jobs.submit(tasks=[python_task(script(workspace, "pass"))], idempotency_token=token)
    assert len(workspace.jobs.runs) == runs


def test_a_cancelled_run_is_killed(workspace: Workspace, client: WorkspaceClient) -> None:
    source = (
        "import pathlib, time\npathlib.Path('/dbfs/begun').touch()\ntime.sleep(900)\npathlib.Path('/dbfs/end').touch()"
    )
    run_id = client.jobs.submit(tasks=[python_task(script(workspace, source))]).bind()["run_id"]
    until(workspace.local("/dbfs/begun").exists)
    assert life(client.jobs.get_run(run_id)) == "RUNNING"
    assert [run.run_id for run in client.jobs.list_runs(active_only=True)] == [run_id]
    client.jobs.cancel_run(run_id)
    run = ended(client, run_id)
    assert (life(run), result(run)) == ("TERMINATED", "CANCELED")
    assert [found.run_id for found in client.jobs.list_runs(completed_only=True)] == [run_id]
    assert not workspace.local("/dbfs/end").exists()


def test_a_run_above_its_time_limit_is_ended(workspace: Workspace, client: WorkspaceClient) -> None:
    run = finish(client, python_task(script(workspace, "import time; time.sleep(60)")), timeout_seconds=1)
    assert result(run) == "TIMEDOUT"


def test_a_cluster_that_starts_slowly_keeps_the_run_pending(workspace: Workspace, client: WorkspaceClient) -> None:
    workspace.faults.add(RunFault("slow_start", seconds=0.6))
    run_id = client.jobs.submit(tasks=[python_task(script(workspace, "pass"))]).bind()["run_id"]
    time.sleep(0.3)
    run = client.jobs.get_run(run_id)
    assert life(run) == "PENDING"
    cluster = workspace.clusters.get(str(run.tasks[0].cluster_instance.cluster_id))  # type: ignore[index,union-attr]
    assert client.clusters.get(cluster.cluster_id).state.value == "PENDING"  # type: ignore[union-attr]
    run = ended(client, run_id)
    assert result(run) == "SUCCESS"
    assert (run.setup_duration or 0) > 500
    assert client.clusters.get(cluster.cluster_id).state.value == "TERMINATED"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fault", "ends", "message"),
    [
        (RunFault("cluster", code="QUOTA_EXCEEDED"), "INTERNAL_ERROR", "QUOTA_EXCEEDED"),
        (RunFault("library", message="no matching distribution"), "INTERNAL_ERROR", "Library installation failed"),
        (RunFault("lost", seconds=0.1), "INTERNAL_ERROR", "Could not reach driver"),
        (RunFault("skipped"), "SKIPPED", "maximum concurrent runs"),
    ],
)
def test_a_run_that_cannot_be_done_says_why(
    workspace: Workspace, client: WorkspaceClient, fault: RunFault, ends: str, message: str
) -> None:
    workspace.faults.add(fault)
    run = finish(client, python_task(script(workspace, "import time; time.sleep(20)")))
    assert life(run) == ends
    assert run.state is not None
    assert message in str(run.state.state_message)


def test_a_forgotten_run_is_unknown(workspace: Workspace, client: WorkspaceClient) -> None:
    workspace.faults.add(RunFault("forgotten"))
    run_id = client.jobs.submit(tasks=[python_task(script(workspace, "pass"))]).bind()["run_id"]
    with pytest.raises(ResourceDoesNotExist, match="does not exist"):
        client.jobs.get_run(run_id)


def test_a_library_that_is_not_here_is_a_failed_installation(workspace: Workspace, client: WorkspaceClient) -> None:
    wanted = [{"pypi": {"package": "dagster==0.0.1"}}]
    run = finish(client, python_task(script(workspace, "pass"), libraries=wanted))
    assert run.state is not None
    assert "dagster==0.0.1" in str(run.state.state_message)


_REFUSED: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda task: task.pop("spark_python_task"), "exactly one of"),
    (lambda task: task.update(existing_cluster_id="none", new_cluster=None), "does not exist"),
    (lambda task: task["new_cluster"].pop("num_workers"), "num_workers or autoscale"),
    (lambda task: task["new_cluster"].update(num_workers=0), "single node"),
    (lambda task: task.pop("new_cluster"), "environment_key"),
    (lambda task: task.update(depends_on=[{"task_key": "other"}]), "not a task of this run"),
]


@pytest.mark.parametrize(("change", "message"), _REFUSED)
def test_what_the_jobs_api_refuses_is_refused(
    workspace: Workspace, client: WorkspaceClient, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    task = python_task(script(workspace, "pass")).as_dict()
    task["new_cluster"] = dict(task["new_cluster"])
    change(task)
    with pytest.raises(DatabricksError, match=message) as raised:
        client.jobs.submit(tasks=[jobs.SubmitTask.from_dict(task)])
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert not workspace.jobs.runs


@pytest.mark.slow
def test_a_job_is_defined_once_and_run_with_other_parameters(workspace: Workspace, client: WorkspaceClient) -> None:
    path = script(workspace, "import sys; print(sys.argv[1:])")
    definition = {
        "task_key": "main",
        "spark_python_task": {"python_file": path, "parameters": ["default"]},
        "job_cluster_key": "shared",
    }
    job = client.jobs.create(
        name="daily",
        tasks=[jobs.Task.from_dict(definition)],
        job_clusters=[jobs.JobCluster.from_dict({"job_cluster_key": "shared", "new_cluster": NODE})],
    )
    assert [found.job_id for found in client.jobs.list(name="daily")] == [job.job_id]
    run = client.jobs.run_now(job.job_id or 0, python_params=["other"]).result(timedelta(seconds=30))
    assert output(client, run).logs == "['other']\n"
    run = client.jobs.run_now(job.job_id or 0).result(timedelta(seconds=30))
    assert output(client, run).logs == "['default']\n"


@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_each_version_of_the_jobs_api_takes_the_same_calls(
    workspace: Workspace, client: WorkspaceClient, version: str
) -> None:
    def ask(method: str, call: str, /, **given: Any) -> dict[str, Any]:
        values = {"query" if method == "GET" else "body": given}
        return client.api_client.do(method, f"/api/{version}/jobs/{call}", **values)  # type: ignore[return-value]

    def finished(run_id: int) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            run = ask("GET", "runs/get", run_id=run_id)
            return run if run["state"]["life_cycle_state"] == "TERMINATED" else None

        return until(look)

    def printed(run: dict[str, Any]) -> str:
        [task] = run["tasks"]
        return ask("GET", "runs/get-output", run_id=task["run_id"])["logs"]

    task = python_task(script(workspace, "import sys; print(sys.argv[1:])"), "given").as_dict()
    first = ask("POST", "runs/submit", run_name="one", tasks=[task])["run_id"]
    run = finished(first)
    assert (run["run_name"], run["run_type"], run["state"]["result_state"]) == ("one", "SUBMIT_RUN", "SUCCESS")
    assert printed(run) == "['given']\n"

    slow = python_task(script(workspace, "import time; time.sleep(60)", "slow.py")).as_dict()
    second = ask("POST", "runs/submit", run_name="two", tasks=[slow])["run_id"]
    assert [each["run_id"] for each in ask("GET", "runs/list", active_only=True)["runs"]] == [second]
    assert ask("POST", "runs/cancel", run_id=second) == {}
    assert finished(second)["state"]["result_state"] == "CANCELED"

    job = ask("POST", "create", name="daily", tasks=[task])["job_id"]
    assert [each["job_id"] for each in ask("GET", "list", name="daily")["jobs"]] == [job]
    settings = ask("GET", "get", job_id=job)["settings"]
    assert (settings["name"], "queue" in settings) == ("daily", version == "2.2"), "by default since 2.2"
    third = ask("POST", "run-now", job_id=job, python_params=["other"])["run_id"]
    run = finished(third)
    assert (run["job_id"], run["run_type"]) == (job, "JOB_RUN")
    assert printed(run) == "['other']\n"

    page = ask("GET", "runs/list", limit=2)
    assert ([each["run_id"] for each in page["runs"]], page["has_more"]) == ([third, second], True)
    page = ask("GET", "runs/list", limit=2, page_token=page["next_page_token"])
    assert ([each["run_id"] for each in page["runs"]], page["has_more"]) == ([first], False)
    assert {path.split("/jobs/")[0] for _, path, _ in workspace.calls} == {f"/api/{version}"}


def test_an_existing_cluster_is_started_and_kept(workspace: Workspace, client: WorkspaceClient) -> None:
    cluster = client.clusters.create(spark_version="15.4.x-scala2.12", node_type_id="i3.xlarge", num_workers=1)
    cluster_id = cluster.bind()["cluster_id"]
    path = script(workspace, "print(1)")
    task = python_task(path).as_dict()
    del task["new_cluster"]
    run = finish(client, jobs.SubmitTask.from_dict({**task, "existing_cluster_id": cluster_id}))
    assert result(run) == "SUCCESS"
    assert client.clusters.get(cluster_id).state.value == "RUNNING"  # type: ignore[union-attr]


@pytest.mark.slow
def test_spark_is_there_when_it_is_used(workspace: Workspace, client: WorkspaceClient) -> None:
    import shutil

    if shutil.which("java") is None:
        pytest.skip("no Java: JVM Spark cannot start")
    run = finish(client, python_task(script(workspace, "print(spark.range(5).count(), sc.defaultParallelism)")))
    assert result(run) == "SUCCESS", output(client, run)
    assert (output(client, run).logs or "").splitlines()[-1] == "5 2"
