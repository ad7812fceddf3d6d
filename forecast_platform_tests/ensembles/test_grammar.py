"""The grammar: what is read, what is refused and where, and that reading and writing are inverses."""

from __future__ import annotations

import itertools

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast_platform.ensembles.grammar import BODY_OF, PARAMETERS, TASK_TYPES
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import fixed, json_schema, read_workflow, written
from forecast_platform.ensembles.sense import told
from forecast_platform.ensembles.units import duration_text, seconds_of
from forecast_platform.ensembles.yaml_lines import WorkflowError
from forecast_platform_tests.ensembles.workflows import EXAMPLE, text_of

LINES = EXAMPLE.splitlines()


def refused(text: str) -> list[str]:
    """Each fault of a text, as `line:column where: text`."""
    with pytest.raises(WorkflowError) as caught:
        read_workflow(text)
    return [f"{one.line}:{one.column} {one.where}: {one.text}" for one in caught.value.problems]


def test_the_example_of_every_guide_is_read_with_its_defaults() -> None:
    workflow = read_workflow(EXAMPLE)
    assert workflow.context.timeout == 900
    assert [one.name for one in workflow.context.metric.classification] == ["accuracy", "f1", "auc"]
    assert workflow.context.source.place == ("main", "credit_risk", "training_data")
    assert (workflow.context.folds, workflow.context.seed, workflow.context.fold_type) == (5, 42, ["stratified"])
    cluster, stack, vote = workflow.tasks
    assert (cluster.body().cluster.method, cluster.body().cluster.count) == ("kmeans", 3)
    assert (stack.body().top_n, stack.waits_for, vote.body().top_alg) == (5, ["route_cluster"], 3)


def test_a_vote_that_waits_for_nothing_votes_over_what_was_made_before_it() -> None:
    plan = plan_of(read_workflow(EXAMPLE))
    assert plan.order == ("route_cluster", "stack_top_any", "vote_top_alg")
    assert plan.needs["vote_top_alg"] == ("stack_top_any",)
    assert plan.above("vote_top_alg") == ["route_cluster", "stack_top_any"]
    assert plan.levels == [["route_cluster"], ["stack_top_any"], ["vote_top_alg"]]


@pytest.mark.parametrize("line", ["[accuracy f1 auc]", "accuracy f1 auc"])
def test_a_list_without_commas_is_refused_with_the_list_that_was_meant_and_fixed(line: str) -> None:
    text = EXAMPLE.replace("[accuracy, f1, auc]", line)
    [problem] = refused(text)
    assert problem.startswith("6:")
    assert "write [accuracy, f1, auc] with commas" in problem
    mended, told = fixed(text)
    assert read_workflow(mended) == read_workflow(EXAMPLE)
    assert told == [
        f"line 6: {line.strip('[]')} becomes {'accuracy, f1, auc' if '[' in line else '[accuracy, f1, auc]'}"
    ]


def test_several_lists_without_commas_are_all_told_and_fixed() -> None:
    text = EXAMPLE.replace("[accuracy, f1, auc]", "[accuracy f1]").replace("[stratified]\n", "[kfold stratified]\n")
    assert len(refused(text)) == 2
    assert read_workflow(fixed(text)[0]).context.fold_type == ["kfold", "stratified"]


@pytest.mark.parametrize("cluster", ["", " kmeans", "\n          kmeans:", " {kmeans: }"])
def test_a_cluster_with_nothing_under_it_has_its_defaults(cluster: str) -> None:
    text = EXAMPLE.replace("route: {cluster: {kmeans: {n_clusters: 3}}}", f"route:\n        cluster:{cluster}")
    found = read_workflow(text).tasks[0].body().cluster
    assert (found.method, found.count) == ("kmeans", 5)


@pytest.mark.parametrize("name", [name for name in TASK_TYPES if name != "route_feature"])
def test_a_task_with_nothing_under_its_parameters_has_their_defaults(name: str) -> None:
    bare = read_workflow(text_of({"task": name, BODY_OF[name]: None}))
    assert bare == read_workflow(text_of({"task": name}))
    assert bare.tasks[0].body() is not None


