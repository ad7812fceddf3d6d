"""MLflow's names: as ever on the local store; as Unity Catalog's registry wants them on Databricks."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.settings import build
from forecast_platform.tracking import EXPERIMENT, _signature, experiment_name, registered_name, registry_uri


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


def test_a_registered_model_says_what_goes_in_and_comes_out() -> None:
    signature = _signature()
    assert signature.inputs.input_names() == ["origins"]
    assert signature.outputs.inputs[0].shape == (-1, -1, 14)
