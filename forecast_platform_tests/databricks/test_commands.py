"""`forecast-platform databricks ...` from a shell against the workspace: deploy, submit, monitor, cancel."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from forecast_platform import __version__
from forecast_platform.clients.databricks import deploy
from forecast_platform_tests.databricks.shells import FOLDER, Shell, notebook
from forecast_platform_tests.databricks_workspace import Fault, RunFault, Workspace
from forecast_platform_tests.waiting import until

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


def test_deploy_uploads_the_package_the_notebooks_and_the_settings(
    workspace: Workspace, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text("source: sample\n")
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__CONFIG", str(config))
    code, text = shell("deploy")
    assert code == 0, text
    record = json.loads(workspace.local(f"{FOLDER}/deployment.json").read_text())
    with zipfile.ZipFile(workspace.local(record["wheel"])) as wheel:
        names = set(wheel.namelist())
        assert wheel.testzip() is None
    version = f"{__version__}+{record['source'][:12]}"
    assert {"forecast_platform/cli/main.py", f"forecast_platform-{version}.dist-info/RECORD"} <= names
    assert workspace.local(f"{FOLDER}/settings.yaml").read_text() == "source: sample\n"
    for name in ("train_models", "daily_inference", "backfill_spark"):
        assert workspace.local(f"{FOLDER}/{name}").read_text().startswith("# Databricks notebook source\n")
    shell("deploy")
    again = json.loads(workspace.local(f"{FOLDER}/deployment.json").read_text())
    assert again == record, "the same source is the same wheel"


@pytest.mark.parametrize(
    "line",
    [
        "api_key: very-hidden",
        "email: {host: mail, 'password': very-hidden}",
        "slack_webhook_url: https://hooks.example.com/very-hidden",
        "mlflow_tracking_uri: https://someone:very-hidden@mlflow.example.com",
    ],
)
def test_deploy_refuses_a_settings_file_that_holds_a_secret(
    workspace: Workspace, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text(f"source: sample\n{line}\n")
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__CONFIG", str(config))
    code, text = shell("deploy")
    assert code == 1
    assert "secret scope" in text
    assert "very-hidden" not in text
    assert not workspace.local(f"{FOLDER}/settings.yaml").exists()


def test_submit_before_deploy_says_so(shell: Shell) -> None:
    code, text = shell("submit", "backfill")
    assert code == 1
    assert "databricks deploy" in text


def test_a_successful_run_is_watched_to_its_end(deployed: Workspace, shell: Shell) -> None:
    deployed.clusters.start_seconds = 0.4
    code, text = shell("submit", "backfill", "--train", "--start-date", "2018-01-01")
    assert code == 0, text
    [run] = deployed.jobs.runs.values()
    assert [task.key for task in run.tasks] == ["train", "backfill"]
    for state in ("train: PENDING", "train: SUCCESS", "backfill: SUCCESS"):
        assert state in text
    assert "no earlier run of this name" in text
    parameters = run.tasks[0].spec["notebook_task"]["base_parameters"]
    [token] = deployed.jobs.tokens
    assert parameters == {
        "start_date": "2018-01-01",
        "source": json.loads(deployed.local(f"{FOLDER}/deployment.json").read_text())["source"],
        "progress": f"/Volumes/commodity/forecast/pipes/progress/{token}.json",
    }
    cluster = run.tasks[1].spec["new_cluster"]
    assert (cluster["num_workers"], run.tasks[0].spec["new_cluster"]["num_workers"]) == (4, 0)
    assert cluster["custom_tags"]["application"] == "forecast_platform"
    code, text = shell("submit", "backfill", "--train", "--start-date", "2018-01-01")
    assert "usually" in text


def test_a_watched_run_shows_how_many_keys_are_done(deployed: Workspace, shell: Shell) -> None:
    notebook(
        deployed,
        "backfill_spark",
        """import time