def test_two_bare_names_are_refused_as_the_one_text_that_they_are() -> None:
    text = EXAMPLE.replace(
        "route: {cluster: {kmeans: {n_clusters: 3}}}", "route:\n        cluster:\n          kmeans\n          bisect"
    )
    [problem] = refused(text)
    assert problem.startswith("14:11 obsrv.job[0].route.cluster: 'kmeans bisect' is one text")


def test_a_comment_mark_removed_beside_a_key_is_told_with_line_column_and_mend() -> None:
    text = EXAMPLE.replace(
        "route: {cluster: {kmeans: {n_clusters: 3}}}",
        "route:\n        cluster:\n          kmeans: options: n_clusters, default 5",
    )
    [problem] = refused(text)
    assert problem.startswith("14:")
    assert "if 'options: n_clusters, default 5' is a comment, write `#` before it" in problem


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("target: default_label", "target: on", "9:80 obsrv.context.source.target", 'quote it, "on"'),
        ("name: credit_risk_ensemble", "name: 2026-02-01", "3:11 obsrv.context.name", 'quote it, "2026-02-01"'),
        ("timeout: 15 minutes", "timeout: 1:30", "5:14 obsrv.context.timeout", "90 is also what YAML makes of 1:30"),
        ("timeout: 15 minutes", "timeout: 90", "5:14 obsrv.context.timeout", "has no unit"),
        ("timeout: 15 minutes", "timeout: 3 fortnights", "5:14 obsrv.context.timeout", "no unit of time"),
        ("timeout:", "timeuot:", "5:5 obsrv.context.timeuot", "did you mean 'timeout'?"),
        ("{top_n: 5}", "{top: 5}", "14:15 obsrv.job[1].stack.top", "did you mean 'top_n'?"),
        ("{top_n: 5}", "{top_alg: 5}", "14:15 obsrv.job[1].stack.top_alg", "belongs to stack_top_alg"),
        ("task: vote_top_alg", "task: vote_top_agl", "16:13 obsrv.job[2].task", "did you mean 'vote_top_alg'?"),
        ("{task: route_cluster}]", "{task: route_clusters}]", "15:27", "did you mean 'route_cluster'?"),
        ("size: 50000", "size: '50,000'", "7:20 obsrv.context.sample.size", "write the number plainly, 50000"),
        ("[accuracy, f1, auc]", "[accuracy, auk]", "6:41 obsrv.context.metric.classification[1]", "'auc'"),
        ("[accuracy, f1, auc]", "[AUC]", "6:31 obsrv.context.metric.classification[0]", "did you mean 'auc'?"),
        ("fold_type: [stratified]", "fold_type: [time_series]", "3:5 obsrv.context", "needs `time_col`"),
        ("target: default_label", "target: a, target: b", "9:", "stands here twice"),
        ("n_clusters: 3", "n_clusters: 3, k: 2", "12:49", "'k' is unknown here"),
        ("kmeans: {n_clusters: 3}", "kmeans: {}, bisect: {}", "12:24", "cluster names kmeans and bisect"),
        ("name: credit_risk_ensemble", "name: credit risk", "3:11", "such as credit_risk"),
        ("table: training_data, ", "", "9:13 obsrv.context.source", "source lacks table"),
        (", target: default_label", "", "9:5 obsrv.context.source", "`target` is missing"),
        ("table: training_data", "table: /srv/others/data", "9:57 obsrv.context.source.table", "no name of a table"),
        ("catalog: main", "catalog: ../main", "9:23 obsrv.context.source.catalog", "no name of a catalog"),
        (
            "timeout: 15 minutes",
            "time_col: default_label",
            "5:15 obsrv.context.time_col",
            "is the target, which orders",
        ),
        ("timeout: 15 minutes", "bases: [linear, lightgmb]", "5:21 obsrv.context.bases[1]", "did you mean 'lightgbm'?"),
        ("timeout: 15 minutes", "bases: [linear gbm]", "5:13 obsrv.context.bases[0]", "write linear, gbm with commas"),
        (
            "task: vote_top_alg",
            "task: boost\n      id: Route_Cluster\n    - task: vote_top_alg",
            "17:11",
            "are one name to",
        ),
    ],
)
def test_a_fault_is_told_where_it_stands_with_its_mend(old: str, new: str, place: str, said: str) -> None:
    assert old in EXAMPLE
    [problem] = refused(EXAMPLE.replace(old, new))
    assert problem.startswith(place)
    assert said in problem


