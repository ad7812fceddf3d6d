"""Files beside the tables: in the warehouse folder, in a mounted volume, or through the workspace's Files API."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.settings import SettingsError, build
from forecast_platform.work import artifacts
from forecast_platform_tests.databricks_workspace import Workspace

UNITY = {"volume": "commodity.forecast.platform"}


def test_artifacts_are_in_the_volume_only_where_the_tables_are_in_unity_catalog(tmp_path: Path) -> None:
    assert artifacts.root(build(warehouse=tmp_path, unity=UNITY)) == tmp_path / "_artifacts"
    settings = build(warehouse=tmp_path, tables="unity_catalog", unity=UNITY)
    assert artifacts.root(settings) == Path("/Volumes/commodity/forecast/platform/_artifacts")


def test_files_of_a_volume_that_is_not_mounted_go_through_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace(tmp_path / "workspace") as workspace:
        monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
        settings = build(warehouse=tmp_path / "local", tables="unity_catalog", unity=UNITY)
        path = artifacts.root(settings) / "models" / "WTI" / "one.json"
        assert artifacts.read_text(settings, path) is None
        artifacts.write_text(settings, path, '{"price": "4 €"}')
        assert artifacts.read_text(settings, path) == '{"price": "4 €"}'
    assert not (tmp_path / "local").exists()


def test_on_a_cluster_the_volume_is_the_warehouse_folder_and_mlflow_the_workspace_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(tables="unity_catalog", unity=UNITY).tracking_uri.startswith("sqlite:")
    monkeypatch.setattr("forecast_platform.settings.unity.VOLUMES", tmp_path)
    settings = build(tables="unity_catalog", unity=UNITY)
    assert settings.warehouse == tmp_path / "commodity" / "forecast" / "platform"
    assert settings.tracking_uri == "databricks"
    assert build(tables="unity_catalog", unity=UNITY, warehouse=tmp_path / "x").warehouse == tmp_path / "x"


@pytest.mark.parametrize(
    ("unity", "said"),
    [
        ({"volume": "/Volumes/a/b/c"}, r"catalog\.schema\.name of a volume"),
        ({"volume": "commodity.platform"}, r"catalog\.schema\.name of a volume"),
        ({"volume": "commodity.forecast.platform", "catalog": "commodity_test"}, "lies in another catalog"),
        ({"catalog": "commodity.forecast"}, "one name"),
        ({"clustering": "zorder"}, "'partition' or 'liquid'"),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(unity: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        build(tables="unity_catalog", unity=unity)


def test_workers_cannot_write_to_unity_catalog() -> None:
    with pytest.raises(SettingsError, match="use spark or driver"):
        build(tables="unity_catalog", spark={"writer": "workers"})
