"""The one Definitions object loads as a code server loads it, and holds what the design says."""

from __future__ import annotations

from dagster import AssetKey

from forecast_platform.definitions import build_definitions
from forecast_platform.models import registry
from forecast_platform.settings import build


def test_everything_loads_as_in_a_code_server() -> None:
    repository = build_definitions(build()).get_repository_def()
    repository.load_all_definitions()
    assert {"ingest", "train", "forecast", "score", "maintenance"} <= {job.name for job in repository.get_all_jobs()}


def test_every_model_has_its_asset_in_every_family_and_the_tables_their_name_and_schema() -> None:
    graph = build_definitions(build()).resolve_asset_graph()
    for model in registry.names():
        for family in ("trained_models", "distributions", "point_forecasts", "forecast_metadata"):
            node = graph.get(AssetKey([family, model]))
            assert node.metadata["dagster/table_name"].endswith(f".{family}")
            assert node.metadata["dagster/column_schema"].columns
            assert node.description
            assert node.owners
            assert node.kinds
    assert graph.get(AssetKey(["distributions", "actuals"])).parent_keys == set()


def test_automation_is_off_for_a_source_that_has_ended() -> None:
    repository = build_definitions(build()).get_repository_def()
    everything = [*repository.schedule_defs, *repository.sensor_defs]
    assert everything
    assert {item.default_status.value for item in everything} == {"STOPPED"}
