"""A backup taken while others write is one consistent set; a restore verifies it all before it touches anything."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from dagster import AssetKey
from mlflow import MlflowClient

from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.submissions import Submissions
from forecast_platform.housekeeping import HousekeepingError, exclusive
from forecast_platform.housekeeping.archive import MANIFEST
from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.restore import restore
from forecast_platform.read import Reader
from forecast_platform.runs.launch import Launcher
from forecast_platform.settings import Settings
from forecast_platform.training_jobs.config import parse
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.uploads import UploadStore
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS, TABLES, TRAINED_MODELS
from forecast_platform.work import fits
from forecast_platform.work.fits import load_model
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.workflows import EXAMPLE
from forecast_platform_tests.training_jobs.tables import asked
from forecast_platform_tests.worlds import days, settings_for

pytestmark = pytest.mark.slow

_WRITER = """
import datetime as dt, sys
from pathlib import Path
from dagster import AssetMaterialization
from forecast_platform.runs.launch import Launcher
from forecast_platform.pipeline.inference import forecast
from forecast_platform.work.platform import Platform
from forecast_platform.pipeline.training import train
from forecast_platform_tests.worlds import settings_for

settings = settings_for(Path(sys.argv[1]))
platform, instance = Platform.from_settings(settings), Launcher(settings).instance
for number in range(10_000):
    version = f"w{number}"
    train(platform, "Alpha", "naive", [dt.date(2018, 1, 1)], version=version)
    forecast(platform, "Alpha", "naive", [dt.date(2018, 3, 20)], version=version)
    instance.report_runless_asset_event(AssetMaterialization("written", metadata={"version": version}))
    print(version, flush=True)
