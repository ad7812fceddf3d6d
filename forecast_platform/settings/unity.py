"""What can be set of Unity Catalog: where its tables and its volume are, and how new tables are laid out."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

CATALOG = "commodity"
"""The catalog in the tables' own names."""

VOLUMES = Path("/Volumes")

_PART = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")


class UnityOptions(BaseModel):
    """The Unity Catalog that tables are in, where `tables` is unity_catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    catalog: str = Field(
        default=CATALOG, description="Catalog of the tables and of registered models; another one for tests."
    )
    volume: str | None = Field(
        default=None,
        description="Volume for large models, reports and what Spark's workers hand over, catalog.schema.name such as "
        "commodity.forecast.platform; on a cluster `warehouse` is its folder where unset.",
    )
    clustering: Literal["partition", "liquid"] = Field(
        default="partition", description="Layout of new tables: PARTITIONED BY, or CLUSTER BY (liquid clustering)."
    )
    properties: dict[str, str] = Field(
        default_factory=dict, description="Table properties of new tables, such as delta.deletedFileRetentionDuration."
    )
    registry_schema: str = Field(default="forecast", description="Schema of registered models in the catalog.")

    @field_validator("catalog", "registry_schema")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _PART.match(value):
            raise ValueError("one name: letters, digits, underscores and dashes, such as commodity_test")
        return value

    @field_validator("volume")
    @classmethod
    def _three_levels(cls, value: str | None) -> str | None:
        if value is not None and not (value.count(".") == 2 and all(map(_PART.match, value.split(".")))):
            raise ValueError("catalog.schema.name of a volume, such as commodity.forecast.platform, without /Volumes")
        return value

    @model_validator(mode="after")
    def _one_catalog(self) -> UnityOptions:
        if self.volume is not None and self.volume.split(".")[0] != self.catalog:
            raise ValueError(
                f"volume {self.volume} lies in another catalog than the tables ({self.catalog}): a test would write "
                "into production's files"
            )
        return self

    @property
    def volume_path(self) -> Path | None:
        """The volume's folder, as clusters see it."""
        return None if self.volume is None else VOLUMES.joinpath(*self.volume.split("."))


def default_folder(data: dict[str, Any]) -> dict[str, Any]:
    """Where volumes are mounted, `warehouse` is the named volume's folder unless it is set. `data`: settings as given.

    Elsewhere it stays the usual folder, so that one file of settings serves a laptop and a cluster.
    """
    unity = data.get("unity")
    volume = unity.get("volume") if isinstance(unity, dict) else getattr(unity, "volume", None)
    if (
        data.get("tables") == "unity_catalog"
        and isinstance(volume, str)
        and not data.get("warehouse")
        and mounted(VOLUMES.joinpath(*volume.split(".")))
    ):
        return {**data, "warehouse": VOLUMES.joinpath(*volume.split("."))}
    return data


def refuse_object_store(tables: str, warehouse: Path) -> None:
    """Raise ValueError where tables in a folder could not be committed to.

    Databricks' volumes and DBFS are object stores without the links and safe renames that a commit needs
    (delta-io/delta-rs issue 2540). On macOS disks are mounted under the name of volumes.
    """
    mounted = platform.system() != "Darwin" and (in_volume(warehouse) or warehouse.is_relative_to("/dbfs"))
    if tables == "folder" and mounted:
        raise ValueError(
            f"warehouse: {warehouse} is in a volume or DBFS of Databricks, where tables cannot be committed: set "
            "tables to unity_catalog, or name a folder on a disk"
        )


def mounted(path: Path) -> bool:
    """Whether a volume's path is reached as files here, as on a cluster; macOS has its disks under the same name."""
    first = VOLUMES.joinpath(*path.relative_to(VOLUMES).parts[:1])
    return first.is_dir() if platform.system() == "Darwin" else VOLUMES.is_dir()


def default_tracking(tables: str, warehouse: Path) -> str:
    """MLflow's store where none is set. A folder of tables is never in a volume, whatever its disk is called."""
    if tables == "unity_catalog" and in_volume(warehouse):
        return "databricks"
    return f"sqlite:///{warehouse / '_mlflow' / 'mlflow.db'}"


def in_volume(path: Path) -> bool:
    """Whether a path lies in a volume: shared by clusters, but without locks and random writes."""
    return path.is_relative_to(VOLUMES)
