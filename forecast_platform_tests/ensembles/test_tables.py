"""Tables as they come: their types and names, in what is fitted, in the tables that are left, and in the model."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles.grammar import Workflow
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.packaging import best_end, model_of
from forecast_platform.ensembles.plain import plain_table, usable_names
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.rows import RowsError, make_rows
from forecast_platform.ensembles.running import Run
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.workflows import text_of

ROUTE = {"task": "route_cluster", "route": {"cluster": {"kmeans": {"n_clusters": 2}}}}


def rows(n: int = 120) -> pd.DataFrame:
    """Two numbers and a text, and a target that follows from the first."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "kind": rng.choice(list("xyz"), n)})
    return frame.assign(target=np.where(frame["a"] > 0, "yes", "no"))


def workflow(path: Path | str = "table.parquet", *tasks: dict, **context) -> Workflow:
    source = {"path": str(path), **context.pop("source", {})}
    tasks = tasks or (ROUTE, {"task": "vote_mix"})
    return read_workflow(text_of(*tasks, source=source, bases=["linear", "xgboost_small"], **context))


def finished(frame: pd.DataFrame, folder: Path, *tasks: dict, **context) -> Run:
    """A workflow over a frame, all tasks done."""
    platform = Platform.from_settings(build(warehouse=folder / "warehouse", source="sample", workers=1))
    run = Run(platform, workflow(folder / "table.parquet", *tasks, **context), frame)
    for name in run.plan.order:
        run.perform(name)
    return run


def loaded(run: Run, folder: Path):
    """The run's model as MLflow loads it."""
    from mlflow.pyfunc import load_model

    for name, data in model_of(run, run.outcomes(), {})[2].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return load_model(str(folder))


def test_decimals_are_numbers_and_days_are_times() -> None:
    days = [None, dt.date(9999, 12, 31), *(dt.date(2024, 1, 1) + dt.timedelta(days=one) for one in range(118))]
    prices = [Decimal(one) / 4 for one in range(120)]
    frame = rows().assign(day=days, price=prices, paid=[None, *prices[1:]])
    made = make_rows(frame, workflow(target="price").context)
    assert made.classes is None
    assert made.y.tolist() == [one / 4 for one in range(120)]
    assert made.features["paid"].tolist()[1:] == [one / 4 for one in range(1, 120)]
    assert made.features["day__weekday"].tolist()[1:4] == [4.0, 0.0, 1.0]
    assert np.isnan(made.features["day__day"][0])
    ordered = frame.drop(index=[0, 1])
    in_order = make_rows(ordered, workflow(time_col="day", fold_type=["time_series"]).context)
    assert (np.diff(in_order.time) == np.timedelta64(1, "D")).all()


def test_the_times_of_a_csv_file_are_times_where_each_value_is_one(tmp_path: Path) -> None:
    frame = rows().assign(
        day=[None, *(f"2024-01-{1 + one % 28:02d}" for one in range(119))],
        at=[f"2024-01-01 00:{one % 60:02d}:00" for one in range(120)],
        most=["2024-01-01"] * 119 + ["soon"],
        none=["2024-13-01"] * 60 + ["2024-12-01"] * 60,
        code=["20240101", "20240102"] * 60,
    )
    frame.to_csv(tmp_path / "table.csv", index=False)
    platform = Platform.from_settings(build(warehouse=tmp_path / "warehouse", source="sample"))
    found = Run(platform, workflow(tmp_path / "table.csv")).frame
    assert [name for name in found if found[name].dtype.kind == "M"] == ["day", "at"]
    assert found["day"][1] == pd.Timestamp("2024-01-01")
    assert found["most"].tolist() == frame["most"].tolist()


def test_a_csv_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    platform = Platform.from_settings(build(warehouse=tmp_path / "warehouse", source="sample"))
    path = tmp_path / "table.csv"
    path.write_text("a,b,a,,,target\n1,2,3,4,5,x\n4,5,6,7,8,y\n")
    with pytest.raises(RowsError, match="more than one column is called 'a': mend the file"):
        Run(platform, workflow(path)).frame  # noqa: B018 - what is asked for is read
    path.write_text("a,b,a.1,,,target\n1,2,3,4,5,x\n4,5,6,7,8,y\n")
    assert list(Run(platform, workflow(path)).frame)[:3] == ["a", "b", "a.1"]


