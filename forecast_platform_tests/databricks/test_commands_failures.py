"""`forecast-platform databricks ...` where something fails: what is said, with which exit code."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from forecast_platform_tests.databricks.conftest import NODE
from forecast_platform_tests.databricks.shells import FOLDER, Shell, notebook
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.waiting import PATIENCE, until

pytestmark = pytest.mark.slow


def test_progress_that_cannot_be_read_is_said_once(deployed: Workspace, shell: Shell) -> None:
    notebook(deployed, "backfill_spark", "import time\ntime.sleep(1.5)\ndbutils.notebook.exit('{}')")
    deployed.faults.add(Fault("error", "*/fs/files/*progress*", times=99, status=403, code="PERMISSION_DENIED"))
    code, text = shell("submit", "backfill")
    assert code == 0, text
    assert text.count("how far it is cannot be read") == 1


def test_a_failed_task_is_explained_with_its_own_traceback(deployed: Workspace, shell: Shell, tmp_path: Path) -> None:
    notebook(deployed, "train_models", "def fit():\n    raise KeyError('no such column')\nfit()")
    code, text = shell("submit", "backfill", "--train")
    assert code == 1
    assert "train: FAILED" in text
    assert "backfill: UPSTREAM_FAILED" in text
    assert "KeyError: 'no such column'" in text
    assert "in fit" in text
    [run] = deployed.jobs.runs.values()
    assert f"{deployed.host}/jobs/" in text
    log = tmp_path / "local" / "_databricks" / "logs" / f"{run.run_id}.log"
    assert "KeyError: 'no such column'" in log.read_text()
    code, text = shell("errors", str(run.run_id))
    assert code == 1
    assert text.count("task ") == 1, "the task that only waited is not explained"
    assert shell("monitor", str(run.run_id))[0] == 1


@pytest.mark.parametrize(
    ("fault", "cause", "mend"),
    [
        (RunFault("cluster", code="QUOTA_EXCEEDED"), "QUOTA_EXCEEDED", "raise the quota"),
        (RunFault("cluster"), "CLOUD_PROVIDER_LAUNCH_FAILURE", "the cluster did not start: try again"),
        (
            RunFault("library", message="no distribution"),
            "Library installation failed: no distribution",
            "deploy again",
        ),
        (RunFault("lost"), "Could not reach driver", "larger driver_node_type"),
        (RunFault("skipped"), "limit of 1 maximum concurrent runs", "wait for it"),
    ],
)
def test_a_run_that_could_not_be_done_says_why_how_to_mend_it_and_where_to_look(
    deployed: Workspace, shell: Shell, fault: RunFault, cause: str, mend: str
) -> None:
    notebook(deployed, "backfill_spark", "import time; time.sleep(30)")
    deployed.faults.add(fault)
    code, text = shell("submit", "backfill")
    [run] = deployed.jobs.runs.values()
    result = "SKIPPED" if fault.kind == "skipped" else "FAILED"
    assert code == 1
    assert f"\nrun {run.run_id}: {result}: " in text
    explained = text.partition(f"\nrun {run.run_id}: {result}: ")[2]
    assert cause in explained
    [told] = [line for line in explained.splitlines() if line.startswith("  to mend: ")]
    assert mend in told
    assert f"\n  {deployed.host}/jobs/{run.job_id}/runs/{run.tasks[0].run_id}\n" in explained, "where to look"
    code, again = shell("errors", str(run.run_id))
    assert code == 1
    assert cause in again


def test_a_cancel_that_does_not_end_the_run_is_not_waited_for_for_ever(
    deployed: Workspace, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecast_platform.clients.databricks.monitor._CANCEL_SECONDS", 0.1)
    assert shell("submit", "backfill")[0] == 0
    [run] = deployed.jobs.runs.values()
    run.state.life = "TERMINATING"  # as a run whose cluster does not let go
    code, text = shell("cancel", str(run.run_id))
    assert code == 1
    assert f"run {run.run_id} was cancelled 0 s ago and is still TERMINATING: look at {deployed.host}" in text


def test_a_disturbed_workspace_is_waited_out(deployed: Workspace, shell: Shell) -> None:
    deployed.faults.add(Fault("error", "*/runs/get", status=500, code="INTERNAL_ERROR", times=1))
    deployed.faults.add(Fault("throttle", "*/runs/get", times=2, after=2, retry_after=0.1))
    deployed.faults.add(Fault("drop", "*/runs/get", times=1, after=5))
    assert shell("submit", "backfill")[0] == 0


def test_a_watch_that_is_refused_does_not_count_as_the_run_s_failure(deployed: Workspace, shell: Shell) -> None:
    deployed.faults.add(
        Fault("error", "*/runs/get", status=403, code="PERMISSION_DENIED", message="Invalid access token.", after=1)
    )
    deployed.faults.add(RunFault("slow_start", seconds=1))
    code, text = shell("submit", "backfill")
    [run] = deployed.jobs.runs
    assert code == 130
    assert "has expired" in text
    assert f"run {run} goes on. Watch it again with `forecast-platform databricks monitor {run}`" in text
    assert shell("monitor", str(run))[0] == 0
    code, text = shell("monitor", "1")
    assert code == 1
    assert "does not exist" in text


def test_a_refused_token_is_named_without_being_shown(
    deployed: Workspace, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi0123456789abcdef0123456789abcdef")
    code, text = shell("submit", "backfill")
    assert code == 1
    assert "has expired" in text
    assert "0123456789abcdef" not in text


def test_a_token_that_the_remote_code_prints_is_not_repeated(deployed: Workspace, shell: Shell) -> None:
    notebook(deployed, "backfill_spark", f"raise ValueError('token {deployed.token}')")
    code, text = shell("submit", "backfill")
    assert code == 1
    assert "ValueError: token ***" in text


def test_no_credentials_are_a_message(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.delenv("DATABRICKS_HOST")
    code, text = shell("deploy")
    assert code == 1
    assert "DATABRICKS_HOST" in text


def test_a_long_wait_for_the_cluster_is_said_with_why(
    deployed: Workspace, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__PENDING_WARNING_SECONDS", "0.2")
    deployed.faults.add(RunFault("slow_start", seconds=1.5))
    code, text = shell("submit", "backfill")
    assert code == 0
    assert "acquiring more instances" in text


def test_cancel_ends_a_watched_run_with_exit_code_one(deployed: Workspace, shell: Shell) -> None:
    notebook(deployed, "backfill_spark", "import time; time.sleep(60)")

    def end() -> None:
        until(lambda: deployed.jobs.runs)
        [run] = deployed.jobs.runs.values()
        until(lambda: run.state.life == "RUNNING")
        run.cancelled.set()

    threading.Thread(target=end, daemon=True).start()
    code, text = shell("submit", "backfill")
    assert code == 1
    assert "CANCELED" in text
    assert "not made twice" in text


def several(workspace: Workspace, *tasks: tuple[str, str, str]) -> int:
    """Submit a run of several notebooks: each its key, its code and the key of the task it comes after."""
    from databricks.sdk.service.jobs import SubmitTask

    made = []
    for key, code, after in tasks:
        notebook(workspace, key, code)
        task = {"task_key": key, "notebook_task": {"notebook_path": f"{FOLDER}/{key}"}, "new_cluster": NODE}
        made.append(SubmitTask.from_dict({**task, **({"depends_on": [{"task_key": after}]} if after else {})}))
    return int(workspace.client().jobs.submit(tasks=made).bind()["run_id"])


NO_MODEL = "def fetch():\n    raise LookupError('no trained_models/naive v9 for Alpha')\nfetch()"
NO_PACKAGE = "def load():\n    import not_there_at_all\nload()"


def test_every_failed_task_of_a_run_is_explained_and_no_other(
    deployed: Workspace, shell: Shell, tmp_path: Path
) -> None:
    tasks = [("good", "pass", ""), ("models", NO_MODEL, ""), ("after", "pass", "models"), ("packages", NO_PACKAGE, "")]
    run_id = several(deployed, *tasks)
    assert shell("monitor", str(run_id))[0] == 1
    results = {task.key: task.state.result for task in deployed.jobs.runs[run_id].tasks}
    assert results == {"good": "SUCCESS", "models": "FAILED", "after": "UPSTREAM_FAILED", "packages": "FAILED"}
    code, text = shell("errors", str(run_id))
    assert code == 1
    blocks = text.split("\ntask ")[1:]
    assert [block.split()[0] for block in blocks] == ["models", "packages"]
    for block, function, error, mend in (
        (blocks[0], "in fetch", "LookupError: no trained_models/naive v9", "submit train first"),
        (blocks[1], "in load", "ModuleNotFoundError: No module named 'not_there_at_all'", "databricks.packages"),
    ):
        assert "Traceback" in block
        assert function in block
        assert error in block
        [told] = [line for line in block.splitlines() if line.startswith("  to mend: ")]
        assert mend in told
        assert f"{deployed.host}/jobs/" in block
    log = (tmp_path / "local" / "_databricks" / "logs" / f"{run_id}.log").read_text()
    assert "in fetch" in log
    assert "in load" in log


def test_the_errors_of_a_run_that_succeeded_are_none(deployed: Workspace, shell: Shell) -> None:
    assert shell("submit", "backfill")[0] == 0
    [run] = deployed.jobs.runs
    code, text = shell("errors", str(run))
    assert code == 0
    assert text.rstrip().endswith(f"run {run}: SUCCESS, no errors")
    assert "task " not in text


def test_the_errors_of_a_run_that_goes_on_are_those_of_the_tasks_that_are_over(
    deployed: Workspace, shell: Shell
) -> None:
    run_id = several(deployed, ("long", "import time; time.sleep(60)", ""), ("models", NO_MODEL, ""))
    run = deployed.jobs.runs[run_id]
    assert run.tasks[1].done.wait(PATIENCE)
    code, text = shell("errors", str(run_id))
    assert code == 1
    assert f"run {run_id} is RUNNING; of the tasks that are over:" in text
    assert "task models (run " in text
    assert "task long" not in text
    assert shell("cancel", str(run_id))[0] == 0
