"""The session of serverless compute: Spark Connect, which takes a handful of settings and refuses all others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform_tests.databricks.conftest import script
from forecast_platform_tests.databricks.test_workspace_runs import finish, output, result
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.unity_catalog import Lakehouse

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service import jobs

ASK = """
from forecast_platform.clients.spark import session_for
from forecast_platform.settings import build
settings = build(warehouse={warehouse!r}, tables="unity_catalog", spark={{"config": {config!r}}})
session = session_for(settings)
print(type(session).__module__, session.conf.get("spark.sql.session.timeZone"), session.range(3).count())
"""


def asked(
    workspace: Workspace, client: WorkspaceClient, lakehouse: Lakehouse, warehouse: Path, config: dict[str, Any]
) -> tuple[jobs.Run, jobs.RunOutput]:
    """A serverless run that makes the platform's session with this `spark.config`."""
    from databricks.sdk.service import jobs

    workspace.serverless_spark = lakehouse.remote
    source = ASK.format(warehouse=str(warehouse), config=config)
    task = {
        "task_key": "main",
        "spark_python_task": {"python_file": script(workspace, source)},
        "environment_key": "default",
    }
    environment = jobs.JobEnvironment.from_dict({"environment_key": "default", "spec": {"client": "2"}})
    run = finish(client, jobs.SubmitTask.from_dict(task), environments=[environment])
    return run, output(client, run)


def test_the_platform_takes_it_as_it_is(
    workspace: Workspace, client: WorkspaceClient, lakehouse: Lakehouse, tmp_path: Path
) -> None:
    run, told = asked(workspace, client, lakehouse, tmp_path, {"spark.sql.shuffle.partitions": "3"})
    assert result(run) == "SUCCESS", told
    assert (told.logs or "").splitlines()[-1] == "pyspark.sql.connect.session UTC 3"


def test_a_setting_that_it_refuses_is_named_with_the_mend(
    workspace: Workspace, client: WorkspaceClient, lakehouse: Lakehouse, tmp_path: Path
) -> None:
    run, told = asked(workspace, client, lakehouse, tmp_path, {"spark.executor.memory": "4g"})
    assert result(run) == "FAILED"
    said = json.dumps(told.as_dict())
    assert "spark.config spark.executor.memory: this session does not take it" in said
    assert "leave it out, or use a cluster" in said