def test_numbers_that_learners_cannot_hold_are_missing_and_told() -> None:
    frame = rows()
    frame.loc[3, "a"], frame.loc[4, "a"], frame.loc[5, "a"] = 1e300, -np.inf, np.nan
    made = make_rows(frame, workflow().context)
    assert made.features["a"].isna().tolist() == [3 <= one <= 5 for one in range(120)]
    assert "a: 2 numbers beyond 3e+38 are taken as missing" in made.notes


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"include": ["a", "target"]}, "'target' is the target: leave it out of features.include"),
        ({"include": ["a", "b"], "exclude": ["b"]}, "'b' is both included and excluded"),
        ({"include": ["a", {"feature": "a", "transform": ["scale"]}]}, "'a' is included twice"),
        ({"include": ["a", {"feature": "kind", "transform": ["scale"]}]}, "'kind' is no number: leave out its transf"),
        ({"include": ["a", {"feature": "day", "transform": ["scale"]}]}, "'day' is no number: leave out its transform"),
    ],
)
def test_a_choice_of_features_that_says_two_things_is_refused(features: dict, said: str) -> None:
    frame = rows().assign(day=pd.date_range("2024-01-01", periods=120))
    with pytest.raises(RowsError, match=said):
        make_rows(frame, workflow(source={"features": features}).context)


def test_labels_that_are_written_alike_are_refused() -> None:
    with pytest.raises(RowsError, match="labels that are written alike"):
        make_rows(rows().assign(target=[1, "1"] * 60), workflow().context)


def test_ends_are_compared_on_the_rows_that_all_have_predicted(tmp_path: Path) -> None:
    # The blend is good on its holdout, which is easy: there the vote, which errs elsewhere, is better still.
    platform = Platform.from_settings(build(warehouse=tmp_path / "warehouse", source="sample"))
    asked = workflow("table.parquet", {"task": "stack_blend"}, {"task": "vote_mix"}, metric={"regression": ["mae"]})
    run = Run(platform, asked, rows().assign(target=np.arange(120.0)))
    off, blended = np.where(np.arange(120) < 90, 9.0, 0.5), np.full((120, 1), np.nan)
    blended[90:, 0] = run.rows.y[90:] + 1.0
    outcomes = {
        "stack_blend": Outcome("stack_blend", "stack_blend", node={}, predicted=blended, scores={"mae": 1, "rows": 30}),
        "vote_mix": Outcome(
            "vote_mix", "vote_mix", node={}, predicted=(run.rows.y + off)[:, None], scores={"mae": 6.9, "rows": 120}
        ),
    }
    assert best_end(run, outcomes).task == "vote_mix"


def test_names_are_told_apart_as_delta_compares_them() -> None:
    names = ["x y", "x_y", "X_Y", "cluster_id", "a.b", "t(s)"]
    assert usable_names(names, ["cluster_id"]) == ["x_y", "x_y_2", "X_Y_3", "cluster_id_2", "a.b", "t_s_"]


