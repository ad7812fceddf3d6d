"""Each task type against an answer that is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles.combining import CombineError, apply_mix, fit_meta, fit_mix
from forecast_platform.ensembles.folds import FoldError, holdout, make_folds
from forecast_platform.ensembles.metrics import Scorer, blocks_of, interval
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.rows import RowsError, make_rows
from forecast_platform.ensembles.workshop import TaskTimeoutError, Workshop
from forecast_platform.ensembles.yaml_lines import WorkflowError
from forecast_platform_tests.ensembles.shops import classes, done, two_groups
from forecast_platform_tests.ensembles.workflows import text_of

METHODS = ["kmeans", "bisect", "agglom", "mixture", "hierarch"]


def clustered(method: str, count: int = 2) -> dict:
    parameter = "n_components" if method == "mixture" else "n_clusters"
    return {"task": "route_cluster", "route": {"cluster": {method: {parameter: count}}}}


@pytest.mark.parametrize("method", METHODS)
def test_planted_clusters_are_routed_back_by_routers_that_have_not_seen_the_rows(method: str) -> None:
    frame = two_groups()
    outcomes, _ = done(frame, clustered(method))
    planted = (frame["x"] > 10).to_numpy()
    found = outcomes["route_cluster"].cells
    assert (found == planted).all() or (found == ~planted).all()
    assert sorted(outcomes["route_cluster"].sizes) == sorted([planted.sum(), (~planted).sum()])


def test_routers_are_fitted_on_the_training_rows_of_their_split_alone() -> None:
    frame = two_groups()
    _, shop = done(frame, clustered("kmeans"))
    before = [router.state for router in shop.routers["folds"]["route_cluster"]]
    held = shop.folds["folds"].splits[0].valid
    frame.loc[held, "x"] += 500.0
    _, changed = done(frame, clustered("kmeans"))
    after = [router.state for router in changed.routers["folds"]["route_cluster"]]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_route_that_parts_what_differs_gains_and_one_that_does_not_is_told_to_lose() -> None:
    stack = {"task": "stack_top_any", "depends_on": ["route"]}
    outcomes, _ = done(two_groups(), {**clustered("kmeans"), "id": "route"}, stack, bases=["linear"])
    found = outcomes["stack_top_any"]
    assert found.scores["rmse"] < 0.2
    assert found.unrouted["scores"]["rmse"] > 0.5
    assert found.verdict.startswith("the route gains")
    drawn = {"task": "route_external", "id": "route", "route": {"parts": 3}}
    frame = two_groups()
    frame["target"] = frame["z"] + np.random.default_rng(1).normal(size=len(frame))
    outcomes, _ = done(frame, drawn, stack, bases=["linear"])
    assert outcomes["stack_top_any"].verdict.startswith("THE ROUTE LOSES")
    assert outcomes["stack_top_any"].notes[0].startswith("THE ROUTE LOSES")


def test_a_route_by_a_feature_and_one_as_a_column() -> None:
    frame = two_groups()
    frame["side"] = np.where(frame["x"] > 10, "right", "left")
    route = {"task": "route_feature", "route": {"feature": "side"}}
    stack = {"task": "stack_top_any", "depends_on": ["route_feature"]}
    outcomes, _ = done(frame, route, stack, bases=["linear"])
    assert outcomes["stack_top_any"].scores["rmse"] < 0.2
    outcomes, _ = done(frame, {**route, "per_route": False}, stack, bases=["linear"])
    assert outcomes["stack_top_any"].scores["rmse"] > 0.5, "a column is no model of its own for a linear one"
    assert outcomes["stack_top_any"].unrouted is None


def test_a_sequence_is_routed_in_its_order() -> None:
    outcomes, _ = done(two_groups(), {"task": "route_external", "route": {"partition": "sequence", "parts": 3}})
    cells = outcomes["route_external"].cells
    assert (np.diff(cells) >= 0).all()
    assert outcomes["route_external"].sizes == [80, 80, 80]


def test_a_label_that_is_copied_into_a_feature_of_the_row_s_own_fold_does_not_help() -> None:
    """The out-of-fold rule: in each fold only its own rows carry the leak, which no model fitted without them knows."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"noise": rng.normal(size=300), "target": rng.choice(["a", "b"], 300)})
    honest, shop = done(frame, {"task": "stack_top_any"}, bases=["linear"])
    part = shop.folds["folds"].part
    for number in range(5):
        own = part == number
        frame[f"leak_{number}"] = np.where(own, (frame["target"] == "b") * 2.0 - 1.0, 0.0)
    leaking, _ = done(frame, {"task": "stack_top_any"}, bases=["linear"])
    assert abs(leaking["stack_top_any"].scores["auc"] - 0.5) < 0.12
    assert abs(honest["stack_top_any"].scores["auc"] - 0.5) < 0.12