def test_routes_that_no_model_is_fitted_by_are_told() -> None:
    assert told(read_workflow(EXAMPLE)) == []
    [routes] = told(read_workflow(EXAMPLE[: EXAMPLE.index("    - task: stack_top_any")]))
    assert routes.startswith("the workflow has routes only, of which no model is made")
    alone = EXAMPLE.replace("      depends_on: [{task: route_cluster}]\n", "")
    [note] = told(read_workflow(alone))
    assert note.startswith("nothing depends on route_cluster: no model is fitted by its routes")
    assert told(read_workflow(alone.replace("[stratified]\n    source", "[grouped]\n    source"))) == []


def test_what_can_be_fixed_by_quoting_is_fixed() -> None:
    text = EXAMPLE.replace("target: default_label", "target: on").replace("credit_risk_ensemble", "2026-02-01")
    workflow = read_workflow(fixed(text)[0])
    assert (workflow.context.source.target, workflow.context.name) == ("on", "2026-02-01")


def test_columns_whose_names_yaml_takes_for_something_else_are_told_and_fixed() -> None:
    source = "{path: a.csv, target: late, features: {include: [on, 2020, {feature: 2020-01-01, transform: scale}]"
    text = f"""obsrv:
  context:
    name: columns
    source: {source}, exclude: [no]}}}}
  job:
    - task: route_feature
      route: {{feature: off}}
"""
    problems = refused(text)
    assert [one.partition(": ")[2].partition(",")[0] for one in problems] == [
        "on is a bool in YAML", "2020 is an int in YAML", "2020-01-01 is a date in YAML", "no is a bool in YAML",
        "off is a bool in YAML",
    ]  # fmt: skip
    assert [one.partition(":")[0] for one in problems] == ["4"] * 4 + ["7"]
    workflow = read_workflow(fixed(text)[0])
    features = workflow.context.source.features
    assert [*(one.feature for one in features.include), *features.exclude] == ["on", "2020", "2020-01-01", "no"]
    assert workflow.tasks[0].body().feature == "off"


def test_a_type_that_is_used_twice_needs_ids() -> None:
    twice = [{"task": "boost", "boost": {"method": "xgboost"}}, {"task": "boost"}]
    [problem] = refused(text_of(*twice))
    assert "two tasks are named 'boost' (the other in line" in problem
    named = read_workflow(text_of({**twice[0], "id": "first"}, {**twice[1], "id": "second", "depends_on": ["first"]}))
    assert plan_of(named).order == ("first", "second")


def test_a_circle_and_an_unknown_name_are_each_told_as_what_they_are() -> None:
    one = {"task": "boost", "id": "a", "depends_on": [{"task": "b"}]}
    two = {"task": "boost", "id": "b", "depends_on": [{"task": "a"}]}
    [problem] = refused(text_of(one, two))
    assert "wait for one another: a -> b -> a" in problem
    [problem] = refused(text_of(one))
    assert "there is no task 'b'" in problem


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 seconds", 90), ("1 hour", 3600), ("1.5h", 5400), ("15 min", 900), (".00005 s", 5e-5)]
)
def test_a_duration_is_what_it_says(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert seconds_of(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "obsrv", "- a", "obsrv: {context: &a {x: *a}, job: []}", "a: \x00", "{", "[" * 500]
)
def test_what_is_no_workflow_is_refused_without_a_traceback(text: str) -> None:
    assert refused(text)


