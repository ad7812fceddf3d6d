"""Storages of the Dagster instance in the warehouse's own folder, the same for every process that opens it.

With DAGSTER_HOME unset, `dagster dev` and `dg dev` make a temporary instance that the command line does not see. The
classes here, named in dagster.yaml, put runs, schedules and step output into the warehouse's own instance folder
instead, so that whichever command starts the UI shows the same history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage

from forecast_platform.graph.kept_connections import Kept
from forecast_platform.host.home import instance_home, one_creates

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData


class _InHome:
    """A storage that takes no configuration: its folder follows from the environment."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing is configured."""
        return {}


class HomeRunStorage(_InHome, Kept, SqliteRunStorage):
    """Dagster's SQLite run storage in `instance_home()`, in the default place."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> HomeRunStorage:
        """The storage in this process's instance folder."""
        folder = instance_home() / "history"
        with one_creates(folder):
            return cls.from_local(str(folder), inst_data=inst_data)


class HomeScheduleStorage(_InHome, Kept, SqliteScheduleStorage):
    """Dagster's SQLite schedule storage in `instance_home()`, in the default place."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> HomeScheduleStorage:
        """The storage in this process's instance folder."""
        folder = instance_home() / "schedules"
        with one_creates(folder):
            # The parent's from_local names the parent's class, which does the same.
            return cast(HomeScheduleStorage, cls.from_local(str(folder), inst_data=inst_data))


class HomeComputeLogManager(_InHome, LocalComputeLogManager):
    """Step output in `instance_home()`, in the default place."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> HomeComputeLogManager:
        """The manager over this process's instance folder."""
        return cls(str(instance_home() / "storage"), inst_data=inst_data)
