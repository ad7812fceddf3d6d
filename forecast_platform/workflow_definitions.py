"""The submitted workflows as a code location of their own: one that cannot be read fails alone, as an asset."""

from __future__ import annotations

from dagster import Definitions

from forecast_platform.ensembles.yaml_lines import WorkflowError
from forecast_platform.graph.assets.ensembles import asset_name, broken_definitions, workflow_definitions
from forecast_platform.graph.automation.workflows import workflow_sensor
from forecast_platform.host.memory import collect_seldom, lean_allocators
from forecast_platform.runs.workflows import hashes, submitted
from forecast_platform.settings import Settings, load
from forecast_platform.work.platform import Platform


def build_workflow_definitions(settings: Settings) -> Definitions:
    """The assets and jobs of every workflow that is kept in the warehouse, and the sensor that runs submitted ones."""
    # Before they are read: of one that changes in between, the sensor then waits until it is loaded anew.
    loaded = hashes(settings)
    parts: list[Definitions] = []
    broken: set[str] = set()
    for name, found in submitted(settings).items():
        if isinstance(found, WorkflowError):
            own = asset_name(name, broken.__contains__)
            broken.add(own)
            parts.append(broken_definitions(own, str(found)))
        else:
            parts.append(workflow_definitions(found, lambda: _platform(settings), settings))
    jobs = [job for part in parts for job in part.jobs or ()]
    sensor = workflow_sensor(settings, jobs, loaded, lambda: hashes(settings))
    return Definitions.merge(*parts, Definitions(sensors=[sensor]))


def _platform(settings: Settings) -> Platform:
    collect_seldom()
    lean_allocators()
    return Platform.from_settings(settings)


defs = build_workflow_definitions(load())