def test_every_task_type_has_parameters_that_the_schema_names() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Task"]["properties"]["task"]["enum"]) == set(TASK_TYPES)
    for name, taken in PARAMETERS.items():
        assert set(taken) <= set(schema["$defs"][BODY_OF[name].title()]["properties"])
        needs = {"route": {"feature": "x"}} if name == "route_feature" else {}
        assert read_workflow(text_of({"task": name, **needs})).tasks[0].task == name


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_an_average_is_named_and_written_back(average: str) -> None:
    workflow = read_workflow(text_of({"task": "boost"}, metric={"classification": [{"f1": average}, "auc"]}))
    assert workflow.context.metric.classification[0].average == average
    assert read_workflow(written(workflow)) == workflow


VALUES = {
    "top_n": st.integers(-1, 6), "top_alg": st.integers(0, 4), "top_n_alg": st.integers(0, 4),
    "levels": st.integers(0, 4), "blend": st.integers(0, 4), "holdout": st.floats(-0.1, 1.0),
    "classwise": st.integers(0, 3), "meta": st.sampled_from(["auto", "logistic", "ridge", "tree"]),
    "method": st.sampled_from(["gbm", "tf", "xgbost", "tabnet"]), "mix": st.sampled_from(["mean", "mode", "majority"]),
    "weight_col": st.text(max_size=5), "feature": st.text(max_size=5), "bins": st.integers(0, 9),
    "partition": st.sampled_from(["random", "sequence", "else"]), "parts": st.integers(0, 9),
    "cluster": st.sampled_from(
        [None, "kmeans", "kmeans bisect", 3, {"mixture": {"n_components": 2}}, {"agglom": None}]
    ),
}  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c", "route_cluster", "boost"])


@st.composite
def tasks(draw) -> dict:
    kind = draw(st.sampled_from([*TASK_TYPES, "boots"]))
    body = BODY_OF.get(kind, "stack")
    names = draw(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=True))
    made = {"task": kind, body: {name: draw(VALUES[name]) for name in names} or draw(st.sampled_from([None, {}]))}
    if draw(st.booleans()):
        made["id"] = draw(NAMES)
    if draw(st.booleans()):
        made["depends_on"] = draw(st.lists(st.one_of(NAMES, NAMES.map(lambda name: {"task": name})), max_size=2))
    return made


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
CONTEXT_KEYS = st.sampled_from(
    [
        *(
            "compute",
            "timeout",
            "metric",
            "sample",
            "fold_type",
            "folds",
            "seed",
            "time_col",
            "bases",
            "register",
            "other",
        )
    ]
)


@settings(max_examples=60)
@given(st.lists(tasks(), max_size=3), st.dictionaries(CONTEXT_KEYS, JSON, max_size=2))
def test_made_workflows_are_read_or_refused_and_never_crash(made: list, extra: dict) -> None:
    text = text_of(*made, **extra)
    problems, workflow = [], None
    try:
        workflow = read_workflow(text)
    except WorkflowError as error:
        problems = error.problems
    if workflow is None:
        lines = text.count("\n") + 1
        assert problems
        assert all(1 <= one.line <= lines and one.column >= 1 and one.text for one in problems)
        return
    assert read_workflow(written(workflow)) == workflow
    plan = plan_of(workflow)
    place = {name: number for number, name in enumerate(plan.order)}
    assert all(place[one] < place[name] for name, needs in plan.needs.items() for one in needs)


@settings(max_examples=60)
@given(
    st.integers(0, len(EXAMPLE) - 1), st.sampled_from(["", ":", "#", "\t", "]", "{", "&a ", "*a ", "!x ", "\n", "'"])
)
def test_a_text_with_one_character_changed_is_read_or_refused(place: int, new: str) -> None:
    try:
        read_workflow(EXAMPLE[:place] + new + EXAMPLE[place + 1 :])
    except WorkflowError as error:
        found = error.problems
    else:
        return
    assert found


def test_the_order_of_keys_does_not_matter() -> None:
    values = yaml.safe_load(EXAMPLE)["obsrv"]
    for order in itertools.permutations(values):
        assert read_workflow(yaml.safe_dump({"obsrv": {key: values[key] for key in order}}, sort_keys=False)) == (
            read_workflow(EXAMPLE)
        )