from forecast_platform.clients.databricks import progress_file
progress_file._WRITE_SECONDS = 0
dbutils.widgets.text("progress", "")
told = progress_file.ProgressFile(dbutils.widgets.get("progress"), print)
told.begin(2000)
with told.step("forecasts Alpha naive", 1000) as report:
    report(100, 1000, "a")
    time.sleep(1)
    report(600, 1000, "b")
    time.sleep(1)
told.close()
dbutils.notebook.exit("{}")
""",
    )
    code, text = shell("submit", "backfill")
    assert code == 0, text
    [run] = deployed.jobs.runs.values()
    assert "backfill: 100 of 2,000 keys (5 %), forecasts Alpha naive\n" in text, "no pace is known yet"
    assert re.search(r"backfill: 600 of 2,000 keys \(30 %\), forecasts Alpha naive, \d+ s left at this pace\n", text)
    assert text.count(" keys (") == 2, "said when there is news"
    assert not list(deployed.local(run.tasks[0].spec["notebook_task"]["base_parameters"]["progress"]).parent.iterdir())


def test_the_same_request_is_not_started_twice_while_it_goes_on(
    deployed: Workspace, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deployed.faults.add(RunFault("slow_start", seconds=120))
    assert shell("submit", "backfill", "--no-wait")[0] == 0
    code, text = shell("submit", "backfill", "--no-wait")
    assert (code, len(deployed.jobs.runs)) == (0, 1)
    assert "attached" in text
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__NODE_TYPE", "i3.2xlarge")
    other = tmp_path / "forecast_platform-0.1.0-py3-none-any.whl"
    other.write_bytes(deploy.build_wheel()[1] + b"another build")
    assert shell("deploy", "--wheel", str(other))[0] == 0
    assert shell("submit", "backfill", "--no-wait")[0] == 0
    assert len(deployed.jobs.runs) == 1, "nor after a deploy or with another cluster: both would write the same dates"
    [run] = deployed.jobs.runs
    assert shell("cancel", str(run))[0] == 0
    assert shell("monitor", str(run))[0] == 1
    notebook(deployed, "backfill_spark", "dbutils.notebook.exit('{}')")
    assert shell("submit", "backfill")[0] == 0
    assert len(deployed.jobs.runs) == 2, "a request whose run is over is a new one"


def test_a_submission_whose_answer_was_dropped_is_found_again(deployed: Workspace, shell: Shell) -> None:
    deployed.faults.add(Fault("drop_after", "*/runs/submit"))
    assert shell("submit", "backfill")[0] == 0
    assert len(deployed.jobs.runs) == 1


@pytest.mark.parametrize("meanwhile", ["goes on", "ended"])
def test_after_a_crash_a_run_that_goes_on_is_found_again_and_one_that_ended_is_not_today_s(
    deployed: Workspace, shell: Shell, tmp_path: Path, meanwhile: str
) -> None:
    deployed.faults.add(RunFault("slow_start", seconds=120))
    assert shell("submit", "infer", "--no-wait")[0] == 0
    [first] = deployed.jobs.runs.values()
    ledger = tmp_path / "local" / "_databricks" / "submitted.json"
    [(key, kept)] = json.loads(ledger.read_text()).items()
    # As it is when the process dies after the call and before its answer was kept.
    ledger.write_text(json.dumps({key: {**kept, "run_id": None}}))
    if meanwhile == "ended":
        first.hurry.set()
        until(lambda: first.state.result)
    code, text = shell("submit", "infer", "--no-wait")
    assert code == 0
    [(_, again)] = json.loads(ledger.read_text()).items()
    if meanwhile == "ended":
        assert len(deployed.jobs.runs) == 2, "the run of an earlier day is not taken for today's"
        assert again["token"] != kept["token"]
    else:
        assert "still going on: attached" in text
        assert again == kept
    first.hurry.set()


def test_a_submission_that_is_never_answered_says_that_it_may_have_been_started(
    deployed: Workspace, shell: Shell
) -> None:
    deployed.faults.add(Fault("error", "*/runs/submit", status=504, code="DEADLINE_EXCEEDED", times=5))
    code, text = shell("submit", "infer")
    assert code == 1
    assert "it may have been started all the same: give the same command again, which finds it" in text


def test_a_request_that_was_done_before_is_done_anew_from_a_shell_that_does_not_know_of_it(
    deployed: Workspace, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notebook(deployed, "daily_inference", "dbutils.notebook.exit('{}')")
    for machine in ("today", "tomorrow"):
        monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / machine))
        assert shell("submit", "infer")[0] == 0
    assert len(deployed.jobs.runs) == 2, "the run of an earlier day is not taken for today's"


def test_other_code_is_another_version_and_takes_the_place_of_the_wheel_that_a_bundle_ships(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cluster that has a version installed does not install it again."""
    assert shell("wheel", str(tmp_path))[0] == 0
    [first] = tmp_path.glob("*.whl")
    files = deploy.package_files()
    more = {**files, "forecast_platform/more.py": b"MORE = 1\n"}
    monkeypatch.setattr(deploy, "package_files", lambda: more)
    assert shell("wheel", str(tmp_path))[0] == 0
    [second] = tmp_path.glob("*.whl")
    versions = [Version(wheel.name.split("-")[1]) for wheel in (first, second)]
    assert versions[0].public == versions[1].public == __version__
    assert versions[0] != versions[1]
    assert deploy.source_of(deploy.wheel_files(second.read_bytes())) == deploy.source_of(more)
    with_notebooks = {**files, "forecast_platform/notebooks/backfill_spark.py": b"run()\n"}
    assert deploy.source_of(with_notebooks) == deploy.source_of(files), "as a build tool packs them"


