"""What the tasks of a run find out once: fits' predictions, scores, routers; and that it changes no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast_platform.ensembles import memory as memories
from forecast_platform.ensembles.folds import of_rows
from forecast_platform.ensembles.memory import Memory
from forecast_platform.ensembles.metrics import Scorer
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.routing import Router
from forecast_platform.ensembles.rows import make_rows
from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.source_files import read_parquet
from forecast_platform.ensembles.store import FileStore, States
from forecast_platform.ensembles.tasks import perform
from forecast_platform.ensembles.workshop import Workshop
from forecast_platform.models.saved import to_bytes, to_parts
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import MemoryStore, classes
from forecast_platform_tests.ensembles.workflows import text_of

TASKS = (
    {"task": "route_cluster", "route": {"cluster": {"kmeans": {"n_clusters": 2}}}},
    {"task": "stack_top_any", "stack": {"top_n": 2}, "depends_on": ["route_cluster"]},
    {"task": "vote_weight", "depends_on": ["stack_top_any"]},
    {"task": "vote_mix", "depends_on": ["stack_top_any"]},
)


def outcomes_of(memory: Memory | None) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """The outcomes of the tasks, and of each how often it read a fit, scored a model and fitted a router; memory: that
    of all tasks, a new one for each where there is none."""
    workflow = read_workflow(text_of(*TASKS, bases=["linear", "neighbours"], folds=2))
    rows = make_rows(classes(), workflow.context)
    folds, store, plan = {"folds": rows.folds(workflow.context)}, MemoryStore(), plan_of(workflow)
    outcomes: dict[str, Any] = {}
    counts: dict[str, dict[str, int]] = {}
    with pytest.MonkeyPatch.context() as patched:
        for name in plan.order:
            counted = counts[name] = {"reads": 0, "scores": 0, "routers": 0}

            def counting(what: str, real: Any, counted: dict[str, int] = counted) -> Any:
                def call(*arguments: Any) -> Any:
                    counted[what] += 1
                    return real(*arguments)

                return call

            patched.setattr(MemoryStore, "get", counting("reads", lambda own, key: own.kept.get(key)))
            patched.setattr(Scorer, "__call__", counting("scores", SCORE))
            patched.setattr(Router, "fit", counting("routers", FIT))
            shop = Workshop(workflow.context, rows, folds, store, memory=memory or Memory())
            outcomes[name] = perform(shop, workflow, plan, name, outcomes)
    return outcomes, counts


SCORE, FIT = Scorer.__call__, Router.fit


def test_tasks_after_the_first_read_no_fit_again_and_fit_no_router_and_come_to_the_same() -> None:
    shared, few = outcomes_of(Memory())
    alone, many = outcomes_of(None)
    for name, one in shared.items():
        other = alone[name]
        timed = {"seconds", "cpu_seconds", "fits", "members"}
        assert {k: v for k, v in one.to_dict().items() if k not in timed} == {
            k: v for k, v in other.to_dict().items() if k not in timed
        }
        for mine, theirs in zip(one.members, other.members, strict=True):
            assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}
        if one.predicted is not None:
            assert np.array_equal(one.predicted, other.predicted)
    assert [few[name]["reads"] for name in ("vote_weight", "vote_mix")] == [0, 0]
    assert [many[name]["reads"] for name in ("vote_weight", "vote_mix")] == [8, 8]
    assert [one["routers"] for one in few.values()] == [2, 0, 0, 0]
    assert few["vote_mix"]["scores"] + 20 < many["vote_mix"]["scores"], "those of base models are known"


def test_what_is_too_large_to_remember_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "_MOST_HELD", 0)
    _, counts = outcomes_of(Memory())
    assert counts["vote_mix"]["reads"] == 8


def test_a_run_hands_its_memory_from_task_to_task_and_forgets_it_where_a_task_is_done_again(tmp_path: Path) -> None:
    settings = build(warehouse=tmp_path / "warehouse", source="sample", workers=1)
    both = {"task": "vote_mix"}, {"task": "vote_weight", "depends_on": ["vote_mix"]}
    workflow = read_workflow(text_of(*both, bases=["linear"], folds=2))
    run = Run(Platform.from_settings(settings), workflow, classes())
    run.perform("vote_mix")
    memory = run.workshop().memory
    assert len(memory.fits) == 2
    assert run.workshop().memory is memory
    [fit] = run.store.root.rglob("1.zip")
    fit.unlink()
    reads: list[None] = []
    real = States.read
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(States, "read", lambda own: (reads.append(None), real(own))[1])
        assert list(run.outcomes()) == ["vote_mix"]
        assert not run.perform("vote_mix").fresh
    assert len(reads) == 2, "once for each, however many tasks there are"
    run.perform("vote_mix", again=True)
    assert fit.is_file(), "a fit that is gone is made anew"


def test_a_large_file_is_read_a_column_at_a_time_to_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = classes().assign(
        day=pd.date_range("2020-01-01", periods=len(classes()), tz="UTC"), level=pd.Categorical(["a", "b", "c"] * 80)
    )
    frame["whole"] = pd.array([1, None, 3] * 80, dtype="Int64")
    for number, index in enumerate((None, pd.RangeIndex(5, 245), [f"row {one}" for one in range(240)])):
        path = tmp_path / f"{number}.parquet"
        (frame if index is None else frame.set_index(pd.Index(index))).to_parquet(path, row_group_size=90)
        small = read_parquet(path)
        with monkeypatch.context() as patched:
            patched.setattr("forecast_platform.ensembles.source_files.LARGE", 0)
            large = read_parquet(path)
        pd.testing.assert_frame_equal(large.reset_index(drop=True), small.reset_index(drop=True))
        pd.testing.assert_frame_equal(large.reset_index(drop=True), frame)


@pytest.mark.parametrize("large", [0, 10**9])
def test_an_index_that_has_a_name_is_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr("forecast_platform.ensembles.source_files.LARGE", large)
    days = pd.date_range("2024-01-01", periods=240, name="day")
    classes().set_index(days).to_parquet(tmp_path / "named.parquet")
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "named.parquet"), classes().set_index(days).reset_index())


@pytest.mark.parametrize("large", [0, 10**9])
def test_two_columns_of_one_name_are_refused_and_a_name_like_a_field_s_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr("forecast_platform.ensembles.source_files.LARGE", large)
    values = [pa.array(range(30)), pa.array([9.0] * 30), pa.array([0, 1] * 15)]
    pq.write_table(pa.Table.from_arrays(values, ["a", "a", "t"]), tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="more than one column is called 'a'"):
        read_parquet(tmp_path / "twice.parquet")
    field = pa.array([{"b": one} for one in range(30)])
    pq.write_table(pa.Table.from_arrays([field, values[1], values[2]], ["a", "a.b", "t"]), tmp_path / "dots.parquet")
    found = read_parquet(tmp_path / "dots.parquet")
    assert list(found.columns) == ["a", "a.b", "t"]
    assert found["a.b"].tolist() == [9.0] * 30


def test_of_all_rows_nothing_is_copied() -> None:
    values = np.arange(6.0).reshape(3, 2)
    assert of_rows(values, np.arange(3)) is values
    assert np.array_equal(of_rows(values, np.array([0, 2])), values[[0, 2]])


def test_what_is_kept_has_the_hash_that_is_told_of_it_and_a_changed_byte_is_no_bundle(tmp_path: Path) -> None:
    store = FileStore(build(warehouse=tmp_path / "warehouse", source="sample"), "small")
    files = {"about.json": b"{}", "cell_-1/model.ubj": bytes(range(256)) * 40, "empty": b""}
    assert store.put_hashed("fit/0", files) == store.digest("fit/0")
    assert store.get("fit/0") == files
    assert store.path("fit/0").read_bytes() == to_bytes(files)
    parts = to_parts(files)
    assert any(one is files["cell_-1/model.ubj"] for one in parts), "it is not copied"
    data = bytearray(store.path("fit/0").read_bytes())
    data[data.index(b"\x10\x11\x12")] ^= 1
    store.path("fit/0").write_bytes(data)
    assert store.get("fit/0") is None, "it is made anew"
