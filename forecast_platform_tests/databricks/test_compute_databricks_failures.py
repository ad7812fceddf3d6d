"""compute=databricks where something goes wrong: Dagster, its partitions and the tables tell what became of it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from forecast_platform.clients.databricks.deploy import SOURCE_VARIABLE
from forecast_platform_tests.compute.engines import needs_sail
from forecast_platform_tests.databricks.shipping import (
    BACKFILL,
    FIRST,
    LAST,
    Shipping,
    failed,
    files_with,
    materialized,
    run_statuses,
    told_by_runs,
)
from forecast_platform_tests.databricks_workspace import RunFault
from forecast_platform_tests.ui.running import keys
from forecast_platform_tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

pytestmark = pytest.mark.slow


@needs_sail
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RunFault("cluster", code="QUOTA_EXCEEDED"), ("QUOTA_EXCEEDED", "raise the quota")),
        (RunFault("cluster"), ("CLOUD_PROVIDER_LAUNCH_FAILURE", "the cluster did not start")),
        (RunFault("lost", seconds=1.0), ("Could not reach driver", "a larger driver_node_type")),
        (RunFault("skipped"), ("SKIPPED", "another run of this job is going on")),
        (RunFault("task"), ("this failure was asked for", "Traceback")),
        (RunFault("library", message="no distribution"), ("no distribution", "deploy again")),
        (RunFault("timeout", seconds=1.0), ("TIMEDOUT", "raise databricks.timeout_seconds")),
    ],
    ids=["quota", "cluster", "lost", "skipped", "task", "library", "timeout"],
)
def test_a_remote_run_that_fails_fails_the_step_with_the_remote_error_and_its_mend(
    shipping: Shipping, fault: RunFault, said: tuple[str, ...]
) -> None:
    shipping.workspace.faults.add(fault)
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    for text in (*said, f"{shipping.workspace.host}/jobs/"):
        assert text in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"]
        assert not materialized(instance, "distributions", "naive")
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
        assert shipping.workspace.token not in told_by_runs(instance)
    assert not len(shipping.paths())


@needs_sail
def test_a_step_that_finds_other_code_on_the_cluster_does_nothing(shipping: Shipping) -> None:
    """As on an existing cluster that kept an earlier wheel: what the launcher ships comes behind what is installed."""
    environment = json.loads(shipping.variables["FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT"])
    shipping.variables["FORECAST_PLATFORM_DATABRICKS__ENVIRONMENT"] = json.dumps(
        {**environment, SOURCE_VARIABLE: "0" * 32}
    )
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    assert "runs another forecast-platform" in told
    assert "an existing cluster kept an earlier wheel: restart it" in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"]
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
    assert not len(shipping.paths())


@needs_sail
def test_a_service_principal_ships_a_step_and_its_secret_is_nowhere(shipping: Shipping) -> None:
    workspace, secret = shipping.workspace, "a-principal-s-own-secret"
    workspace.oauth_clients["service"] = secret
    del workspace.tokens[workspace.token], shipping.variables["DATABRICKS_TOKEN"]
    shipping.variables |= {"DATABRICKS_CLIENT_ID": "service", "DATABRICKS_CLIENT_SECRET": secret}
    code, told = shipping.run(*BACKFILL)
    assert code == 0, told
    assert {run.body["run_name"].split(" ")[0] for run in workspace.jobs.runs.values()} == {"forecast-platform"}
    shipping.variables["DATABRICKS_CLIENT_SECRET"] = wrong = "another-secret-that-is-wrong"
    code, refused = shipping.run(*BACKFILL, "--overwrite")
    assert code == 1
    assert "invalid_client" in refused
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE", "SUCCESS"]
        for hidden in (secret, wrong, *workspace.tokens):
            assert hidden not in told + refused + told_by_runs(instance)
            assert not files_with(shipping.root, hidden)
    for hidden in (secret, *workspace.tokens):
        assert not files_with(workspace.root / "dbfs", hidden)


@needs_sail
@pytest.mark.parametrize("fate", ["cancelled in the workspace", "forgotten by it"])
def test_a_run_that_is_ended_elsewhere_fails_the_step_and_says_what_became_of_it(
    shipping: Shipping, client: WorkspaceClient, fate: str
) -> None:
    workspace = shipping.workspace
    workspace.faults.add(RunFault("slow_start", seconds=120))
    process = shipping.start(*BACKFILL)
    run = shipping.submitted()
    until(lambda: workspace.count("GET", "/jobs/runs/get") > 1, "the watch")
    if fate == "cancelled in the workspace":
        client.jobs.cancel_run(run.run_id)
    else:
        del workspace.jobs.runs[run.run_id]
    told = process.told(PATIENCE)
    run.cancelled.set()
    assert process.returncode == 1, told
    expected = {"cancelled in the workspace": "ended as CANCELED", "forgotten by it": "does not exist"}[fate]
    assert expected in told
    assert "is kept and not made twice" in told
    assert "may still go on" not in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"], "nobody cancelled it in Dagster"
        assert not materialized(instance, "distributions", "naive")
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
    assert not len(shipping.paths())


@needs_sail
def test_a_token_that_expires_tells_so_and_the_run_that_went_on_is_ended_by_the_next(shipping: Shipping) -> None:
    workspace = shipping.workspace
    user = workspace.tokens[workspace.token]
    workspace.faults.add(RunFault("slow_start", seconds=120, times=2))
    process = shipping.start(*BACKFILL)
    first = shipping.submitted()
    del workspace.tokens[workspace.token]
    told = process.told(PATIENCE)
    assert process.returncode == 1
    assert "the token is wrong or has expired" in told
    assert f"end it with `forecast-platform databricks cancel {first.run_id}`" in told
    assert first.state.life == "PENDING"
    with shipping.instance() as instance:
        assert failed(shipping.root, instance, "distributions", "naive") == set(keys(["Alpha"], (FIRST, LAST)))
    # Cancelled while the workspace refuses: the Dagster run is cancelled all the same.
    workspace.tokens[workspace.token] = user
    shipping.variables["FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS"] = "5"
    process = shipping.start(*BACKFILL)
    second = until(lambda: (list(workspace.jobs.runs.values())[1:] or [None])[0], "the second run")
    assert first.state.result == "CANCELED", "ended before its step was started again"
    looked = workspace.count("GET", "/jobs/runs/get")
    until(lambda: workspace.count("GET", "/jobs/runs/get") > looked, "the watch")
    del workspace.tokens[workspace.token]
    process.send_signal(signal.SIGINT)
    told = process.told(PATIENCE)
    assert process.returncode == 130, told
    with shipping.instance() as instance:
        assert f"Databricks run {second.run_id} may go on still" in told_by_runs(instance)
        assert run_statuses(instance) == ["CANCELED", "FAILURE"]
        assert not materialized(instance, "distributions", "naive")
        assert workspace.token not in told_by_runs(instance)
    assert workspace.token not in told
    assert not len(shipping.paths())


def test_without_dbfs_the_step_fails_before_any_remote_run_and_says_what_does_without_it(shipping: Shipping) -> None:
    shipping.workspace.dbfs_enabled = False
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    assert "Public DBFS root is disabled" in told
    assert "set compute to databricks_serverless or databricks_classic" in told
    expected = set(keys(["Alpha"], (FIRST, LAST)))
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE"]
        assert failed(shipping.root, instance, "distributions", "naive") == expected
        assert not materialized(instance, "distributions", "naive")
        assert not materialized(instance, "point_forecasts", "naive")
    assert not len(shipping.paths())
    # A launcher that cannot be made fails the run before any step; that is told too.
    (shipping.root / "pytest-tmp").mkdir()
    shipping.variables["TMPDIR"] = str(shipping.root / "pytest-tmp")
    code, told = shipping.run(*BACKFILL)
    assert code == 1
    assert "set TMPDIR to another folder" in told
    with shipping.instance() as instance:
        assert run_statuses(instance) == ["FAILURE", "FAILURE"]
        assert not materialized(instance, "distributions", "naive")
        assert not materialized(instance, "point_forecasts", "naive")
    assert not len(shipping.paths())
    assert not shipping.workspace.jobs.runs