def test_a_table_of_routes_holds_each_value_as_it_was(tmp_path: Path) -> None:
    big = 2**62 + 1
    frame = rows().assign(
        id=np.arange(120) + big, unsigned=np.arange(120).astype("uint64") + np.uint64(2**63 + 1), A=1.5,
        tags=[[1, None]] * 120, about=[{"x": 1}] * 120, raw=[b"\xff\x00"] * 120, mixed=["1", 2] * 60,
        at=pd.date_range("2024-01-01", periods=120, tz="UTC"), day=[dt.date(2024, 1, 1)] * 120,
        price=[Decimal("1.25")] * 120, time=[dt.time(1, 2)] * 120, cluster_id=["own"] * 120,
        level=pd.Categorical(["u", "v"] * 60), nothing=None,
    ).rename(columns={"b": "b c"})  # fmt: skip
    table, data = plain_table("a.b.c", "", frame, {"cluster_id": np.zeros(120, np.int32)})
    first = {name: data[name][0].as_py() for name in data.column_names}
    assert first.pop("at") == dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    wanted = {
        "id": big, "unsigned": str(2**63 + 1), "A_2": 1.5, "tags": "[1, null]", "about": '{"x": 1}', "raw": "ff00",
        "mixed": "1", "day": dt.date(2024, 1, 1), "price": 1.25, "time": "01:02:00.000000", "cluster_id_2": "own",
        "level": "u", "nothing": None, "cluster_id": 0, "b_c": frame["b c"][0],
    }  # fmt: skip
    assert {name: first[name] for name in wanted} == wanted
    assert {one.name: one.type for one in table.columns}["id"] == "long"
    run = finished(frame.drop(columns=["mixed", "tags", "about"]), tmp_path, ROUTE)
    name = "ensembles.files.table_clustered_small_route_cluster"
    kept = run.platform.warehouse.read(plain_table(name, "", frame.drop(columns=["mixed", "tags", "about"]),
                                                   {"cluster_id": np.zeros(120, np.int32)})[0])  # fmt: skip
    assert sorted(kept["id"].to_pylist()) == (np.arange(120) + big).tolist()
    assert sorted(kept["cluster_id"].to_pylist()) == sorted(run.outcomes()["route_cluster"].cells.tolist())


def test_a_source_that_has_other_columns_now_leaves_tables_of_those(tmp_path: Path) -> None:
    finished(rows(), tmp_path, ROUTE, {"task": "vote_mix"})
    frame = rows().drop(columns="b").assign(new="n", target=np.arange(120.0))
    run = finished(frame, tmp_path, ROUTE, {"task": "vote_mix"})
    warehouse = run.platform.warehouse
    made = {one.short_name: warehouse.read(one) for one in warehouse.tables() if one.name.startswith("ensembles.files")}
    names = made["table_clustered_small_route_cluster"].column_names
    assert names == ["a", "kind", "target", "new", "cluster_id"]
    predictions = made["oof_predictions_small_vote_mix"]
    assert predictions.column_names == ["row", "target", "ensemble", "model_0", "model_1"]
    assert predictions["target"].to_pylist() == np.arange(120.0).tolist()


@pytest.mark.slow
def test_a_model_takes_the_rows_that_it_was_made_of_and_new_ones_of_the_same_meaning(tmp_path: Path) -> None:
    frame = rows().assign(
        count=pd.array([None, *range(119)], dtype="Int64"), yes=pd.array([None, *[True] * 119], dtype="boolean"),
        level=pd.Categorical(["u", "v"] * 60), whole=np.arange(120) % 7, share=np.linspace(0, 1, 120),
        price=[Decimal(one) / 4 for one in range(120)], at=pd.date_range("2024-01-01", periods=120, tz="UTC"),
        day=[dt.date(2024, 1, 1 + one % 28) for one in range(120)], time=[dt.time(1), dt.time(2)] * 60,
        unsigned=np.arange(120).astype("uint64"), raw=[b"\xff", b"a"] * 60,
    )  # fmt: skip
    run = finished(frame, tmp_path, {"task": "vote_mix"})
    model = loaded(run, tmp_path / "model")
    found = model.predict(frame)
    assert (found["prediction"] == frame["target"]).mean() > 0.9
    # Numbers may come whole, or with gaps where there were none; a table without rows is none to predict.
    other = frame.assign(share=frame["share"].round().astype(int), whole=frame["whole"].astype(float))
    other.loc[:5, "whole"] = np.nan
    assert len(model.predict(other)) == 120
    assert list(model.predict(frame.head(0)).columns) == ["prediction", "probability_no", "probability_yes"]
    with pytest.raises(RowsError, match="the column 'share' was of numbers when the model was fitted"):
        model.predict(frame.assign(share="much"))
    example = json.loads((tmp_path / "model" / "input_example.json").read_text())
    shown = pd.DataFrame(example["data"], columns=example["columns"])
    assert model.predict(shown.assign(at=pd.to_datetime(shown["at"])))["prediction"].tolist() == (
        found["prediction"][:5].tolist()
    )
