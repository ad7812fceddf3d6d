"""A workflow over a warehouse: tables, states, what is done again and what not; the model in another process."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.cli.main import main
from forecast_platform.ensembles import catalog
from forecast_platform.ensembles.finishing import UntrackedError, experiment_name, export_model, finish, result_of
from forecast_platform.ensembles.packaging import Ensemble, PackageError
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import MODEL, EarlierTaskError, Run
from forecast_platform.ensembles.store import FAILED, FINISHED, States, states_table
from forecast_platform.host import process_identity
from forecast_platform.host.mlflow_store import PROCESS_TAG, client_of, client_with
from forecast_platform.settings import Settings, build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes
from forecast_platform_tests.ensembles.workflows import text_of

pytestmark = pytest.mark.slow

TASKS = (
    {"task": "route_cluster", "route": {"cluster": {"kmeans": {"n_clusters": 2}}}},
    {"task": "stack_top_any", "stack": {"top_n": 2}, "depends_on": [{"task": "route_cluster"}]},
    {"task": "vote_weight"},
)


CHILDREN = {
    "route_cluster": ("route_cluster_clustering", ["cluster_model"]),
    "stack_top_any": ("stack_top_any_stacking", ["meta_learner"]),
    "vote_weight": ("vote_weight_voting", []),
}
"""Of each task its run in MLflow, and the artifacts that others look for there."""


def milliseconds(when: dt.datetime) -> int:
    """As MLflow has a time."""
    return int(when.timestamp() * 1000)


def world(folder: Path) -> Settings:
    """Settings over a fresh warehouse, beside a table of 240 rows."""
    classes().to_parquet(folder / "table.parquet")
    return build(warehouse=folder / "warehouse", source="sample", workers=1)


def text_at(folder: Path, *tasks: dict, **context) -> str:
    context.setdefault("bases", ["linear", "xgboost"])
    return text_of(*(tasks or TASKS), source={"path": str(folder / "table.parquet")}, **context)


def run_of(folder: Path, settings: Settings, *tasks: dict, **context) -> Run:
    return Run(Platform.from_settings(settings), read_workflow(text_at(folder, *tasks, **context)))


def all_done(run: Run) -> list[int]:
    """Do every task; how many fits each made now."""
    found = []
    for name in run.plan.order:
        done = run.perform(name)
        found.append(done.outcome.fits if done.fresh else -1)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    """A finished workflow."""
    folder = tmp_path_factory.mktemp("ensembles")
    settings = world(folder)
    run = run_of(folder, settings, register=True)
    all_done(run)
    client, experiment = client_with(settings, experiment_name(run))
    client.create_run(experiment, tags={PROCESS_TAG: process_identity.nobody()}, run_name="killed")
    finish(run)
    return folder, settings


def test_tables_hold_each_row_s_route_and_its_out_of_fold_predictions(finished: tuple[Path, Settings]) -> None:
    from deltalake import DeltaTable

    folder, settings = finished
    tables = settings.warehouse / "ensembles" / "files"
    routed = DeltaTable(str(tables / "table_clustered_small_route_cluster")).to_pandas()
    assert len(routed) == 240
    assert set(routed["cluster_id"]) == {0, 1}
    assert set(classes().columns) < set(routed.columns)
    stacked = DeltaTable(str(tables / "oof_predictions_small_stack_top_any")).to_pandas()
    assert sorted(stacked["row"]) == list(range(240))
    models = [name for name in stacked.columns if name.startswith("model_0_class_")]
    assert len(models) == 3
    assert stacked[models].sum(axis=1).to_numpy() == pytest.approx(np.ones(240))
    assert stacked["target"].tolist() == classes()["target"].iloc[stacked["row"]].tolist()


def test_what_is_finished_is_not_done_again_unless_something_changed(finished: tuple[Path, Settings]) -> None:
    folder, settings = finished
    again = run_of(folder, settings)
    assert all_done(again) == [-1, -1, -1]
    assert finish(again).fresh is False
    other = list(TASKS)
    other[1] = {**TASKS[1], "stack": {"top_n": 1}}
    changed = run_of(folder, settings, *other)
    assert changed.finished("route_cluster") is not None
    assert changed.finished("stack_top_any") is None
    assert changed.finished("vote_weight") is None, "it builds on what changed"
    seeded = run_of(folder, settings, seed=7)
    assert [seeded.finished(name) for name in seeded.plan.order] == [None, None, None]


def test_another_version_of_a_library_makes_all_tasks_stale(
    finished: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = finished
    real = catalog.distribution_of
    newer = lambda module: ("scikit-learn", "99.1") if module == "sklearn" else real(module)  # noqa: E731
    monkeypatch.setattr(catalog, "distribution_of", newer)
    run = run_of(folder, settings)
    assert [run.finished(name) for name in run.plan.order] == [None, None, None]
    monkeypatch.undo()
    again = run_of(folder, settings)
    assert all(again.finished(name) for name in again.plan.order)


def test_a_model_is_registered_also_where_that_is_asked_for_later(tmp_path: Path) -> None:
    settings = world(tmp_path)
    vote = {"task": "vote_mix"}
    first = run_of(tmp_path, settings, vote)
    assert all_done(first) == [10]
    assert finish(first).registered == ""
    later = run_of(tmp_path, settings, vote, register=True)
    assert all_done(later) == [-1], "nothing is fitted for it"
    assert finish(later).registered == "ensembles.files.small"
    assert not finish(later).fresh


def test_a_changed_table_makes_all_tasks_stale(tmp_path: Path) -> None:
    settings = world(tmp_path)
    first = run_of(tmp_path, settings, {"task": "stack_top_any"}, bases=["linear"])
    all_done(first)
    frame = classes()
    frame.loc[3, "b"] += 1
    frame.to_parquet(tmp_path / "table.parquet")
    assert run_of(tmp_path, settings, {"task": "stack_top_any"}, bases=["linear"]).finished("stack_top_any") is None


def test_an_export_that_fails_in_the_middle_leaves_no_half_model_under_the_name(
    finished: tuple[Path, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = finished
    written, real = [], Path.write_bytes

    def until_full(path: Path, data: bytes) -> int:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        return real(path, data)

    run = run_of(folder, settings)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", until_full)
        with pytest.raises(OSError, match="No space"):
            export_model(run, tmp_path / "model")
    assert written
    assert list(tmp_path.iterdir()) == []
    assert (export_model(run_of(folder, settings), tmp_path / "model") / "MLmodel").is_file()


def test_the_model_gives_the_same_predictions_in_a_fresh_process(
    finished: tuple[Path, Settings], tmp_path: Path
) -> None:
    folder, settings = finished
    exported = export_model(run_of(folder, settings), tmp_path / "model")
    rows = classes(seed=9).drop(columns="target")
    rows.to_parquet(tmp_path / "rows.parquet")
    here = Ensemble.load(exported / "ensemble").predict(rows)
    code = (
        "import sys, mlflow.pyfunc as p, pandas as pd; m = p.load_model(sys.argv[1]); "
        "m.predict(pd.read_parquet(sys.argv[2])).to_parquet(sys.argv[3]); print(m.metadata.get_input_schema())"
    )
    arguments = [str(exported), str(tmp_path / "rows.parquet"), str(tmp_path / "out.parquet")]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), here)
    assert set(here["prediction"]) <= {"high", "low", "side"}
    assert (here["prediction"] == classes(seed=9)["target"]).mean() > 0.7
    assert "'many'" in done.stdout or "many" in done.stdout
    assert (exported / "input_example.json").is_file()
    assert f"xgboost-cpu=={version('xgboost-cpu')}\n" in (exported / "requirements.txt").read_text()


def test_a_model_whose_file_was_exchanged_is_not_opened(finished: tuple[Path, Settings], tmp_path: Path) -> None:
    folder, settings = finished
    exported = export_model(run_of(folder, settings), tmp_path / "model")
    [first, *_] = sorted((exported / "ensemble" / "fits").iterdir())
    first.write_bytes(first.read_bytes() + b" ")
    with pytest.raises(PackageError, match="is not the file that the model was made with"):
        Ensemble.load(exported / "ensemble").predict(classes().drop(columns="target"))


def test_the_result_is_tracked_and_its_report_says_how_routing_did(finished: tuple[Path, Settings]) -> None:
    folder, settings = finished
    result = result_of(run_of(folder, settings))
    assert result is not None
    client = client_of(settings.tracking_uri)
    experiment = client.get_experiment_by_name("/Experiments/ensemble_small")
    runs = {one.info.run_name for one in client.search_runs([experiment.experiment_id])}
    assert runs == {"small", "killed", "route_cluster_clustering", "stack_top_any_stacking", "vote_weight_voting"}
    states = {one.info.run_name: one.info.status for one in client.search_runs([experiment.experiment_id])}
    assert states.pop("killed") == "KILLED", "the next run closes it"
    assert set(states.values()) == {"FINISHED"}
    tasks = {one.info.run_name: one.info for one in client.search_runs([experiment.experiment_id])}
    kept = States(Platform.from_settings(settings).warehouse, run_of(folder, settings).workflow.context).read()
    for name, (run_name, artifact) in CHILDREN.items():
        info = tasks[run_name]
        assert (info.start_time, info.end_time) == (
            milliseconds(kept[name].started_at),
            milliseconds(kept[name].finished_at),
        )
        names = {one.path for one in client.list_artifacts(info.run_id)}
        assert names >= {"base_models.json", "result_metadata.json", *artifact}
    assert result.registered == "ensembles.files.small"
    [version] = client.search_model_versions(f"name = '{result.registered}'")
    assert version.run_id == result.mlflow_run_id
    text = Path(result.report).read_text(encoding="utf-8")
    for word in ("Ensembles against the best single model", "unrouted on the same folds", "Calibration", "importance"):
        assert word in text


def test_mlflow_s_damage_costs_the_record_and_not_the_model(tmp_path: Path) -> None:
    settings = world(tmp_path)
    run = run_of(tmp_path, settings, {"task": "vote_weight"}, bases=["linear"], folds=2)
    all_done(run)
    client_with(settings, experiment_name(run))
    database = Path(settings.tracking_uri.removeprefix("sqlite:///"))
    whole = database.read_bytes()
    database.write_bytes(b"not a database" * 1000)
    with pytest.raises(UntrackedError, match=r"did not take the result: .*run the workflow again to record it"):
        finish(run)
    state = run.states.read()[MODEL]
    assert state.state == FAILED
    assert "`forecast-platform ensemble export` writes it" in (state.error or "")
    rows = classes().drop(columns="target")
    predicted = Ensemble.load(export_model(run, tmp_path / "model") / "ensemble").predict(rows)
    assert result_of(run) is None, "the next run makes its record"
    database.write_bytes(whole)
    assert all_done(run) == [-1]
    result = finish(run)
    assert client_of(settings.tracking_uri).get_run(result.mlflow_run_id).info.status == "FINISHED"
    pd.testing.assert_frame_equal(
        Ensemble.load(export_model(run, tmp_path / "again") / "ensemble").predict(rows), predicted
    )


def test_a_task_that_waits_says_for_what_and_one_that_fails_keeps_why(tmp_path: Path) -> None:
    settings = world(tmp_path)
    bad = {"task": "stack_top_any", "stack": {"meta": "ridge"}}
    run = run_of(tmp_path, settings, bad, {"task": "boost", "depends_on": ["stack_top_any"]}, bases=["linear"])
    with pytest.raises(EarlierTaskError, match="boost waits for stack_top_any"):
        run.perform("boost")
    with pytest.raises(ValueError, match="ridge is of numbers"):
        run.perform("stack_top_any")
    state = run.states.read()["stack_top_any"]
    assert (state.state, state.attempts) == (FAILED, 1)
    assert "name logistic" in (state.error or "")
    rows = Platform.from_settings(settings).warehouse.read(states_table(run.workflow.context))
    assert rows.num_rows == 1


def test_a_fit_that_is_gone_is_made_again_by_the_next_run(tmp_path: Path) -> None:
    settings = world(tmp_path)
    asked = ({"task": "vote_mix"},)
    run = run_of(tmp_path, settings, *asked, bases=["linear"], folds=2)
    all_done(run)
    [folder] = (path for path in run.store.root.iterdir() if path.name != "tasks")
    before = {path: path.read_bytes() for path in sorted(folder.glob("*.zip"))}
    next(iter(before)).unlink()
    with pytest.raises(PackageError, match="is gone: run the workflow again"):
        finish(run_of(tmp_path, settings, *asked, bases=["linear"], folds=2))
    again = run_of(tmp_path, settings, *asked, bases=["linear"], folds=2)
    assert all_done(again) == [1]
    assert sorted(folder.glob("*.zip")) == list(before)
    assert finish(again).fresh


def test_a_page_that_is_gone_is_written_again_where_reports_are_now(finished: tuple[Path, Settings]) -> None:
    folder, settings = finished
    result = result_of(run_of(folder, settings, register=True))
    assert result is not None
    page = Path(result.report)
    assert page == settings.reports / "ensemble_small.html"
    before = page.read_text()
    page.unlink()
    again = finish(run_of(folder, settings, register=True))
    assert (again.fresh, again.report) == (False, str(page))
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")
    assert stamp.sub("", page.read_text()) == stamp.sub("", before)
    copy = shutil.copytree(settings.warehouse, folder / "copy", ignore=shutil.ignore_patterns("_reports"))
    elsewhere = build(warehouse=copy, source="sample", workers=1)
    told = finish(run_of(folder, elsewhere, register=True))
    assert (told.fresh, told.report) == (False, str(copy / "_reports" / "ensemble_small.html"))
    assert Path(told.report).is_file()
    for reports in (settings.reports, elsewhere.reports):
        index = (reports / "index.html").read_text()
        assert "<h2>Workflows</h2>" in index
        assert '<a href="ensemble_small.html">small</a>' in index


def test_a_table_of_the_warehouse_is_the_source(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    settings = world(tmp_path)
    path = settings.warehouse / "main" / "risk" / "loans"
    path.mkdir(parents=True)
    write_deltalake(str(path), classes().assign(part=lambda one: one["kind"].fillna("z")), partition_by=["part"])
    source = {"catalog": "main", "schema": "risk", "table": "loans", "path": None}
    run = Run(
        Platform.from_settings(settings),
        read_workflow(text_of({"task": "vote_mix"}, source=source, bases=["linear"])),
    )
    all_done(run)
    assert run.states.read()["vote_mix"].state == FINISHED
    assert (settings.warehouse / "main" / "risk" / "oof_predictions_small_vote_mix").is_dir()


def test_the_command_line_checks_plans_runs_and_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world(tmp_path)
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    text = text_at(tmp_path, {"task": "stack_top_any"}, {"task": "vote_mix"}, bases=["linear", "neighbours"])
    file.write_text(text.replace("name: small", "name: small\n    fold_type: [kfold stratified]"))
    assert main(["ensemble", "check", str(file)]) == 2
    assert "small.yaml: line 4, column" in capsys.readouterr().err
    assert main(["ensemble", "check", "--fix", str(file)]) == 0
    assert main(["ensemble", "status", str(file)]) == 1
    assert main(["ensemble", "plan", str(file)]) == 0
    assert "after stack_top_any" in capsys.readouterr().out
    assert main(["ensemble", "run", str(file)]) == 0
    assert main(["ensemble", "status", str(file)]) == 0
    capsys.readouterr()
    assert main(["ensemble", "results", "--json", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["tasks"]) == {"stack_top_any", "vote_mix"}
    assert main(["ensemble", "export", str(file), "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "MLmodel").is_file()
    assert (tmp_path / "warehouse" / "_workflows" / "small.yaml").is_file()
    near = tmp_path / "near.yaml"
    route = {"task": "route_cluster"}
    near.write_text(text_at(tmp_path, route, {"task": "boost"}, name="near").replace(f"{tmp_path}/", ""))
    capsys.readouterr()
    assert main(["ensemble", "check", str(near)]) == 0
    assert "note: nothing depends on route_cluster" in capsys.readouterr().out
    assert main(["ensemble", "import", str(near)]) == 0
    assert "note: source.path 'table.parquet' is looked for where runs start" in capsys.readouterr().out