def test_a_row_s_prediction_does_not_depend_on_its_own_target() -> None:
    frame = classes()
    boost = {"task": "boost", "boost": {"method": "xgboost"}}
    before, shop = done(frame, boost)
    row = int(shop.folds["folds"].splits[2].valid[0])
    frame.loc[row, "target"] = "low" if frame.loc[row, "target"] != "low" else "high"
    after, _ = done(frame, boost)
    assert np.array_equal(before["boost"].predicted[row], after["boost"].predicted[row])
    changed = ~np.isclose(before["boost"].predicted, after["boost"].predicted).all(axis=1)
    own = shop.folds["folds"].part == 2
    assert changed[~own].any()
    assert not changed[own].any(), "the models of its own fold have not seen it"


def test_a_series_with_a_break_is_never_fitted_on_its_future() -> None:
    n = 300
    rng = np.random.default_rng(5)
    time = np.repeat(np.arange(n // 3), 3)
    x = rng.normal(size=n)
    frame = pd.DataFrame({"t": time, "x": x, "target": np.where(time < 80, x, -x)})
    context = {"fold_type": ["time_series"], "time_col": "t", "bases": ["linear"]}
    outcomes, shop = done(frame.sample(frac=1, random_state=0), {"task": "vote_mix"}, **context)
    rows = shop.rows
    for split in shop.folds["folds"].splits[:-1]:
        assert rows.time[split.train].max() < rows.time[split.valid].min()
    assert [one.deployed for one in shop.folds["folds"].splits] == [False] * 5 + [True]
    found = outcomes["vote_mix"].predicted[:, 0]
    first_new = (rows.time >= 80) & (rows.time < 84)
    assert np.corrcoef(found[first_new], rows.y[first_new])[0, 1] < -0.9, "what comes after the break is not known"
    assert np.isnan(found[rows.time < 16]).all(), "the first part is predicted by none"


def test_times_that_are_equal_are_in_one_part() -> None:
    time = np.array([0] * 50 + [1] * 3 + [2] * 40 + [3] * 7 + [4, 5, 6])
    folds = make_folds("time_series", np.zeros(len(time)), 4, 0, time=time)
    for value in np.unique(time):
        assert len(np.unique(folds.part[time == value])) == 1


def test_groups_are_never_on_both_sides_of_a_fold() -> None:
    groups = np.arange(100) % 9
    folds = make_folds("grouped", np.zeros(100), 3, 0, groups=groups)
    assert all(not set(groups[one.train]) & set(groups[one.valid]) for one in folds.splits)
    with pytest.raises(FoldError, match="lower `folds` to 9"):
        make_folds("grouped", np.zeros(100), 10, 0, groups=groups)


def test_folds_of_groups_are_as_large_as_the_groups_allow_and_the_seed_draws_them() -> None:
    sizes = [1000, 900, 800, 700, 600] + [10] * 15
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(20), sizes))
    drawn = [make_folds("grouped", np.zeros(len(groups)), 5, seed, groups=groups) for seed in (0, 0, 1)]
    for folds in drawn:
        assert sorted(len(one.valid) for one in folds.splits) == [720, 730, 800, 900, 1000]
        assert np.array_equal(np.sort(np.concatenate([one.valid for one in folds.splits])), np.arange(len(groups)))
    assert np.array_equal(drawn[0].part, drawn[1].part)
    assert not np.array_equal(drawn[0].part, drawn[2].part)


