"""The workspace's files through the real SDK: DBFS, volumes, notebooks, tokens, disturbed requests."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError, NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.workspace import ExportFormat, ImportFormat, Language

from forecast_platform_tests.databricks_workspace import Fault, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable


def test_dbfs_gives_back_what_was_written_in_blocks(client: WorkspaceClient) -> None:
    content = os.urandom(2_500_000)
    with client.dbfs.open("/folder/file.bin", write=True) as stream:
        stream.write(content)
    with client.dbfs.open("dbfs:/folder/file.bin", read=True) as stream:
        assert stream.read() == content
    assert client.dbfs.get_status("/folder/file.bin").file_size == len(content)
    assert [info.path for info in client.dbfs.list("/folder")] == ["/folder/file.bin"]
    client.dbfs.delete("/folder", recursive=True)
    assert not client.dbfs.exists("/folder")


def test_dbfs_refuses_a_block_above_one_megabyte(client: WorkspaceClient) -> None:
    with pytest.raises(DatabricksError, match="at most 1048576") as raised:
        client.dbfs.put("/big", contents=base64.b64encode(bytes(1_048_577)).decode())
    assert raised.value.error_code == "MAX_BLOCK_SIZE_EXCEEDED"


def test_dbfs_says_that_a_file_is_not_there_with_the_code_the_step_launcher_looks_for(client: WorkspaceClient) -> None:
    with pytest.raises(NotFound) as raised:
        client.dbfs.read("/nothing")
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert isinstance(raised.value, OSError)


def test_dbfs_overwrites_only_when_asked(client: WorkspaceClient) -> None:
    client.dbfs.put("/x", contents=base64.b64encode(b"1").decode())
    with pytest.raises(ResourceAlreadyExists):
        client.dbfs.put("/x", contents=base64.b64encode(b"2").decode())
    client.dbfs.put("/x", contents=base64.b64encode(b"2").decode(), overwrite=True)
    assert base64.b64decode(client.dbfs.read("/x").data or "") == b"2"


def test_no_path_leads_out_of_the_workspace(client: WorkspaceClient) -> None:
    with pytest.raises(DatabricksError, match=r"must not contain '\.\.'"):
        client.dbfs.put("/../../outside", contents="")


def test_dbfs_can_be_switched_off_as_in_new_workspaces(workspace: Workspace) -> None:
    workspace.dbfs_enabled = False
    with pytest.raises(PermissionDenied, match="Public DBFS root is disabled"):
        workspace.client().dbfs.mkdirs("/tmp/x")


def test_volumes_hold_files_in_folders(client: WorkspaceClient) -> None:
    folder = "/Volumes/main/forecast/files/tmp"
    client.files.create_directory(folder)
    content = os.urandom(1_500_000)
    client.files.upload(f"{folder}/a b.bin", io.BytesIO(content), overwrite=True)
    stream = client.files.download(f"{folder}/a b.bin").contents
    assert stream is not None
    assert stream.read() == content
    assert [entry.name for entry in client.files.list_directory_contents(folder)] == ["a b.bin"]
    with pytest.raises(DatabricksError, match="not empty"):
        client.files.delete_directory(folder)
    client.files.delete(f"{folder}/a b.bin")
    client.files.delete_directory(folder)
    with pytest.raises(NotFound):
        client.files.download(f"{folder}/a b.bin")


def test_a_volume_file_needs_its_folder_first(client: WorkspaceClient) -> None:
    with pytest.raises(NotFound, match="directory being accessed"):
        client.files.upload("/Volumes/main/forecast/files/none/x", io.BytesIO(b"x"))


@pytest.mark.parametrize("upload", ["json", "multipart"])
def test_notebooks_are_imported_and_exported(client: WorkspaceClient, upload: str) -> None:
    source = b"# Databricks notebook source\nprint(1)\n"
    client.workspace.mkdirs("/Shared/project")
    if upload == "json":
        text = base64.b64encode(source).decode()
        client.workspace.import_(
            "/Shared/project/nb", content=text, format=ImportFormat.SOURCE, language=Language.PYTHON, overwrite=True
        )
    else:
        client.workspace.upload("/Shared/project/nb.py", source, format=ImportFormat.AUTO)
    exported = client.workspace.export("/Shared/project/nb", format=ExportFormat.SOURCE)
    assert base64.b64decode(exported.content or "") == source
    assert [entry.path for entry in client.workspace.list("/Shared/project")] == ["/Shared/project/nb"]


def test_an_import_needs_its_folder_and_respects_what_is_there(client: WorkspaceClient) -> None:
    with pytest.raises(NotFound, match="parent folder"):
        client.workspace.upload("/nowhere/nb.py", b"print(1)")
    client.workspace.mkdirs("/here")
    client.workspace.upload("/here/data.json", b"{}", format=ImportFormat.AUTO)
    with pytest.raises(DatabricksError, match="already exists"):
        client.workspace.upload("/here/data.json", b"{}", format=ImportFormat.AUTO)


def test_a_wrong_token_is_refused(workspace: Workspace) -> None:
    wrong = WorkspaceClient(host=workspace.host, token="dapi-wrong", auth_type="pat")
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        wrong.dbfs.mkdirs("/x")
    assert not workspace.local("/dbfs/x").exists()


def test_a_token_can_expire(workspace: Workspace, client: WorkspaceClient) -> None:
    client.dbfs.mkdirs("/x")
    workspace.tokens.clear()
    with pytest.raises(PermissionDenied):
        client.dbfs.mkdirs("/y")


def test_oauth_credentials_are_exchanged_for_a_token(workspace: Workspace) -> None:
    workspace.oauth_clients["service"] = "secret"
    client = WorkspaceClient(host=workspace.host, client_id="service", client_secret="secret", auth_type="oauth-m2m")
    assert client.current_user.me().user_name == "service"
    refused = WorkspaceClient(host=workspace.host, client_id="service", client_secret="no", auth_type="oauth-m2m")
    with pytest.raises(ValueError, match="invalid_client: Client authentication failed"):
        refused.current_user.me()


def test_a_call_without_credentials_is_refused(workspace: Workspace) -> None:
    import requests

    answer = requests.get(f"{workspace.host}/api/2.0/dbfs/list", params={"path": "/"}, timeout=5)
    assert (answer.status_code, answer.json()["error_code"]) == (401, "401")


def _throttled() -> Fault:
    return Fault("throttle", "*/dbfs/mkdirs", retry_after=0.2)


def _dropped() -> Fault:
    return Fault("drop", "*/dbfs/mkdirs")


def _dropped_after() -> Fault:
    return Fault("drop_after", "*/dbfs/mkdirs")


@pytest.mark.parametrize("fault", [_throttled, _dropped, _dropped_after])
def test_the_sdk_goes_on_after_a_disturbed_request(
    workspace: Workspace, client: WorkspaceClient, fault: Callable[[], Fault]
) -> None:
    workspace.faults.add(fault())
    client.dbfs.mkdirs("/x")
    assert workspace.local("/dbfs/x").is_dir()
    assert [status for _, path, status in workspace.calls if path.endswith("mkdirs")][-1] == 200
    assert workspace.count("POST", "/dbfs/mkdirs") == 2


def test_an_internal_error_reaches_the_caller_with_its_code(workspace: Workspace, client: WorkspaceClient) -> None:
    workspace.faults.add(Fault("error", "*/dbfs/mkdirs", status=500, code="INTERNAL_ERROR", message="no luck"))
    with pytest.raises(DatabricksError, match="no luck") as raised:
        client.dbfs.mkdirs("/x")
    assert raised.value.error_code == "INTERNAL_ERROR"


def test_permissions_and_secrets(workspace: Workspace, client: WorkspaceClient) -> None:
    from databricks.sdk.service.iam import AccessControlRequest, PermissionLevel

    cluster = client.clusters.create(spark_version="15.4.x-scala2.12", node_type_id="i3.xlarge", num_workers=1).result()
    assert cluster.cluster_id is not None
    entry = AccessControlRequest(group_name="traders", permission_level=PermissionLevel.CAN_RESTART)
    client.permissions.update("clusters", cluster.cluster_id, access_control_list=[entry])
    granted = client.permissions.get("clusters", cluster.cluster_id).access_control_list or []
    assert "traders" in {item.user_name for item in granted}
    events = [event.type.value for event in client.clusters.events(cluster.cluster_id) if event.type]
    assert {"CREATING", "RUNNING"} <= set(events)
    client.secrets.create_scope("keys")
    client.secrets.put_secret("keys", "password", string_value="hidden")
    assert base64.b64decode(client.secrets.get_secret("keys", "password").value or "") == b"hidden"
    with pytest.raises(NotFound):
        client.secrets.get_secret("keys", "other")
