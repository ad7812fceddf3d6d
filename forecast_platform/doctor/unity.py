"""The part of `forecast-platform doctor` that looks at Unity Catalog: session, tables, volume."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from forecast_platform.doctor.horizon import horizon
from forecast_platform.host.finding import Finding
from forecast_platform.settings import PREFIX, Settings

_GRANTS = "docs/databricks.md, Unity Catalog, lists the grants; `forecast-platform migrate` adds missing columns"

_MAKE_VOLUME = (
    "CREATE VOLUME as docs/databricks.md says, with READ VOLUME and WRITE VOLUME for this account; from outside of "
    "Databricks log in too (DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile)"
)


def unity_tables(settings: Settings) -> Iterator[Finding]:
    """There is a session, each table that exists opens and has this version's schema, the volume takes files."""
    from forecast_platform.clients.spark_session import SparkUnavailableError
    from forecast_platform.housekeeping.migrate import plan
    from forecast_platform.warehouse.base import WarehouseError
    from forecast_platform.warehouse.schemas import TABLES
    from forecast_platform.warehouse.unity import UnityWarehouse
    from forecast_platform.work.platform import Platform

    yield from _volume(settings)
    warehouse = Platform.from_settings(settings).warehouse
    assert isinstance(warehouse, UnityWarehouse)  # noqa: S101 - the settings say so
    try:
        engine = type(warehouse.dialect).__name__
    except SparkUnavailableError as error:
        what, _, mend = str(error).partition(": ")
        yield Finding("spark", "error", what, mend)
        return
    yield Finding("spark", "good", f"a session of {type(warehouse.session).__module__}, statements as of {engine}")
    wrong = list(horizon(settings, warehouse))
    yield from wrong
    if any(finding.severity == "error" for finding in wrong):
        return
    absent = []
    for table in TABLES:
        name = warehouse.name(table)
        try:
            version = warehouse.version(table)
            needs = plan(warehouse, [table])
        except WarehouseError as error:
            yield Finding("tables", "error", str(error), _GRANTS)
            continue
        if version is None:
            absent.append(name)
        elif needs:
            lacking = ", ".join(column.name for column in needs[0].add)
            found = "; ".join([*([f"no column {lacking}"] if lacking else []), *needs[0].refused])
            yield Finding("tables", "error", f"{name}: {found}", _GRANTS)
        else:
            yield Finding("tables", "good", f"{name}: version {version}, schema as defined")
    if absent:
        yield Finding("tables", "good", f"not there yet: {', '.join(absent)}")


def _volume(settings: Settings) -> Iterator[Finding]:
    """A small file written to, read from and removed from the folder of large models."""
    from forecast_platform.clients.databricks.connection import DatabricksError
    from forecast_platform.work import artifacts

    folder = artifacts.root(settings)
    if settings.unity.volume is None:
        yield Finding(
            "volume",
            "warning",
            f"large models go to {folder}, which other machines that read the tables may not see",
            f"name a volume, such as {PREFIX}UNITY__VOLUME={settings.unity.catalog}.forecast.platform",
        )
        return
    probe = folder / f"doctor-{uuid.uuid4().hex}"
    try:
        artifacts.write_text(settings, probe, "probe")
        read = artifacts.read_text(settings, probe)
        artifacts.remove(settings, probe)
    except (OSError, DatabricksError) as error:
        found = str(error).partition("\n")[0]
        yield Finding("volume", "error", f"large models go to {folder}, which takes no file: {found}", _MAKE_VOLUME)
        return
    if read == "probe":
        yield Finding("volume", "good", f"large models go to {folder}, which takes and gives files")
    else:
        yield Finding("volume", "error", f"{folder} gave back {read!r} for 'probe'", _MAKE_VOLUME)
