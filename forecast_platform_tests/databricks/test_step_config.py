"""What compute=databricks ships: the same settings on the cluster, its machine, the code, and no secret."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecast_platform.cli.main import main
from forecast_platform.clients.databricks.connection import DatabricksError
from forecast_platform.clients.databricks.submit import new_cluster
from forecast_platform.compute import compute_for
from forecast_platform.definitions import build_definitions
from forecast_platform.graph.launchers.resources import FORECASTS, TRAINING
from forecast_platform.graph.launchers.step_config import _cluster, check, cluster_environment
from forecast_platform.settings import Settings, SettingsError, build, load
from forecast_platform.settings.databricks import DatabricksOptions
from forecast_platform_tests.databricks_workspace import Fault, Workspace
from forecast_platform_tests.worlds import settings_for, write_landing


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    write_landing(tmp_path / "landing")
    return tmp_path


@pytest.fixture
def logged_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    return workspace


def shipped_settings(root: Path, databricks: dict[str, Any] | None = None, **changes: Any) -> Settings:
    return settings_for(root, compute="databricks", databricks=databricks or {}, **changes)


def config(root: Path, **values: Any) -> dict[str, Any]:
    path = root / "cluster.yaml"
    path.write_text(yaml.safe_dump(values))
    return {"config": str(path)}


def test_the_cluster_has_the_settings_of_this_side_and_computes_with_spark(
    landed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = shipped_settings(
        landed,
        config(landed, warehouse="/mnt/shared/tables", compute="local"),
        seed=7,
        publication_lag_days={"weather": 5},
        webhook_url="https://hooks.example.com/very-secret",
        email={"host": "mail", "sender": "a@b.c", "recipients": ["d@e.f"], "password": "very-secret"},
        notifiers=("webhook", "email"),
        spark={"master": "sc://host:443/;token=very-secret", "partitions_per_core": 2},
    )
    variables = cluster_environment(here)
    assert "very-secret" not in str(variables)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    there = build()
    assert there.compute == "spark"
    assert (there.spark.master, there.spark.partitions_per_core) == ("auto", 2), "the cluster's own session"
    assert there.warehouse == Path("/mnt/shared/tables")
    for name in ("series", "models", "start_date", "lookback_years", "n_paths", "seed", "publication_lag_days"):
        assert getattr(there, name) == getattr(here, name), name


def test_settings_that_would_make_other_rows_are_refused_before_any_work(landed: Path) -> None:
    for name, value in {"start_date": "2018-01-01", "seed": 5, "models": ["naive"]}.items():
        settings = shipped_settings(landed, config(landed, **{name: value}))
        with pytest.raises(DatabricksError, match=rf"databricks.config: {name} is .* on the cluster, but .* here"):
            cluster_environment(settings)
    with pytest.raises(DatabricksError, match="cannot be committed: set tables to unity_catalog"):
        cluster_environment(shipped_settings(landed, config(landed, warehouse="/Volumes/main/forecast/tables")))
    with pytest.raises(DatabricksError, match=r"(?s)databricks.config.*n_paths .* = 3"):
        cluster_environment(shipped_settings(landed, config(landed, n_paths=3)))


def test_without_a_place_for_the_tables_nothing_is_shipped() -> None:
    with pytest.raises(DatabricksError, match="the cluster cannot know where the tables are: set warehouse"):
        cluster_environment(build(compute="databricks"))


def test_secrets_are_refused_and_the_mend_is_a_secret_scope(landed: Path) -> None:
    uri = "https://someone:very-secret@mlflow.example.com"
    with pytest.raises(DatabricksError, match=r"FORECAST_PLATFORM_MLFLOW_TRACKING_URI: scope/key") as caught:
        cluster_environment(shipped_settings(landed, mlflow_tracking_uri=uri))
    assert "very-secret" not in str(caught.value)
    with pytest.raises(DatabricksError, match="seems to hold a secret") as caught:
        cluster_environment(shipped_settings(landed, config(landed, webhook_token="very-secret")))
    assert "very-secret" not in str(caught.value)


def test_without_credentials_a_command_says_so_before_any_run(
    landed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_COMPUTE", "databricks")
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(landed / "warehouse"))
    monkeypatch.setenv("DAGSTER_HOME", str(landed / "dagster"))
    load.cache_clear()
    assert main(["train"]) == 2
    assert "no usable Databricks credentials" in capsys.readouterr().err
    assert not (landed / "dagster" / "history").exists()


def test_a_function_called_outside_of_dagster_names_what_to_do(landed: Path) -> None:
    with pytest.raises(SettingsError, match="materialize the assets"):
        compute_for(shipped_settings(landed))


def test_heavy_steps_have_a_launcher_each_and_no_other_step_has() -> None:
    for compute in ("local", "databricks"):
        definitions = build_definitions(build(compute=compute))
        assert {TRAINING, FORECASTS} <= set(definitions.resources or {})
        graph = definitions.get_repository_def().assets_defs_by_key
        for key, asset in graph.items():
            name = key.to_user_string()
            wanted = {TRAINING} if name.startswith("trained_models/") else set()
            if name.startswith(("distributions/", "point_forecasts/")) and not name.endswith("actuals"):
                wanted = {FORECASTS}
            assert asset.required_resource_keys & {TRAINING, FORECASTS} == wanted, name


MACHINES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "spot": {"spot": True, "max_workers": 8, "driver_node_type": "i3.2xlarge", "tags": {"team": "desk"}},
    "google": {"spot": True, "node_type": "n2-highmem-4"},
    "prepared": {
        "init_scripts": ["/Workspace/Shared/init.sh", "/Volumes/main/forecast/scripts/init.sh"],
        "packages": ["numpy"],
        "environment": {"REGION": "eu"},
        "secrets": {"PASSWORD": "keys/password"},
    },
}


def test_spot_machines_are_those_of_the_cloud_that_the_node_type_is_of(landed: Path) -> None:
    wanted = {"i3.xlarge": "aws", "r6id.2xlarge": "aws", "Standard_DS3_v2": "azure", "n2-highmem-4": "gcp"}
    for node_type, cloud in wanted.items():
        cluster = new_cluster(DatabricksOptions(node_type=node_type, spot=True), "backfill")
        assert [name for name in cluster if name.endswith("_attributes")] == [f"{cloud}_attributes"]
        assert not any(
            name.endswith("_attributes") for name in new_cluster(DatabricksOptions(node_type=node_type), "train")
        )
    azure = shipped_settings(landed, {"spot": True, "node_type": "Standard_DS3_v2"})
    with pytest.raises(DatabricksError, match=r"databricks.spot.*databricks_classic"):
        _cluster(azure.databricks, "backfill")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("family", ["train", "backfill"])
def test_the_library_submits_the_cluster_that_the_settings_describe(
    landed: Path, logged_in: Workspace, machine: str, family: Any
) -> None:
    from forecast_platform.graph.launchers.step_launcher import step_launcher

    settings = shipped_settings(landed, MACHINES[machine])
    task = {"spark_python_task": {"python_file": "dbfs:/nothing.py"}}
    with step_launcher(settings, family) as launcher:
        run_id = launcher.databricks_runner.submit_run(launcher.run_config, task)
    spec = logged_in.jobs.runs[run_id].tasks[0].spec
    cluster = spec["new_cluster"]
    assert cluster["custom_tags"].pop("__dagster_version")
    assert cluster == new_cluster(settings.databricks, family)
    wheels = [library["whl"] for library in spec["libraries"] if "whl" in library]
    assert len(wheels) == 1
    assert wheels[0].startswith("/Workspace/Shared/forecast_platform/wheels/")
    packages = {library["pypi"]["package"].split("==")[0] for library in spec["libraries"] if "pypi" in library}
    assert packages == {
        "dagster",
        "dagster-databricks",
        "dagster-pyspark",
        "databricks-sdk",
        *settings.databricks.packages,
    }
    if machine == "prepared":
        assert launcher.env_variables["REGION"] == "eu"
        assert list(launcher.secrets) == [{"name": "PASSWORD", "scope": "keys", "key": "password"}]


def test_an_existing_cluster_is_used_as_it_is(landed: Path, logged_in: Workspace) -> None:
    from forecast_platform.graph.launchers.step_launcher import step_launcher

    name = logged_in.clusters.create({"spark_version": "x", "node_type_id": "y", "num_workers": 1}, "API").cluster_id
    with step_launcher(shipped_settings(landed, {"existing_cluster_id": name}), "train") as launcher:
        assert launcher.run_config["cluster"] == {"existing": name}


def test_the_package_is_shipped_whole_and_alone(landed: Path, logged_in: Workspace, tmp_path: Path) -> None:
    from dagster_pyspark.utils import build_pyspark_zip

    from forecast_platform.graph.launchers.step_launcher import step_launcher

    with step_launcher(shipped_settings(landed), "train") as launcher:
        folder = launcher.local_dagster_job_package_path
        build_pyspark_zip(str(tmp_path / "code.zip"), folder)
    assert not Path(folder).exists()
    names = zipfile.ZipFile(tmp_path / "code.zip").namelist()
    assert {"forecast_platform/definitions.py", "forecast_platform/models/naive.py"} <= set(names)
    assert not [name for name in names if not name.startswith("forecast_platform")]


def test_a_staging_place_that_the_launcher_would_leave_out_is_refused(
    landed: Path, logged_in: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from forecast_platform.graph.launchers.step_launcher import step_launcher

    (tmp_path / "pytest-tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "pytest-tmp"))
    with (
        pytest.raises(DatabricksError, match="set TMPDIR to another folder"),
        step_launcher(shipped_settings(landed), "train"),
    ):
        pass


def test_a_token_is_named_by_its_variable_and_oauth_logs_in(
    landed: Path, logged_in: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecast_platform.clients.databricks.connection import Connection
    from forecast_platform.graph.launchers.step_config import credentials_of
    from forecast_platform.graph.launchers.step_launcher import step_launcher

    settings = shipped_settings(landed)
    by_token = credentials_of(Connection(settings.databricks).client.config, os.environ)
    assert by_token == {"databricks_host": logged_in.host, "databricks_token": {"env": "DATABRICKS_TOKEN"}}
    monkeypatch.delenv("DATABRICKS_TOKEN")
    logged_in.oauth_clients["robot"] = "very-secret"
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "robot")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "very-secret")
    assert check(settings)["FORECAST_PLATFORM_COMPUTE"] == "spark"
    with step_launcher(settings, "train") as launcher:
        assert launcher.databricks_runner.client.workspace_client.current_user.me().user_name == "robot"
    login = Connection(settings.databricks, pause=0.01)
    logged_in.faults.add(Fault("error", "/oidc/v1/token", status=500, times=2))
    assert login.call("logging in", login.client.current_user.me).user_name == "robot"
    logged_in.faults.add(Fault("error", "/oidc/.well-known/*", status=500, code="INTERNAL_ERROR"))
    with pytest.raises(DatabricksError, match="must be reached from here"):
        Connection(settings.databricks)


def test_an_azure_service_principal_logs_in_on_both_ways(
    landed: Path, logged_in: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from databricks.sdk import environments

    from forecast_platform.clients.databricks.connection import Connection, DatabricksError
    from forecast_platform.graph.launchers.step_launcher import step_launcher

    # What a host of azuredatabricks.net is to the SDK, with the workspace as Azure's login too.
    there = f"{logged_in.host}/"
    azure = environments.AzureEnvironment("LOCAL", there, there, there)
    cloud = environments.DatabricksEnvironment(
        environments.Cloud.AZURE, logged_in.host, azure_application_id="databricks", azure_environment=azure
    )
    monkeypatch.setattr(environments, "ALL_ENVS", [cloud])
    monkeypatch.delenv("DATABRICKS_TOKEN")
    logged_in.oauth_clients["principal"] = "very-secret"
    for name, value in {"CLIENT_ID": "principal", "CLIENT_SECRET": "very-secret", "TENANT_ID": "tenant"}.items():
        monkeypatch.setenv(f"ARM_{name}", value)
    settings = shipped_settings(landed)
    connection = Connection(settings.databricks)
    assert connection.client.config.auth_type == "azure-client-secret"
    assert connection.client.current_user.me().user_name == "principal"
    with step_launcher(settings, "train") as launcher:
        assert launcher.databricks_runner.client.workspace_client.current_user.me().user_name == "principal"
    assert logged_in.count("POST", "/tenant/oauth2/token") >= 2
    logged_in.oauth_clients["principal"] = "another-secret"
    refused = Connection(settings.databricks)
    with pytest.raises(DatabricksError, match=r"(?s)Client authentication failed.*make a new secret") as caught:
        refused.call("logging in", refused.client.current_user.me)
    assert "very-secret" not in str(caught.value)


def test_wrong_places_are_refused_where_they_are_set(landed: Path) -> None:
    for wrong in ({"init_scripts": ["init.sh"]}, {"staging": "dbfs:/x"}, {"secrets": {"A": "plain"}}):
        with pytest.raises(SettingsError, match="databricks"):
            shipped_settings(landed, wrong)
    assert shipped_settings(landed, {"staging": "/steps/"}).databricks.staging == "/steps"
