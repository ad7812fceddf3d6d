"""`forecast-platform doctor` on a workspace: what it needs is there, or what lacks is named with its mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forecast_platform.doctor.databricks import databricks
from forecast_platform.host.finding import Finding
from forecast_platform.settings import build
from forecast_platform_tests.databricks_workspace import Workspace


@pytest.fixture(autouse=True)
def _logged_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)


def found(tmp_path: Path, compute: str = "databricks", **options: Any) -> dict[str, Finding]:
    settings = build(compute=compute, warehouse=tmp_path / "warehouse", databricks=options)
    return {finding.subject: finding for finding in databricks(settings)}


def test_a_workspace_that_has_everything_is_well_and_left_as_it_was(workspace: Workspace, tmp_path: Path) -> None:
    findings = found(tmp_path)
    assert set(findings) == {"databricks", "cluster", "step launcher", "dbfs"}
    assert {finding.severity for finding in findings.values()} == {"good"}
    assert "someone@example.com" in findings["databricks"].found
    assert not [path for path in (workspace.root / "dbfs").rglob("*") if path.is_file()]
    assert workspace.token not in str(findings)


def test_dbfs_switched_off_fails_for_the_step_launcher_and_is_not_asked_of_the_others(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.dbfs_enabled = False
    finding = found(tmp_path)["dbfs"]
    assert finding.severity == "error"
    assert "Public DBFS root is disabled" in finding.found
    assert "databricks_serverless or databricks_classic, which do without it" in finding.mend
    for compute in ("databricks_serverless", "databricks_classic"):
        findings = found(tmp_path, compute)
        assert "dbfs" not in findings
        assert findings["volume"].severity == "good"


def test_a_refused_token_fails_and_is_not_shown(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi" + "0" * 32)
    findings = found(tmp_path)
    assert findings["databricks"].severity == "error"
    assert "DATABRICKS_TOKEN" in findings["databricks"].mend
    assert "0" * 16 not in str(findings)
    monkeypatch.delenv("DATABRICKS_TOKEN")
    assert found(tmp_path)["databricks"].severity == "error"


def test_missing_secrets_and_clusters_that_never_end_are_named(workspace: Workspace, tmp_path: Path) -> None:
    client = workspace.client()
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "there", string_value="hidden-value")
    findings = found(tmp_path, secrets={"A": "keys/there"})
    assert findings["secrets"].severity == "good"
    assert "scope keys has no key gone" in found(tmp_path, secrets={"A": "keys/gone"})["secrets"].found
    assert found(tmp_path, secrets={"A": "nowhere/key"})["secrets"].severity == "error"
    spec = {"spark_version": "17.3.x-cpu-ml-scala2.13", "node_type_id": "i3.xlarge", "num_workers": 1}
    endless = workspace.clusters.create(spec, "API").cluster_id
    assert found(tmp_path, existing_cluster_id=endless)["cluster"].severity == "warning"
    ending = workspace.clusters.create({**spec, "autotermination_minutes": 30}, "API").cluster_id
    assert "ends after 30 idle minutes" in found(tmp_path, existing_cluster_id=ending)["cluster"].found
    old = workspace.clusters.create({**spec, "spark_version": "14.3.x-scala2.12", "autotermination_minutes": 9}, "API")
    settings = build(compute="databricks", warehouse=tmp_path, databricks={"existing_cluster_id": old.cluster_id})
    [told, _] = [finding for finding in databricks(settings) if finding.subject == "cluster"]
    assert (told.severity, "is on 14.3.x-scala2.12; supported is 17.3" in told.found) == ("warning", True)
    assert found(tmp_path, existing_cluster_id="gone")["cluster"].severity == "error"
    assert found(tmp_path, runtime="14.3.x-scala2.12")["cluster"].severity == "warning"


def test_settings_that_cannot_be_shipped_fail(tmp_path: Path) -> None:
    findings = {finding.subject: finding for finding in databricks(build(compute="databricks"))}
    assert findings["step launcher"].severity == "error"
    assert "where the tables are" in findings["step launcher"].found


def test_it_is_not_looked_at_where_nothing_goes_there(workspace: Workspace, tmp_path: Path) -> None:
    assert found(tmp_path, "local") == {}
    assert not workspace.calls


def test_what_submit_needs_is_looked_at_where_a_cluster_s_settings_are_named(
    workspace: Workspace, tmp_path: Path
) -> None:
    findings = found(tmp_path, "local", config=str(tmp_path / "cluster.yaml"))
    assert {name: finding.severity for name, finding in findings.items()} == {
        "databricks": "good",
        "cluster": "good",
        "deployment": "error",
        "volume": "good",
    }
    assert findings["deployment"].mend == "forecast-platform databricks deploy"