def test_strata_keep_their_shares_in_each_fold_and_a_holdout_takes_its_share() -> None:
    y = (np.arange(500) < 50).astype(np.int64)
    folds = make_folds("stratified", y, 5, 42)
    assert {int(y[one.valid].sum()) for one in folds.splits} == {10}
    split = holdout(folds, y, 0.2, 42, None, 5).splits[0]
    assert (len(split.valid), int(y[split.valid].sum())) == (100, 10)
    assert not set(split.train) & set(split.valid)


@pytest.mark.parametrize(("mix", "expected"), [("mean", 0.5), ("majority", 0.67), ("geometric mean", 0.5)])
def test_a_mix_of_three_votes(mix: str, expected: float) -> None:
    votes = [np.array([[1 - p, p]]) for p in (0.6, 0.6, 0.3)]
    state = fit_mix(mix, votes, np.array([1]), 2)
    found = apply_mix(state, votes)
    assert found.sum() == pytest.approx(1)
    assert found[0, 1] == pytest.approx(expected, abs=0.05)


def test_ranks_are_averaged_and_not_values() -> None:
    n = np.arange(1, 101, dtype=np.float64).reshape(-1, 1)
    state = fit_mix("mean of ranks", [n, np.exp(n / 10)], n[:, 0], 0)
    assert apply_mix(state, [n, np.exp(n / 10)])[:, 0] == pytest.approx(n[:, 0], abs=0.6)


def test_a_meta_learner_finds_the_model_that_is_right_and_one_a_class_those_of_its_class() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 600)
    right = np.full((600, 3), 0.2)
    right[np.arange(600), y] = 0.6
    noise = rng.dirichlet(np.ones(3), 600)
    for kind in ("logistic", "classwise"):
        from forecast_platform.ensembles.combining import apply_meta

        state = fit_meta(kind, [noise, right], y, 3)
        assert Scorer("accuracy")(y, apply_meta(state, [noise, right])) == 1.0
    with pytest.raises(CombineError, match="ridge is of numbers"):
        fit_meta("ridge", [right], y, 3)


def test_metrics_rank_the_right_way_round_and_undefined_ones_last() -> None:
    assert Scorer("rmse").best_first([3.0, 1.0, float("nan"), 2.0]) == [1, 3, 0, 2]
    assert Scorer("auc").best_first([0.5, float("nan"), 0.9]) == [2, 0, 1]
    assert Scorer("rmse").gain(1.0, 2.0) > 0
    assert Scorer("r2").gain(1.0, 2.0) < 0


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=4000)
    low, high = interval(lambda keep: float(values[keep].mean()), blocks_of(4000, 0, in_order=False))
    assert (high - low) / 2 == pytest.approx(2.09 / np.sqrt(4000), rel=0.4)


@pytest.mark.parametrize(
    "task",
    [
        {"task": "stack_top_any", "stack": {"top_n": 2}},
        {"task": "stack_top_alg", "stack": {"top_alg": 2}},
        {"task": "stack_top_n_alg", "stack": {"top_n_alg": 1, "levels": 2}},
        {"task": "stack_blend", "stack": {"holdout": 0.4}},
        {"task": "stack_classwise"},
        {"task": "boost", "boost": {"method": "xgboost"}},
        {"task": "boost", "boost": {"method": "gbm"}},
        {"task": "vote_top_alg"},
        {"task": "vote_mix", "vote": {"mix": "mean of ranks"}},
        {"task": "vote_weight"},
        {"task": "vote_weight", "vote": {"weight_col": "accuracy"}},
    ],
    ids=lambda task: f"{task['task']} {next(iter(task.get('vote', task.get('boost', {})).values()), '')}".strip(),
)
def test_every_kind_predicts_held_out_rows_of_labels_categories_and_gaps(task: dict) -> None:
    outcomes, shop = done(classes(), task, metric={"classification": ["accuracy"]})
    found = outcomes[task["task"]]
    assert shop.rows.classes == ["high", "low", "side"]
    assert found.scores["accuracy"] > 0.7
    known = found.predicted[np.isfinite(found.predicted).all(axis=1)]
    assert known.sum(axis=1) == pytest.approx(np.ones(len(known)))
    assert len(known) == (96 if task["task"] == "stack_blend" else 240)


