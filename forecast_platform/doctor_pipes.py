"""What `doctor` looks at where Dagster's steps submit their work to Databricks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from forecast_platform.doctor_stores import Finding
from forecast_platform.settings import Settings


def databricks_runs(settings: Settings) -> Iterator[Finding]:
    """The workspace lets us in, holds this code, and its volume takes and gives a file."""
    from forecast_platform.compute import remote_for

    if remote_for(settings) is None:
        return
    from forecast_platform.compute.databricks.connection import Connection, DatabricksError
    from forecast_platform.compute.databricks.deploy import current_deployment
    from forecast_platform.compute.databricks.pipes import Volume

    options = settings.databricks
    try:
        connection = Connection(options)
        deployed = current_deployment(connection)
        yield Finding("databricks", "ok", f"{connection.host}: forecast-platform {deployed.version} is deployed")
    except DatabricksError as error:
        yield _fault("databricks", error, "mend what the message names, then look again")
        return
    volume = Volume(connection)
    folder = f"{options.volume}/doctor-{secrets.token_hex(4)}"
    try:
        volume.make(folder)
        volume.write(f"{folder}/probe", b"probe")
        read = volume.read(f"{folder}/probe")
        volume.remove(folder)
    except DatabricksError as error:
        yield _fault("volume", error, "make the volume, or name another in databricks.volume")
        return
    if read != b"probe":
        yield Finding("volume", "FAIL", f"{options.volume} gave back {read!r} for b'probe'", "use another volume")
    else:
        yield Finding("volume", "ok", f"{options.volume} takes and gives files")


def _fault(name: str, error: Exception, otherwise: str) -> Finding:
    """What is wrong, and the message's own mend where it has one."""
    found, _, mend = str(error).partition("\n")
    return Finding(name, "FAIL", found, mend.replace("\n", " ") or otherwise)
