"""What holds of one thing where another meets it: groups and holdouts, order and levels, routes and boosts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles.combining import CombineError
from forecast_platform.ensembles.folds import FoldError, holdout, make_folds
from forecast_platform_tests.ensembles.shops import classes, done


def in_order(n: int = 240) -> pd.DataFrame:
    """Numbers that follow from two others, a row a day."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, n))
    return pd.DataFrame({"a": a, "b": b, "day": pd.date_range("2024-01-01", periods=n), "target": 2 * a - b})


def test_a_holdout_of_grouped_folds_takes_whole_groups_and_so_do_its_parts() -> None:
    groups = np.random.default_rng(0).integers(0, 40, 600)
    folds = make_folds("grouped", np.zeros(600), 5, 42, groups=groups)
    made = holdout(folds, np.zeros(600), 0.2, 42, None, 5)
    split = made.splits[0]
    assert not set(groups[split.train]) & set(groups[split.valid])
    assert 100 <= len(split.valid) <= 120
    for one in np.unique(groups[split.valid]):
        assert len(np.unique(made.part[groups == one])) == 1
    two = make_folds("grouped", np.zeros(600), 2, 42, groups=groups % 2)
    with pytest.raises(FoldError, match="give more groups"):
        holdout(two, np.zeros(600), 0.2, 42, None, 2)


def test_a_rare_class_leaves_the_other_classes_their_shares_in_each_fold() -> None:
    y = np.array([0] * 150 + [1] * 50 + [2] * 2)
    folds = make_folds("stratified", y, 5, 42)
    assert folds.kind == "stratified"
    assert [int((y[one.valid] == 1).sum()) for one in folds.splits] == [10] * 5
    nearly = make_folds("stratified", np.arange(30) // 2, 5, 42)
    assert [len(one.valid) for one in nearly.splits] == [6] * 5, "where all are rare there is nothing to keep"


def test_a_blend_of_grouped_folds_does_not_learn_what_a_group_is() -> None:
    # Each group has a place of its own and a label by chance: who knows the group's rows knows the label.
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(60), 10)
    place, label = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)
    frame = pd.DataFrame({"x": place[group, 0], "y": place[group, 1], "group": group, "target": label[group]})
    asked = {"fold_type": ["grouped"], "group_col": "group", "metric": {"classification": ["auc"]}}
    outcomes, _ = done(frame, {"task": "stack_blend"}, bases=["neighbours"], **asked)
    assert outcomes["stack_blend"].scores["auc"] < 0.7


def test_a_holdout_in_order_keeps_rows_of_one_time_in_one_part() -> None:
    time = np.repeat(np.arange(60), 7)
    folds = make_folds("time_series", np.zeros(420), 5, 0, time=time)
    made = holdout(folds, np.zeros(420), 0.25, 0, time, 4)
    for one in np.unique(time[made.part >= 0]):
        assert len(np.unique(made.part[time == one])) == 1
    assert sorted(set(made.part.tolist())) == [-1, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "tasks",
    [
        [{"task": "stack_top_n_alg"}],
        [{"task": "stack_top_alg", "stack": {"levels": 2}}],
        [{"task": "stack_top_any"}, {"task": "boost", "depends_on": ["stack_top_any"]}],
    ],
)
def test_a_second_level_in_order_is_scored_where_the_first_had_been_scored_before(tasks: list[dict]) -> None:
    frame = in_order()
    outcomes, shop = done(frame, *tasks, fold_type=["time_series"], time_col="day")
    found = outcomes[tasks[-1].get("id", tasks[-1]["task"])]
    known = np.isfinite(found.predicted).all(axis=1)
    # Nothing was predicted before the first part, by what a second level could learn from.
    assert known.any()
    assert shop.folds["folds"].part[known].min() >= 2
    assert np.corrcoef(found.predicted[known, 0], frame["target"][known])[0, 1] > 0.9


def test_too_few_rows_with_predictions_to_learn_from_are_told() -> None:
    tasks = [{"task": "stack_blend", "stack": {"holdout": 0.05}}, {"task": "boost", "depends_on": ["stack_blend"]}]
    with pytest.raises(FoldError, match="10 rows have predictions of the models before gbm, 20 are the least"):
        done(classes(), *tasks)


def test_rows_without_the_predictions_that_a_boost_learns_from_are_not_predicted() -> None:
    tasks = [{"task": "stack_blend", "stack": {"holdout": 0.4}}, {"task": "boost", "depends_on": ["stack_blend"]}]
    outcomes, _ = done(classes(), *tasks)
    blended, boosted = (np.isfinite(outcomes[name].predicted).all(axis=1) for name in ("stack_blend", "boost"))
    assert blended.sum() == 96
    assert (boosted == blended).all()


def test_a_calibration_that_no_part_could_be_scored_by_is_refused() -> None:
    frame = classes().assign(day=np.arange(240))
    asked = {"fold_type": ["time_series"], "time_col": "day", "folds": 2, "calibrate": "sigmoid"}
    with pytest.raises(CombineError, match="too few parts to score a calibration"):
        done(frame, {"task": "vote_weight"}, **asked)


def test_a_value_has_one_number_in_the_table_of_its_routes() -> None:
    # The one row of "a" is no training row of the split that holds it: there "b" is the first value.
    frame = pd.DataFrame({"kind": ["a"] + ["b"] * 99 + ["c"] * 100, "x": np.arange(200.0), "target": [0, 1] * 100})
    outcomes, _ = done(frame, {"task": "route_feature", "route": {"feature": "kind"}})
    found = outcomes["route_feature"]
    assert found.cells.tolist() == [3] + [1] * 99 + [2] * 100
    assert found.sizes == [0, 99, 100, 1]


def routes_in(node: dict) -> list[list[str]]:
    """The routes of each base model below a node."""
    if node["kind"] != "base":
        return [one for member in node["members"] for one in routes_in(member)]
    return [node["setup"]["routes"], *(one for extra in node["extra"] for one in routes_in(extra))]


def test_unrouted_is_without_routes_down_to_what_a_boost_learns_from() -> None:
    tasks = [
        {"task": "route_cluster", "route": {"cluster": {"kmeans": {"n_clusters": 2}}}},
        {"task": "stack_top_any", "depends_on": ["route_cluster"]},
        {"task": "boost", "depends_on": ["stack_top_any"]},
        {"task": "vote_mix", "depends_on": ["boost"]},
    ]
    outcomes, _ = done(classes(), *tasks)
    for name in ("boost", "vote_mix"):
        assert ["route_cluster"] in routes_in(outcomes[name].node)
        found = routes_in(outcomes[name].unrouted["node"])
        assert found == [[]] * len(found)
