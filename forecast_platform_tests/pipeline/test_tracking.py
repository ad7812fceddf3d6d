"""MLflow's names: as ever on the local store; as Unity Catalog's registry wants them on Databricks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from mlflow.tracking._model_registry import utils

from forecast_platform.graph.keys import TRAIN, Keys
from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import LONGEST_PARAM, PROCESS_TAG, param_text, registry_uri
from forecast_platform.pipeline.tracking import (
    EXPERIMENT,
    Tracker,
    _signature,
    experiment_name,
    registered_name,
)
from forecast_platform.pipeline.training import train
from forecast_platform.runs.launch import Finished, Launcher
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for


@pytest.mark.parametrize(
    ("tracking", "registry"),
    [
        ("databricks", "databricks-uc"),
        ("databricks://staging", "databricks-uc://staging"),
        ("sqlite:////w/mlflow.db", "sqlite:////w/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_models_of_a_workspace_are_registered_in_unity_catalog(tracking: str, registry: str) -> None:
    assert registry_uri(tracking) == registry


def test_names_on_the_local_store_are_series_and_model(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path)
    assert registered_name(settings, "WTI", "xgboost") == "WTI-xgboost"
    assert experiment_name(settings) == EXPERIMENT


def test_names_in_a_workspace_have_three_levels_and_the_experiment_is_a_path(tmp_path: Path) -> None:
    unity = {"catalog": "commodity_test", "registry_schema": "models"}
    settings = build(warehouse=tmp_path, mlflow_tracking_uri="databricks", unity=unity)
    assert registered_name(settings, "WTI", "xgboost") == "commodity_test.models.wti_xgboost"
    assert experiment_name(settings) == "/Shared/forecast_platform/fits"


def test_the_link_to_a_fit_leads_to_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "https://dbc-1.cloud.databricks.com/")
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-secret")
    monkeypatch.setattr(Tracker, "experiment_id", "7")
    there = Tracker(build(warehouse=tmp_path, mlflow_tracking_uri="databricks"))
    assert there.run_url("abc") == "https://dbc-1.cloud.databricks.com/ml/experiments/7/runs/abc"
    here = Tracker(build(warehouse=tmp_path))
    assert here.run_url("abc") == f"{here.settings.mlflow_ui_url}/#/experiments/7/runs/abc"


def test_mlflow_asks_no_spark_session_where_models_are_registered(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose server is gone would be asked for minutes."""
    monkeypatch.setattr(utils, "_get_registry_uri_from_spark_session", lambda: pytest.fail("it was asked"))
    platform = Platform.from_settings(settings_for(small))
    window = dt.date(2018, 1, 1)
    outcome = train(platform, "Alpha", "naive", [window], overwrite=True)
    assert (outcome.written, outcome.notes) == ({window}, [])


def test_a_step_whose_models_are_stored_succeeds_though_mlflow_is_down(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(small)
    window = dt.date(2018, 1, 1)
    launcher = Launcher(settings)

    def run() -> Finished:
        return launcher.run(TRAIN, Keys().of_job(TRAIN, ["naive"]), window, window, ["Alpha"])

    fine = run()
    assert fine.success, fine.messages
    assert "mlflow_Alpha" in fine.totals["trained_models/naive"]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    launcher = Launcher(settings_for(small, mlflow_tracking_uri="http://127.0.0.1:9"))
    down = run()
    assert down.success, down.messages
    assert "mlflow_Alpha" not in down.totals["trained_models/naive"]
    told = [entry.user_message for entry in launcher.instance.all_logs(down.run_id)]
    assert any("no links to the fits: MLflow at http://127.0.0.1:9 does not answer" in text for text in told)


def test_a_registered_model_says_what_goes_in_and_comes_out() -> None:
    signature = _signature(14)
    assert signature.inputs.input_names() == ["origins"]
    assert signature.outputs.inputs[0].shape == (-1, -1, 14)


def test_a_run_that_a_killed_process_left_open_is_closed_by_the_next_training(small: Path) -> None:
    tracker = Tracker(settings_for(small))
    gone = tracker.client.create_run(tracker.experiment_id, tags={PROCESS_TAG: process_identity.nobody()})
    mine = tracker.client.create_run(tracker.experiment_id, tags={PROCESS_TAG: process_identity.this_process()})
    platform = Platform.from_settings(settings_for(small))
    assert not train(platform, "Alpha", "naive", [dt.date(2018, 1, 1)], overwrite=True).failed
    states = [tracker.client.get_run(one.info.run_id).info.status for one in (gone, mine)]
    assert states == ["KILLED", "RUNNING"]


@pytest.mark.parametrize("error", [RuntimeError("whatever"), KeyError("tags")])
def test_whatever_mlflow_raises_costs_the_link_and_not_the_fit(
    small: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from mlflow import MlflowClient

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(MlflowClient, "create_run", fails)
    platform = Platform.from_settings(settings_for(small))
    outcome = train(platform, "Alpha", "naive", [dt.date(2018, 1, 1)], overwrite=True)
    assert outcome.written == {dt.date(2018, 1, 1)}
    assert any("did not take the fit" in note for note in outcome.notes)


def test_a_parameter_that_mlflow_would_cut_is_named_with_where_it_is_whole() -> None:
    longest = "x" * LONGEST_PARAM
    assert param_text(longest, "model/parameters.json, order") == longest
    shown = param_text(longest + "x", "model/parameters.json, order")
    assert shown == f"{LONGEST_PARAM + 1:,} characters: model/parameters.json, order"
    assert param_text((2, 1, 0), "") == "(2, 1, 0)"