def test_tasks_share_their_out_of_fold_predictions() -> None:
    tasks = [{"task": "stack_top_any"}, {"task": "stack_top_alg"}, {"task": "stack_classwise"}, {"task": "vote_weight"}]
    outcomes, _ = done(classes(), *tasks)
    assert [one.fits for one in outcomes.values()] == [10, 0, 0, 0]


@pytest.mark.slow
def test_models_that_are_fitted_at_once_have_the_bits_of_one_after_the_other() -> None:
    stack = {"task": "stack_top_any", "stack": {"top_n": 3}}
    bases = ["linear", "gbm", "xgboost", "extra_trees"]
    one, first = done(classes(), stack, bases=bases)
    more, second = done(classes(), stack, bases=bases, workers=4)
    assert np.array_equal(one["stack_top_any"].predicted, more["stack_top_any"].predicted)
    for key, files in first.store.kept.items():
        other = second.store.kept[key]
        assert files.keys() == other.keys()
        assert files["valid.npy"] == other["valid.npy"]
        assert files["encoder.json"] == other["encoder.json"]


def test_a_boost_after_a_stack_learns_from_what_the_stack_says() -> None:
    frame = two_groups()
    outcomes, _ = done(
        frame, {"task": "stack_top_any"}, {"task": "boost", "depends_on": ["stack_top_any"]}, bases=["linear"]
    )
    assert outcomes["boost"].node["extra"] == [outcomes["stack_top_any"].node]


def test_calibration_mends_probabilities_that_are_too_sure() -> None:
    from forecast_platform.ensembles.combining import calibrated, fit_calibration

    rng = np.random.default_rng(2)
    truth = rng.random(8000)
    y = (rng.random(8000) < truth).astype(np.int64)
    sure = truth**3 / (truth**3 + (1 - truth) ** 3)
    said = np.column_stack([1 - sure, sure])
    for kind in ("sigmoid", "isotonic"):
        mended = calibrated(fit_calibration(kind, said, y), said)
        assert np.abs(mended[:, 1] - truth).mean() < 0.02
    outcomes, _ = done(classes(), {"task": "stack_top_any"}, calibrate="isotonic")
    assert outcomes["stack_top_any"].node["calibration"]["kind"] == "isotonic"


@pytest.mark.parametrize("labels", [[True, False], [3, 7], ["yes", "no"], [1.5, 2.5], [0, "zero"]])
def test_labels_of_any_type_are_classes(labels: list) -> None:
    from forecast_platform.ensembles.grammar import Workflow

    workflow: Workflow = read_workflow(text_of({"task": "boost"}, metric={"classification": ["auc"]}))
    frame = pd.DataFrame({"x": np.arange(40.0), "target": pd.Series([labels[i % 2] for i in range(40)], dtype=object)})
    assert sorted(make_rows(frame, workflow.context).classes, key=str) == sorted(labels, key=str)


def test_samples_are_of_the_size_and_method_that_is_declared() -> None:

    frame = pd.DataFrame({"x": np.arange(1000.0), "t": np.arange(1000)[::-1], "target": ["a"] * 900 + ["b"] * 100})
    task = {"task": "boost"}
    drawn = {
        method: make_rows(
            frame, read_workflow(text_of(task, sample={"size": 100, "method": [method]}, time_col="t")).context
        )
        for method in ("random", "stratified", "time_series")
    }
    assert np.bincount(drawn["random"].y).sum() == 100
    assert np.bincount(drawn["stratified"].y).tolist() == [90, 10]
    assert np.array_equal(drawn["time_series"].source, np.arange(100)), "the newest are taken"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": {"target": "targte"}}, "target 'targte' is no column of the table: did you mean 'target'"),
        ({"source": {"features": {"exclude": ["q"]}}}, "feature 'q' is no column"),
        ({"metric": {"regression": ["rmse"]}}, "is no number, and the metrics are of regression"),
        ({"group_col": "g"}, "group_col 'g' is no column"),
    ],
)
def test_a_table_that_does_not_suit_is_refused_before_any_work(change: dict, said: str) -> None:
    with pytest.raises(RowsError, match=said):
        done(classes(), {"task": "boost"}, **change)


