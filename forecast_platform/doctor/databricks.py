"""The part of `forecast-platform doctor` that looks at the Databricks workspace, where it is used."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forecast_platform.host.finding import Finding
from forecast_platform.settings import PREFIX, Settings
from forecast_platform.settings.databricks import RUNTIME

if TYPE_CHECKING:
    from forecast_platform.clients.databricks.connection import Connection

_CREDENTIALS = (
    "set DATABRICKS_HOST and DATABRICKS_TOKEN (or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or Azure's "
    "ARM_*), in the environment of the code server and the daemon too"
)
_NO_DBFS = (
    f"new Unity Catalog workspaces have DBFS switched off: set {PREFIX}COMPUTE to databricks_serverless or "
    "databricks_classic, which do without it, or have an admin enable DBFS root and mounts for this workspace"
)


def databricks(settings: Settings) -> Iterator[Finding]:
    """Credentials, host, secrets and cluster; for compute=databricks what its step launcher needs too, such as DBFS.

    Looked at where the compute is there, or where a file for the cluster is named, as `databricks submit` needs it.
    """
    if not settings.compute.startswith("databricks") and settings.databricks.config is None:
        return
    from forecast_platform.clients.databricks.connection import Connection, DatabricksError

    try:
        connection = Connection(settings.databricks)
        user = connection.call("logging in", connection.client.current_user.me).user_name
    except DatabricksError as error:
        yield Finding("databricks", "error", _line(error), _CREDENTIALS)
        return
    yield Finding("databricks", "good", f"{connection.host} as {user} ({connection.client.config.auth_type})")
    yield from _secrets(connection)
    yield from _cluster(connection, serverless=settings.compute == "databricks_serverless")
    if settings.compute == "databricks":
        yield from _shipping(settings)
        yield from _dbfs(connection)
    else:
        yield from _deployed(connection)
        yield from _volume(connection)


def _secrets(connection: Connection) -> Iterator[Finding]:
    from forecast_platform.clients.databricks.connection import DatabricksError

    def keys_of(scope: str) -> set[str | None]:
        listed = connection.call(
            f"listing secret scope {scope}", lambda: list(connection.client.secrets.list_secrets(scope))
        )
        return {one.key for one in listed}

    for name, secret in connection.options.secrets.items():
        scope, _, key = secret.partition("/")
        try:
            found = keys_of(scope)
        except DatabricksError as error:
            found, reason = set(), _line(error)
        else:
            reason = f"scope {scope} has no key {key}"
        if key in found:
            yield Finding("secrets", "good", f"{name} from {secret}")
        else:
            mend = f"databricks secrets put-secret {scope} {key}, and READ on the scope for this account"
            yield Finding("secrets", "error", f"{name}: {reason}", mend)


def _cluster(connection: Connection, *, serverless: bool) -> Iterator[Finding]:
    from forecast_platform.clients.databricks.connection import DatabricksError
    from forecast_platform.clients.databricks.submit import cloud_of

    options = connection.options
    if options.existing_cluster_id is None:
        config, cloud = connection.client.config, cloud_of(options.node_type)
        there = "azure" if config.is_azure else "gcp" if config.is_gcp else "aws" if config.is_aws else cloud
        if cloud != there:
            mend = (
                f"set {PREFIX}DATABRICKS__NODE_TYPE, and DRIVER_NODE_TYPE where it is set, to types of this workspace"
            )
            found = f"node type {options.node_type} is of {cloud}, the workspace of {there}"
            if serverless:
                yield Finding("cluster", "warning", f"{found}; it is for `submit` without --serverless", mend)
            else:
                yield Finding("cluster", "error", found, mend)
        if options.runtime == RUNTIME:
            yield Finding("cluster", "good", f"new ones on {options.runtime}; each ends with its run")
        else:
            mend = f"unset {PREFIX}DATABRICKS__RUNTIME, or see that its pandas is of the 2 series"
            yield Finding("cluster", "warning", f"runtime {options.runtime}; supported is {RUNTIME}", mend)
        return
    name = options.existing_cluster_id
    try:
        cluster = connection.call(f"looking at cluster {name}", lambda: connection.client.clusters.get(name))
    except DatabricksError as error:
        yield Finding("cluster", "error", _line(error), f"unset {PREFIX}DATABRICKS__EXISTING_CLUSTER_ID, or correct it")
        return
    state = cluster.state.value if cluster.state else "unknown"
    found = f"{name} ({cluster.spark_version}) is {state}"
    if cluster.spark_version != options.runtime:
        mend = f"use a cluster on {options.runtime}, or see that its pandas is of the 2 series"
        yield Finding(
            "cluster", "warning", f"{name} is on {cluster.spark_version}; supported is {options.runtime}", mend
        )
    if cluster.autotermination_minutes:
        yield Finding("cluster", "good", f"{found}; ends after {cluster.autotermination_minutes} idle minutes")
    else:
        mend = "set its auto-termination, or use new clusters, which end with their run"
        yield Finding("cluster", "warning", f"{found} and never ends by itself: it costs until it is stopped", mend)


def _shipping(settings: Settings) -> Iterator[Finding]:
    from forecast_platform.clients.databricks.connection import DatabricksError
    from forecast_platform.graph.launchers.step_config import check

    try:
        names = check(settings)
    except DatabricksError as error:
        yield Finding("step launcher", "error", _line(error), "see compute=databricks in docs/databricks.md")
        return
    yield Finding("step launcher", "good", f"ships the package and {len(names)} settings")


def _dbfs(connection: Connection) -> Iterator[Finding]:
    """A small file written to, read from and removed from the folder that the step launcher stages in."""
    from forecast_platform.clients.databricks.connection import DatabricksError

    files = connection.client.dbfs
    path = f"{connection.options.staging}/doctor-{uuid.uuid4().hex}"
    content = base64.b64encode(b"forecast-platform").decode()
    try:
        connection.call(f"writing dbfs:{path}", lambda: files.put(path, contents=content, overwrite=True))
        try:
            read = connection.call(f"reading dbfs:{path}", lambda: files.read(path)).data
        finally:
            connection.call(f"removing dbfs:{path}", lambda: files.delete(path))
    except DatabricksError as error:
        yield Finding("dbfs", "error", _line(error), _NO_DBFS)
        return
    if read == content:
        yield Finding("dbfs", "good", f"dbfs:{connection.options.staging} can be written, read and removed")
    else:
        yield Finding("dbfs", "error", f"dbfs:{path} came back other than it was written", _NO_DBFS)


def _deployed(connection: Connection) -> Iterator[Finding]:
    from forecast_platform.clients.databricks.connection import DatabricksError
    from forecast_platform.clients.databricks.deploy import current_deployment

    try:
        deployed = current_deployment(connection)
    except DatabricksError as error:
        yield _fault("deployment", error, "forecast-platform databricks deploy")
        return
    yield Finding("deployment", "good", f"forecast-platform {deployed.version}, the code that is here")


def _volume(connection: Connection) -> Iterator[Finding]:
    """A small file written to, read from and removed from the volume through which runs report."""
    from forecast_platform.clients.databricks.connection import DatabricksError
    from forecast_platform.clients.databricks.volume import Volume

    volume = Volume(connection)
    where = connection.options.volume
    folder = f"{where}/doctor-{uuid.uuid4().hex}"
    try:
        volume.make(folder)
        volume.write(f"{folder}/probe", b"probe")
        read = volume.read(f"{folder}/probe")
        volume.remove(folder)
    except DatabricksError as error:
        yield _fault("volume", error, "make the volume, or name another in databricks.volume")
        return
    if read == b"probe":
        yield Finding("volume", "good", f"{where} takes and gives files")
    else:
        yield Finding("volume", "error", f"{where} gave back {read!r} for b'probe'", "use another volume")


def _fault(name: str, error: Exception, otherwise: str) -> Finding:
    """What is wrong, and the message's own mend where it has one."""
    found, _, mend = str(error).partition("\n")
    return Finding(name, "error", found, mend.replace("\n", " ") or otherwise)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