@pytest.mark.parametrize("place", [(), ("--serverless",)])
def test_a_run_that_finds_other_code_than_was_deployed_does_nothing(
    deployed: Workspace, shell: Shell, place: tuple[str, ...]
) -> None:
    """As on an existing cluster that was not restarted after a deploy."""
    record = deployed.local(f"{FOLDER}/deployment.json")
    wanted = "0" * 32
    record.write_text(json.dumps({**json.loads(record.read_text()), "source": wanted}))
    code, text = shell("submit", "infer", *place)
    assert code == 1
    assert re.search(rf"runs another forecast-platform \(\w+\) than the one that was deployed .*\({wanted}\)", text)
    assert "restart it, and run this again" in text


def test_an_existing_cluster_and_secrets_reach_the_run(
    deployed: Workspace, client: WorkspaceClient, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "feed", string_value="hidden-value")
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__SECRETS", '{"FEED_KEY": "keys/feed"}')
    notebook(deployed, "backfill_spark", "import os\nassert len(os.environ['FEED_KEY']) == 12")
    code, text = shell("submit", "backfill")
    assert code == 0, text
    [run] = deployed.jobs.runs.values()
    assert "hidden-value" not in json.dumps(run.body)
    cluster = client.clusters.create(spark_version="17.3.x-scala2.13", node_type_id="i3.xlarge", num_workers=1)
    cluster_id = cluster.bind()["cluster_id"]
    told = ("submit", "backfill", "--cluster", cluster_id, "--start-date", "1600-01-01")
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT", '{"FORECAST_PLATFORM_TIMEZONE": "Nowhere/At-all"}')
    assert shell("deploy")[0] == 0, "the notebooks as they are"
    code, text = shell(*told)
    assert code == 1
    assert "Nowhere/At-all" in text, "the environment reaches a cluster that is there already"
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__SECRETS", '{"FORECAST_PLATFORM_TIMEZONE": "keys/feed"}')
    monkeypatch.delenv("FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT")
    code, text = shell(*told)
    assert code == 1
    assert "'***'" in text, text
    assert "hidden-value" not in text
    run = list(deployed.jobs.runs.values())[-1]
    assert "hidden-value" not in str(run.tasks[0].output), "nor does the workspace show it"