@pytest.mark.parametrize(
    ("frame", "task", "context", "said"),
    [
        (classes, {"task": "stack_top_any", "stack": {"meta": "ridge"}}, {}, "ridge is of numbers"),
        (two_groups, {"task": "stack_top_alg", "stack": {"meta": "logistic"}}, {}, "logistic is of classes"),
        (two_groups, {"task": "stack_classwise"}, {}, "stack_classwise needs classes"),
        (two_groups, {"task": "vote_mix", "vote": {"mix": "majority"}}, {}, "majority is of classes"),
        (classes, {"task": "vote_weight", "vote": {"weight_col": "rmse"}}, {}, "it has auc, accuracy, f1, log_loss"),
        (classes, {"task": "boost"}, {"metric": {"classification": [{"f1": "binary"}]}}, "name macro"),
        (two_groups, {"task": "boost"}, {"calibrate": "sigmoid"}, "calibrate is of probabilities"),
    ],
)
def test_what_the_target_does_not_allow_is_refused_before_anything_is_fitted(
    frame, task: dict, context: dict, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(*_: object) -> None:
        pytest.fail("a base model was fitted")

    monkeypatch.setattr(Workshop, "_fit", fitted)
    with pytest.raises(ValueError, match=said):
        done(frame(), task, **context)


@pytest.mark.parametrize(("name", "kind"), [("a.csv", "CSV"), ("a.parquet", "Parquet")])
def test_a_file_that_holds_no_table_is_told_by_name(tmp_path, name: str, kind: str) -> None:
    from forecast_platform.ensembles.store import source_frame

    path = tmp_path / name
    path.write_text("a,b\n1,2\n1,2,3,4\n")
    context = read_workflow(text_of({"task": "boost"}, source={"path": str(path)})).context
    with pytest.raises(RowsError, match=rf"{name}' cannot be read as {kind}.*: mend the file"):
        source_frame(None, None, context)


def test_a_task_that_takes_too_long_says_so_and_keeps_what_it_has_fitted() -> None:
    from forecast_platform.ensembles.catalog import BASES
    from forecast_platform.ensembles.members import Setup, Wanted

    _, shop = done(classes(), {"task": "stack_top_any"}, bases=["linear"])
    shop.deadline = 0.0
    assert shop.members([Wanted(BASES["linear"], Setup())]), "what is there is found"
    with pytest.raises(TaskTimeoutError, match="raise the timeout, or run it again"):
        shop.members([Wanted(BASES["neighbours"], Setup())])


def test_folds_are_grouped_by_route_where_routes_cross() -> None:
    """Each cell of two routes is whole in one fold: its rows are predicted by models of the other cells alone."""
    routes = ({"task": "route_feature", "route": {"feature": "kind"}},
              {"task": "route_external", "route": {"partition": "sequence", "parts": 3}})  # fmt: skip
    ends = {"task": "vote_mix", "depends_on": ["route_feature", "route_external"]}
    found, shop = done(classes(), *routes, ends, fold_type=["grouped"], folds=3)
    cells = 10 * found["route_feature"].cells + found["route_external"].cells
    part = shop.folds["folds"].part
    assert len(np.unique(cells)) >= 6
    for cell in np.unique(cells):
        assert len(np.unique(part[cells == cell])) == 1, "no route is on both sides"
    assert np.isfinite(found["vote_mix"].predicted).all()
    assert shop.memory.crosses == {}, "a pair's cells would be those of other routes"
    with pytest.raises(WorkflowError, match="grouped needs `group_col`: name the column, or route"):
        done(classes(), {"task": "vote_mix"}, fold_type=["grouped"])
