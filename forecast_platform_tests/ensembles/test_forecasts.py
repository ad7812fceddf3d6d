"""Votes and routes over forecasts: planted weights are found, nothing is learnt before it is known, and end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from forecast_platform.ensembles.finishing import finish, result_of
from forecast_platform.ensembles.forecasts import ForecastsError, forecast_frame, open_rows
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import json_schema, read_workflow, written
from forecast_platform.ensembles.rows import make_rows
from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.tasks import perform
from forecast_platform.ensembles.workshop import Workshop
from forecast_platform.ensembles.yaml_lines import WorkflowError
from forecast_platform.graph.assets.ensembles import workflow_definitions
from forecast_platform.pipeline.inference import forecast
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import POINT_FORECASTS, Table
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import MemoryStore
from forecast_platform_tests.worlds import days, settings_for

WEIGH = {"task": "vote_weight"}
ROUTE = {"task": "route_feature", "route": {"feature": "series"}}
ROUTED = {"task": "vote_weight", "id": "routed", "depends_on": ["route_feature"]}


def workflow_of(*tasks: dict, **context):
    values = {"name": "pool", "source": {"forecasts": {"of": ["a", "b"]}}, **context}
    import yaml

    return read_workflow(yaml.safe_dump({"obsrv": {"context": values, "job": list(tasks)}}, sort_keys=False))


def made(truth_of: dict[str, float], n: int = 120, horizon: int = 14, seed: int = 0) -> pd.DataFrame:
    """Forecasts of a and b whose outcome is `share` of a's and the rest of b's, by series."""
    rng, parts = np.random.default_rng(seed), []
    for series, share in truth_of.items():
        origin = np.repeat(pd.date_range("2020-01-01", periods=n), horizon)
        day = np.tile(np.arange(1.0, horizon + 1), n)
        a, b = rng.normal(size=(2, len(day)))
        target = origin + pd.to_timedelta(day - 1, "D")
        parts.append(
            pd.DataFrame(
                {
                    "series": series, "forecast_date": origin, "day": day, "target_date": target, "seen_on": target,
                    "last_close": 50.0, "level": 40.0, "volatility": 0.01, "spread": 0.1, "of_a": a, "of_b": b,
                    "actual": share * a + (1 - share) * b + 0.01 * rng.normal(size=len(day)),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def outcomes_of(frame: pd.DataFrame, *tasks: dict, **context):
    workflow = workflow_of(*tasks, **context)
    rows = make_rows(frame, workflow.context)
    shop = Workshop(workflow.context, rows, {"folds": rows.folds(workflow.context)}, MemoryStore())
    plan, found = plan_of(workflow), {}
    for name in plan.order:
        found[name] = perform(shop, workflow, plan, name, found)
    return found, shop


def test_planted_weights_of_forecasts_are_found_and_on_a_route_those_of_each_series() -> None:
    found, _ = outcomes_of(made({"x": 0.7}), WEIGH)
    weights = {row["name"]: row["weight"] for row in found["vote_weight"].members}
    assert weights == pytest.approx({"of_a": 0.7, "of_b": 0.3}, abs=0.01)

    routed, _ = outcomes_of(made({"x": 0.9, "y": 0.2}), ROUTE, ROUTED)
    by_route = {row["name"]: list(row["by_route"].values()) for row in routed["routed"].members}
    assert by_route["of_a"] == pytest.approx([0.9, 0.2], abs=0.01)
    assert by_route["of_b"] == pytest.approx([0.1, 0.8], abs=0.01)
    assert routed["routed"].unrouted["gain"] > 0.3, "one set of weights fits neither series"


@pytest.mark.parametrize("tasks", [[WEIGH], [ROUTE, ROUTED], [{"task": "vote_top_alg", "vote": {"top_alg": 1}}]])
def test_no_vote_learns_from_an_outcome_that_was_not_known_on_its_forecast_dates(tasks: list[dict]) -> None:
    frame = made({"x": 0.9, "y": 0.3})
    name = tasks[-1].get("id", tasks[-1]["task"])
    before, shop = outcomes_of(frame, *tasks)
    rows, folds = shop.rows, shop.folds["folds"]
    number = 3
    first = rows.time[folds.part == number].min()
    for split in folds.splits[:-1]:
        assert rows.until[split.train].max() < rows.time[split.valid].min()
    # An outcome that is seen on the part's first forecast date is not known to it: that is made of the days before.
    late = frame["seen_on"].to_numpy("datetime64[us]") >= first
    others = frame.assign(actual=np.where(late, -5 * frame["of_a"] + 9 * frame["of_b"], frame["actual"]))
    after, _ = outcomes_of(others, *tasks)
    earlier = folds.part <= number
    assert np.isfinite(before[name].predicted[earlier & (folds.part > 0)]).all()
    assert np.array_equal(before[name].predicted[earlier], after[name].predicted[earlier], equal_nan=True)
    assert not np.array_equal(before[name].predicted[~earlier], after[name].predicted[~earlier], equal_nan=True)


def test_routes_by_clusters_read_no_forecast() -> None:
    frame = made({"x": 0.5})
    frame["volatility"] = np.where(frame["forecast_date"].dt.day % 2, 0.01, 0.5)
    route = {"task": "route_cluster", "route": {"cluster": {"kmeans": {"n_clusters": 2}}}}
    found, shop = outcomes_of(frame, route, {**ROUTED, "depends_on": ["route_cluster"]})
    [state, *_] = found["route_cluster"].routers
    assert not {"of_a", "of_b"} & set(state["encoder"]["columns"])
    assert list(shop.rows.features.columns[-2:]) == ["of_a", "of_b"]


@pytest.mark.parametrize(
    ("tasks", "context", "said"),
    [
        ([{"task": "boost"}], {}, "forecasts are routed and voted over, and boost is neither"),
        ([WEIGH], {"fold_type": ["kfold"]}, "in the order in which they were made"),
        ([WEIGH], {"bases": ["linear"]}, "name models in source.forecasts.of"),
        ([WEIGH], {"register": True}, "leave out register"),
        ([WEIGH], {"source": {"forecasts": {"of": ["a", "b"]}, "path": "x.csv"}}, "forecasts are the whole source"),
        ([WEIGH], {"source": {"forecasts": {"off": ["a"]}}}, "did you mean 'of'"),
        ([WEIGH], {"source": {"forecasts": {"of": ["a", "a"]}}}, "'a' alone is nothing to combine: name two models"),
        ([WEIGH], {"source": {"forecasts": {"of": ["a b"]}}}, r"nothing to combine: write \[a, b\]"),
        ([WEIGH], {"source": {"forecasts": {"start": "2020-01-01", "end": "2019-01-01"}}}, "is before 2020-01-01"),
    ],
)
def test_what_cannot_be_done_with_forecasts_is_refused_when_it_is_read(
    tasks: list[dict], context: dict, said: str
) -> None:
    with pytest.raises(WorkflowError, match=said):
        workflow_of(*tasks, **context)


def test_the_word_alone_is_all_forecasts_and_is_written_back() -> None:
    workflow = workflow_of(WEIGH, source="forecasts")
    assert workflow.context.source.forecasts.of == []
    assert (workflow.context.fold_type, workflow.context.time_col) == (["time_series"], "forecast_date")
    assert read_workflow(written(workflow)) == workflow
    parts = json_schema()["$defs"]
    assert {"const": "forecasts"} in parts["Context"]["properties"]["source"]["anyOf"]
    assert {"required": ["forecasts"]} in parts["Source"]["anyOf"], "an editor asks for no target there"
    named = workflow_definitions(workflow_of(ROUTE, ROUTED)).resolve_asset_graph()
    [first] = [key for key in named.get_all_asset_keys() if key.path[-1] == "route_feature"]
    assert {one.path[-1] for one in named.get(first).parent_keys} == {"a", "b"}


def test_over_the_daily_graph_s_forecasts_end_to_end(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    span = days("2017-12-01", "2018-04-01")
    for series in ("Alpha", "Beta"):
        for model in ("naive", "random_walk"):
            assert not forecast(platform, series, model, span).failed
    workflow = workflow_of(ROUTE, ROUTED, WEIGH, source="forecasts")
    run = Run(platform, workflow)
    for name in run.plan.order:
        run.perform(name)
    result = finish(run)
    assert result_of(Run(platform, workflow)) is not None

    stored = platform.warehouse.read(POINT_FORECASTS, where={"commodity": "Alpha", "model_name": "random_walk"})
    wanted = stored.to_pandas().set_index(["forecast_date", "day_ahead"])["forecast_mean"]
    frame = run.frame[run.frame["series"] == "Alpha"]
    own = (frame["last_close"] + frame["level"] * frame["of_random_walk"]).to_numpy()
    keys = list(zip(frame["forecast_date"].dt.date, frame["day"].astype(int), strict=True))
    np.testing.assert_allclose(own, wanted.loc[keys].to_numpy(), rtol=1e-5)

    def table(name: str) -> pd.DataFrame:
        found = platform.warehouse.read(Table(f"ensembles.forecasts.{name}", "", (), (), (), open_columns=True))
        return found.to_pandas()

    votes, newest = table("oof_predictions_pool_vote_weight"), table("forecasts_pool")
    closes = platform.series_table("Alpha")
    close_of = dict(zip(closes.dates.astype(object), closes.columns["close"], strict=True))
    alpha = votes[votes["commodity"] == "Alpha"]
    np.testing.assert_allclose(alpha["target"], [close_of[day] for day in alpha["target_date"]], rtol=1e-5)
    assert len(newest) == len(open_rows(run.frame)) > 100
    assert newest["target_date"].min() > votes["target_date"].max()
    both = np.sort(own[-14:]), newest[newest["commodity"] == "Alpha"]["forecast"].to_numpy()
    assert abs(both[1] / both[0].mean() - 1).max() < 0.05, "prices, near the members'"
    assert result.task in ("vote_weight", "routed")

    wrong = workflow_of(WEIGH, source={"forecasts": {"series": "alpha"}}).context
    with pytest.raises(ForecastsError, match="'alpha' is none of Alpha, Beta: Alpha"):
        forecast_frame(platform, wrong)
    early = workflow_of(WEIGH, source={"forecasts": {"end": "2017-01-01"}}).context
    with pytest.raises(ForecastsError, match="no forecasts of Alpha by naive"):
        forecast_frame(platform, early)


def test_a_series_without_an_outcome_yet_is_voted_on_all_the_same() -> None:
    new = made({"z": 0.5}, n=5).assign(actual=np.nan)
    known = made({"x": 0.5})
    assert open_rows(pd.concat([known, new], ignore_index=True))["series"].tolist() == ["z"] * len(new)


def test_a_model_that_is_behind_is_named_and_forecasts_in_another_unit_are_refused(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    span = days("2018-02-01", "2018-03-10")
    for series in ("Alpha", "Beta"):
        forecast(platform, series, "naive", span)
        forecast(platform, series, "random_walk", span[:-10] if series == "Beta" else span)
    context = workflow_of(WEIGH, source="forecasts").context
    frame = forecast_frame(platform, context)
    behind = "Beta: random_walk has no forecast after 2018-02-28, others have to 2018-03-10: nothing newer is voted on"
    assert make_rows(frame, context).notes[0] == behind
    assert "Alpha" not in "".join(make_rows(frame, context).notes)

    where = keys_of("Beta", "naive", "v1.0", span[3:5], by_month=False)
    rows = platform.warehouse.read(POINT_FORECASTS, where=where)
    for name in ("forecast_mean", "lower_80", "upper_80", "lower_95", "upper_95"):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pc.multiply(rows[name], 0.01))
    platform.warehouse.replace(POINT_FORECASTS, rows, where)
    with pytest.raises(ForecastsError, match="2 forecasts of Beta by naive from 2018-02-04 to 2018-02-05 were"):
        forecast_frame(platform, context)
    later = workflow_of(WEIGH, source={"forecasts": {"start": "2018-02-06"}}).context
    assert len(forecast_frame(platform, later))