"""


@pytest.fixture
def settings(root: Path) -> Settings:
    return settings_for(root)


def _contents(settings: Settings) -> dict[str, list[dict[str, object]]]:
    warehouse = DeltaWarehouse(settings.warehouse)
    found = {}
    for table in TABLES:
        rows = warehouse.read(table)
        found[table.name] = rows.sort_by([(name, "ascending") for name in table.key]).to_pylist()
    return found


@pytest.mark.parametrize("name", ["saved", "saved.tar"])
def test_a_restored_backup_holds_the_same_rows(root: Path, settings: Settings, tmp_path: Path, name: str) -> None:
    Launcher(settings).instance  # noqa: B018 - makes the instance
    before = _contents(settings)
    manifest = backup(settings, tmp_path / name)
    assert set(manifest.tables) == {table.name for table in TABLES if before[table.name]}
    shutil.rmtree(settings.warehouse)
    assert restore(settings, tmp_path / name).kept == []
    assert _contents(settings) == before
    assert (settings.warehouse / "_dagster" / "history" / "runs.db").is_file()


def test_a_backup_made_while_others_write_is_consistent(
    root: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow's records in a copied folder point at the original: begin them anew.
    shutil.rmtree(settings.warehouse / "_mlflow")
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(root)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        seen = [writer.stdout.readline().strip() for _ in range(2)]
        backup(settings, tmp_path / "saved")
        still_there = writer.poll() is None
        writer.kill()
    assert still_there
    elsewhere = settings_for(root, warehouse=tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "saved")
    warehouse = DeltaWarehouse(elsewhere.warehouse)

    def versions(table: object) -> set[str]:
        return set(warehouse.read(table, ["model_version"])["model_version"].to_pylist()) - {"actuals"}  # type: ignore[arg-type]

    assert set(seen) <= versions(POINT_FORECASTS) <= versions(DISTRIBUTIONS) <= versions(TRAINED_MODELS)
    # What trained_models refers to in MLflow is in the copy of MLflow, with its artifact, at the new place.
    # Without a registry named, MLflow asks whatever Spark session another test has left, for minutes where its server
    # is gone; downloads make a client of their own, which knows of the variable alone.
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", elsewhere.tracking_uri)
    client = MlflowClient(elsewhere.tracking_uri)
    rows = warehouse.read(TRAINED_MODELS, ["mlflow_run_id", "model_version"]).to_pylist()
    for run_id in [row["mlflow_run_id"] for row in rows if row["model_version"].startswith("w")]:
        run = client.get_run(run_id)
        assert run.info.artifact_uri.startswith((elsewhere.warehouse / "_mlflow").as_uri())
        assert Path(client.download_artifacts(run_id, "model/fitted_model.json")).is_file()
    newest = Launcher(elsewhere).instance.get_latest_materialization_event(AssetKey("written"))
    assert newest is not None
    assert newest.asset_materialization.metadata["version"].value in versions(POINT_FORECASTS)


def test_a_backup_is_refused_where_it_would_overwrite_or_hold_itself(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(HousekeepingError, match="is there already"):
        backup(settings, tmp_path / "there")
    with pytest.raises(HousekeepingError, match="inside the warehouse"):
        backup(settings, settings.warehouse / "backup")


def test_a_backup_that_fails_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    with exclusive(settings, "test"), pytest.raises(HousekeepingError, match="is at work"):
        # The lock is held by this process, so that the backup waits for it in vain.
        _impatient(settings, tmp_path / "saved")
    assert not [path for path in tmp_path.iterdir() if "saved" in path.name]


def _impatient(settings: Settings, target: Path) -> None:
    import forecast_platform.housekeeping.backup as module

    original = module.exclusive
    try:
        module.exclusive = lambda settings, what, timeout=0.0: original(settings, what, 0.1)  # type: ignore[assignment]
        backup(settings, target)
    finally:
        module.exclusive = original


def test_a_restore_into_a_filled_warehouse_needs_force_and_keeps_what_was_there(
    settings: Settings, tmp_path: Path
) -> None:
    backup(settings, tmp_path / "saved")
    marker = settings.warehouse / "marker"
    marker.write_text("mine")
    with pytest.raises(HousekeepingError, match="is not empty: restore with --force"):
        restore(settings, tmp_path / "saved")
    assert marker.read_text() == "mine"
    done = restore(settings, tmp_path / "saved", force=True)
    assert not marker.exists()
    assert [(path / "marker").read_text() for path in done.kept] == ["mine"]


@pytest.mark.parametrize("name", ["saved", "saved.tar"])
def test_a_damaged_backup_changes_nothing(settings: Settings, tmp_path: Path, name: str) -> None:
    manifest = backup(settings, tmp_path / name)
    victim = max(manifest.files, key=lambda file: manifest.files[file]["size"])
    if name.endswith(".tar"):
        with tarfile.open(tmp_path / name) as tar:
            position = tar.getmember(victim).offset_data
        with (tmp_path / name).open("r+b") as stream:
            stream.seek(position + 10)
            stream.write(b"\xff\x00\xff")
    else:
        path = tmp_path / name / victim
        content = bytearray(path.read_bytes())
        content[10] ^= 0xFF
        path.write_bytes(bytes(content))
    before = _contents(settings)
    with pytest.raises(HousekeepingError, match=r"is damaged.*nothing was restored"):
        restore(settings, tmp_path / name, force=True)
    assert _contents(settings) == before
    assert not [path for path in settings.warehouse.parent.iterdir() if ".restore-" in path.name]


def test_a_backup_that_lacks_a_file_or_leads_elsewhere_is_refused(settings: Settings, tmp_path: Path) -> None:
    manifest = backup(settings, tmp_path / "saved")
    (tmp_path / "saved" / min(manifest.files)).unlink()
    with pytest.raises(HousekeepingError, match="1 files are missing"):
        restore(settings, tmp_path / "saved", force=True)
    described = json.loads((tmp_path / "saved" / MANIFEST).read_text())
    (tmp_path / "evil").write_text("x")
    described["files"] = {"warehouse/../../evil": {"size": 1, "blake2b": "0"}}
    (tmp_path / "saved" / "warehouse").mkdir(exist_ok=True)
    (tmp_path / "saved" / MANIFEST).write_text(json.dumps(described))
    with pytest.raises(HousekeepingError, match="leads out of it"):
        restore(settings, tmp_path / "saved", force=True)


def test_an_incomplete_backup_says_so(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "some.tar").write_bytes(b"no tar")
    for name in ("folder", "some.tar", "missing"):
        with pytest.raises(HousekeepingError, match="is no complete backup"):
            restore(settings, tmp_path / name, force=True)


def test_a_restore_is_refused_while_the_platform_is_up(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "saved")
    home = Launcher(settings).home
    script = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home / ".up.lock")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            with pytest.raises(HousekeepingError, match="is running on this warehouse: stop it"):
                restore(settings, tmp_path / "saved", force=True)
        finally:
            other.kill()


def test_a_restore_is_refused_while_a_unit_s_daemon_runs_and_names_it(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "saved")
    home = Launcher(settings).home
    program = tmp_path / "dagster-daemon"
    program.write_text("print(1, flush=True); import time; time.sleep(60)")
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    with subprocess.Popen(
        [sys.executable, str(program), "run"], stdout=subprocess.PIPE, text=True, env=environment
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            named = re.escape(f"dagster-daemon (process {other.pid}) is running on {home}: stop it")
            with pytest.raises(HousekeepingError, match=named):
                restore(settings, tmp_path / "saved", force=True)
        finally:
            other.kill()
    assert restore(settings, tmp_path / "saved", force=True).kept


def test_a_backup_of_a_damaged_table_or_database_says_which_and_leaves_nothing(
    root: Path, settings: Settings, tmp_path: Path
) -> None:
    home = Launcher(settings).home
    (home / "history").mkdir(parents=True, exist_ok=True)
    damaged = home / "history" / "other.db"
    damaged.write_text("no database, but long enough to be taken for one" * 20)
    with pytest.raises(HousekeepingError, match=r"nothing is left of it: .*other\.db: file is not a database"):
        backup(settings, tmp_path / "saved")
    damaged.unlink()
    for path in (root / "warehouse" / "commodity" / "silver" / "unified_data" / "_delta_log").glob("*.json"):
        path.write_text("{damaged")
    with pytest.raises(HousekeepingError, match=r"silver\.unified_data: _delta_log/.*forecast-platform repair"):
        backup(settings, tmp_path / "saved")
    assert not [path for path in tmp_path.iterdir() if "saved" in path.name]


def test_models_in_files_are_found_after_a_move(root: Path, settings: Settings, tmp_path: Path) -> None:
    import datetime as dt

    import forecast_platform.pipeline.training as training

    limit, fits.INLINE_LIMIT = fits.INLINE_LIMIT, 10
    try:
        platform = Platform.from_settings(settings)
        assert not training.train(platform, "Alpha", "naive", [dt.date(2018, 1, 1)], overwrite=True).failed
    finally:
        fits.INLINE_LIMIT = limit
    backup(settings, tmp_path / "saved")
    elsewhere = settings_for(root, warehouse=tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "saved")
    shutil.rmtree(settings.warehouse)
    stored = load_model(Platform.from_settings(elsewhere), "Alpha", "naive", "v1.0", dt.date(2018, 1, 1))
    assert stored.fitted is not None
    assert set(Reader(elsewhere).paths("Alpha", "naive")) == set(days("2018-02-20", "2018-03-31"))


def test_an_admission_store_that_lies_elsewhere_is_in_the_backup(settings: Settings, tmp_path: Path) -> None:
    jobs = settings.training_jobs.model_copy(update={"store": tmp_path / "elsewhere" / "state.db"})
    apart = settings.model_copy(update={"training_jobs": jobs})
    Launcher(apart).instance  # noqa: B018 - makes the instance
    job = JobStore(apart).create("ann", parse(asked()))
    manifest = backup(apart, tmp_path / "saved")
    assert any(f"put it at {jobs.store}" in text for text in manifest.left_out)
    shutil.rmtree(settings.warehouse)
    restore(settings, tmp_path / "saved")
    assert JobStore(settings).get(job.job_id) == job


def test_jobs_and_workflows_with_their_store_uploads_and_results_come_back(settings: Settings, tmp_path: Path) -> None:
    Launcher(settings).instance  # noqa: B018 - makes the instance
    store = JobStore(settings)
    job = store.create("ann", parse(asked()))
    workflow = Submissions(settings).create("ann", read_workflow(EXAMPLE), EXAMPLE, None)
    files = [
        store.job_folder(job.job_id) / "forecast.csv", UploadStore(settings).path(job.job_id),
        settings.warehouse / "_workflows" / "data" / "table.csv",
    ]  # fmt: skip
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("kept")
    backup(settings, tmp_path / "saved")
    shutil.rmtree(settings.warehouse)
    restore(settings, tmp_path / "saved")
    assert JobStore(settings).get(job.job_id, "ann") == job
    assert Submissions(settings).get(workflow.workflow_id, "ann") == workflow
    assert [file.read_text() for file in files] == ["kept"] * 3
