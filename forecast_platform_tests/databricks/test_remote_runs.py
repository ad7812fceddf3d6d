"""What is deployed does on the workspace what it does here: the notebooks and the wheel, to the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from forecast_platform import settings
from forecast_platform.cli.main import main
from forecast_platform.forecasting.horizon import DEFAULT, day_columns
from forecast_platform.pipeline.inference import forecast
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.databricks.pipes_worlds import World, keys
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.worlds import days, settings_for

pytestmark = pytest.mark.slow

FIRST, LAST = "2018-02-01", "2018-02-05"


@pytest.fixture
def remote(small: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a platform whose settings were deployed; the cluster reaches its folder by its real path."""
    workspace.spark = False
    config = tmp_path / "cluster.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "source": "landing",
                "landing": str(small / "landing"),
                "warehouse": str(small / "warehouse"),
                "models": ["naive", "random_walk"],
                "lookback_years": 3,
                "start_date": "2017-07-01",
                "n_paths": 200,
                "min_free_gb": 0.0,
            }
        )
    )
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "local"))
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__CONFIG", str(config))
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS", "0.2")
    assert shell("deploy") == 0
    return small


def shell(*arguments: str) -> int:
    settings.load.cache_clear()
    return main(["databricks", *arguments])


def paths(root: Path, model: str) -> np.ndarray:
    platform = Platform.from_settings(settings_for(root))
    where = {"commodity": "Alpha", "model_name": model, "model_version": "v1.0"}
    rows = platform.warehouse.read(DISTRIBUTIONS, ["forecast_date", "path_id", *day_columns(DEFAULT)], where)
    rows = rows.sort_by([("forecast_date", "ascending"), ("path_id", "ascending")])
    return np.column_stack([rows[name].to_numpy() for name in day_columns(DEFAULT)])


def local_twin(root: Path, tmp_path: Path) -> Path:
    """The same platform, forecast in this process."""
    twin = tmp_path / "twin"
    shutil.copytree(root, twin)
    platform = Platform.from_settings(settings_for(twin))
    for model in ("naive", "random_walk"):
        assert not forecast(platform, "Alpha", model, days(FIRST, LAST)).failed
    return twin


@pytest.mark.parametrize("place", [[], ["--serverless"]])
def test_a_remote_backfill_gives_the_same_bits_as_a_local_one(
    remote: Path, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: list[str]
) -> None:
    twin = local_twin(remote, tmp_path)
    span = ["--commodity", "Alpha", "--start-date", FIRST, "--end-date", LAST, "--compute", "local"]
    assert shell("submit", "backfill", *span, *place) == 0, capsys.readouterr().out
    for model in ("naive", "random_walk"):
        assert paths(remote, model).shape == (5 * 200, 14)
        np.testing.assert_array_equal(paths(remote, model), paths(twin, model))
    [run] = workspace.jobs.runs.values()
    if not place:
        report = json.loads(run.tasks[0].output["notebook_output"]["result"])
        assert {step["written"] for step in report["steps"] if step["step"] == "forecast"} == {5}


def test_training_then_inference_of_one_day(
    remote: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    span = ["--commodity", "Alpha", "--models", "naive", "--start-date", "2018-01-01", "--end-date", "2018-01-01"]
    assert shell("submit", "train", *span, "--overwrite", "--compute", "local") == 0, capsys.readouterr().out
    day = ["--commodity", "Alpha", "--models", "naive", "--start-date", LAST, "--compute", "local"]
    assert shell("submit", "infer", *day) == 0, capsys.readouterr().out
    assert len(paths(remote, "naive")) == 200
    [trained, inferred] = [
        json.loads(run.tasks[0].output["notebook_output"]["result"]) for run in workspace.jobs.runs.values()
    ]
    assert [step["written"] for step in trained["steps"] if step["step"] == "train"] == [1]
    assert [step["written"] for step in inferred["steps"] if step["step"] == "forecast"] == [1]


def test_what_databricks_own_scheduler_made_dagster_records_and_the_other_way_round(
    remote: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    alpha = ["--commodity", "Alpha", "--models", "naive", "--compute", "local", "--start-date"]
    assert shell("submit", "infer", *alpha, LAST) == 0, capsys.readouterr().out
    made = paths(remote, "naive")
    dagster = World(remote, workspace, "local")
    finished = dagster.forecast(LAST, LAST)
    assert finished.success
    assert dagster.metadata(finished.run_id)["keys_skipped"] == 1
    assert dagster.partitions() == {"MATERIALIZED": keys(LAST, LAST)}
    np.testing.assert_array_equal(paths(remote, "naive"), made)
    assert dagster.forecast(FIRST, FIRST).success
    assert shell("submit", "infer", *alpha, FIRST) == 0, capsys.readouterr().out
    report = json.loads(list(workspace.jobs.runs.values())[-1].tasks[0].output["notebook_output"]["result"])
    [step] = [step for step in report["steps"] if step["step"] == "forecast"]
    assert (step["written"], step["unchanged"]) == (0, 1)


def test_a_backfill_with_training_makes_all_windows_and_dates_of_the_data(
    remote: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--commodity", "Alpha", "--models", "naive", "--model-version-tag", "v2", "--compute", "local"]
    assert shell("submit", "backfill", "--train", *chosen) == 0, capsys.readouterr().out
    [run] = workspace.jobs.runs.values()
    steps = [json.loads(task.output["notebook_output"]["result"])["steps"] for task in run.tasks]
    assert [step["written"] for step in steps[0] if step["step"] == "train"] == [2]
    whole = len(days("2017-07-01", "2018-03-30"))
    assert [step["written"] for step in steps[1] if step["step"] == "forecast"] == [whole]


def test_a_missing_model_fails_the_run_with_the_command_that_trains_it(
    remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    span = ["--start-date", FIRST, "--end-date", FIRST, "--model-version-tag", "v9", "--compute", "local"]
    assert shell("submit", "backfill", *span) == 1
    text = capsys.readouterr().out
    assert "no trained_models/naive v9 for Alpha" in text
    assert "submit train first" in text


@pytest.mark.parametrize("place", [[], ["--serverless"]])
def test_a_secret_in_an_error_is_hidden_before_it_leaves_the_task(
    remote: Path,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: list[str],
) -> None:
    workspace.access.scopes["keys"] = {"feed": "Pa55-word-of-a-feed"}
    monkeypatch.setenv("FORECAST_PLATFORM_DATABRICKS__SECRETS", '{"FORECAST_PLATFORM_TIMEZONE": "keys/feed"}')
    assert shell("submit", "infer", "--compute", "local", *place) == 1
    [run] = workspace.jobs.runs.values()
    for text in (capsys.readouterr().out, str(run.tasks[0].output)):
        assert "timezone" in text
        assert "***" in text
        assert "Pa55" not in text


def test_a_wrong_parameter_fails_before_anything_is_done(remote: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell("submit", "backfill", "--commodity", "Gold", "--compute", "local") == 1
    assert "configured are Alpha, Beta" in capsys.readouterr().out
