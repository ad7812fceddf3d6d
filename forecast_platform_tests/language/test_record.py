"""The MLflow run of a training: one that a kill left open is closed, and long parameters are whole somewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import PROCESS_TAG, client_with
from forecast_platform.language.record import PARAMETERS, Record, for_here
from forecast_platform.settings import build


def test_on_databricks_the_workspace_has_the_runs_where_no_other_store_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    assert for_here(settings) == settings
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert for_here(settings).tracking_uri == "databricks"
    own = settings.model_copy(update={"mlflow_tracking_uri": "https://mlflow.example"})
    assert for_here(own).tracking_uri == "https://mlflow.example"


def test_a_killed_run_is_closed_by_the_next_and_may_still_be_gone_on_with(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    client, experiment = client_with(settings, "cpt")
    gone = client.create_run(experiment, tags={PROCESS_TAG: process_identity.nobody()}).info.run_id
    first = Record(settings, "cpt", None, {})
    assert client.get_run(gone).info.status == "KILLED"
    assert Record(settings, "cpt", None, {}, gone).run_id == gone
    Record(settings, "cpt", None, {})
    states = {client.get_run(one).info.status for one in (gone, first.run_id)}
    assert states == {"RUNNING"}, "this process has both"


def test_a_parameter_that_servers_would_cut_names_the_artifact_that_has_it_whole(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse")
    record = Record(settings, "cpt", None, {})
    record.parameters({"targets": "q_proj," * 100, "rank": 8})
    run = record.client.get_run(record.run_id)
    assert run.data.params == {"targets": "700 characters: parameters.json, targets", "rank": "8"}
    [listed] = record.client.list_artifacts(record.run_id)
    assert listed.path == PARAMETERS
    file = download_artifacts(f"{run.info.artifact_uri}/{PARAMETERS}", dst_path=str(tmp_path))
    assert json.loads(Path(file).read_text()) == {"targets": "q_proj," * 100, "rank": 8}
