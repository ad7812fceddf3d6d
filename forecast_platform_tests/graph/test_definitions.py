"""The one Definitions object loads as a code server loads it, and holds what the design says."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
from dagster import AssetKey, BackfillPolicy, build_resources, instance_for_test

from forecast_platform import definitions
from forecast_platform.definitions import build_definitions, definitions_of
from forecast_platform.graph.assets import OWNERS, RETRIES
from forecast_platform.graph.jobs import FORECAST, TRAIN
from forecast_platform.graph.partitions import range_tags
from forecast_platform.models import registry
from forecast_platform.read import Reader
from forecast_platform.settings import build
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform_tests.pipeline.test_combinations import POOL
from forecast_platform_tests.worlds import days, settings_for


def test_everything_loads_as_in_a_code_server() -> None:
    repository = build_definitions(build()).get_repository_def()
    repository.load_all_definitions()
    assert {"ingest", "train", "forecast", "score", "maintenance"} <= {job.name for job in repository.get_all_jobs()}


def test_a_process_makes_the_graph_of_its_own_settings_once() -> None:
    assert definitions_of(definitions._LOADED) is definitions.defs
    other = definitions_of(build(models=["naive"]))
    assert AssetKey(["distributions", "xgboost"]) not in other.resolve_asset_graph().get_all_asset_keys()


def test_every_model_has_its_asset_in_every_family_and_the_tables_their_name_and_schema() -> None:
    graph = build_definitions(build()).resolve_asset_graph()
    forecasts = {"distributions": "forecasts", "point_forecasts": "forecasts"}
    family_groups = {"trained_models": "training", **forecasts, "forecast_metadata": "scores"}
    for model in registry.default_names():
        for family in ("trained_models", "distributions", "point_forecasts", "forecast_metadata"):
            node = graph.get(AssetKey([family, model]))
            assert node.metadata["dagster/table_name"].endswith(f".{family}")
            assert node.metadata["dagster/column_schema"].columns
            assert node.description
            assert node.owners == OWNERS
            assert {"deltalake", registry.entry(model).kind} <= node.kinds
            assert node.group_name == family_groups[family]
            step = node.assets_def
            assert step.backfill_policy == BackfillPolicy.single_run()
            assert step.op.retry_policy is RETRIES
            assert "platform" in step.required_resource_keys
    assert graph.get(AssetKey(["distributions", "actuals"])).parent_keys == set()


def test_automation_is_off_for_a_source_that_has_ended() -> None:
    repository = build_definitions(build()).get_repository_def()
    everything = {item.name: item.default_status.value for item in (*repository.schedule_defs, *repository.sensor_defs)}
    assert everything.pop("training_jobs") == "RUNNING", "jobs bring their own data"
    assert set(everything.values()) == {"STOPPED"}


def test_a_runs_platform_holds_no_table_once_the_run_has_ended(tmp_path: Path) -> None:
    settings = build(source="sample", warehouse=tmp_path, min_free_gb=0.0)
    with build_resources({"platform": definitions._resources(settings)["platform"]}) as resources:
        warehouse = resources.platform.warehouse
        warehouse.create(FORECAST_METADATA)
        held = weakref.ref(warehouse._table(FORECAST_METADATA))
        assert held() is not None
    assert held() is None
    assert warehouse.rows(FORECAST_METADATA) == 0, "what is asked for later is opened anew"


@pytest.mark.slow
def test_a_pool_stands_downstream_of_its_members_and_one_run_makes_them_before_it(small: Path) -> None:
    settings = settings_for(small, models=["naive", "random_walk", POOL])
    definitions = build_definitions(settings)
    graph = definitions.resolve_asset_graph()
    parents = graph.get(AssetKey(["distributions", "pool"])).parent_keys
    assert {AssetKey(["distributions", "naive"]), AssetKey(["distributions", "random_walk"])} < parents
    assert AssetKey(["distributions", "naive"]) not in graph.get(AssetKey(["distributions", "random_walk"])).parent_keys
    mapped = definitions.resolve_asset_graph().get_partition_mapping(
        AssetKey(["distributions", "pool"]), AssetKey(["distributions", "naive"])
    )
    assert type(mapped).__name__ == "IdentityPartitionMapping"
    span = days("2018-01-03", "2018-01-05")
    with instance_for_test() as instance:
        first = span[0].replace(day=1)
        train = definitions.resolve_job_def(TRAIN)
        own = [AssetKey(["trained_models", "pool"])]
        assert train.execute_in_process(
            instance=instance, tags=range_tags(first, first, ["Alpha"]), asset_selection=own
        ).success
        tags = range_tags(span[0], span[-1], ["Alpha"])
        done = definitions.resolve_job_def(FORECAST).execute_in_process(instance=instance, tags=tags)
        assert done.success
    assert set(Reader(settings).paths("Alpha", "pool")) == set(span)
