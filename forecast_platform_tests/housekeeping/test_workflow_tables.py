"""The tables that a workflow of ensembles writes are looked after like all others: damage, backup, maintenance."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.store import FINISHED
from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping import backup as backups
from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.health import health
from forecast_platform.housekeeping.maintenance import compact, vacuum
from forecast_platform.housekeeping.repair import repair
from forecast_platform.housekeeping.restore import restore
from forecast_platform.settings import Settings, build
from forecast_platform.warehouse.base import DamageError
from forecast_platform.warehouse.damage import examine
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TABLES, Table
from forecast_platform_tests.ensembles.test_run import run_of, world
from forecast_platform_tests.housekeeping.test_repair import DAMAGES, _largest, _newest_entry

pytestmark = pytest.mark.slow

TASK = {"task": "vote_weight"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and a warehouse in which a workflow's task is finished."""
    folder = tmp_path_factory.mktemp("made")
    run = run_of(folder, world(folder), TASK, bases=["linear"], folds=2)
    assert run.perform("vote_weight").fresh
    return folder


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return build(warehouse=tmp_path / "warehouse", source="sample", workers=1)


def again(settings: Settings, made: Path) -> Run:
    """The same workflow over its own table, in another warehouse."""
    return run_of(made, settings, TASK, bases=["linear"], folds=2)


def others(settings: Settings) -> dict[str, Table]:
    """The workflow's tables, by the last part of their names."""
    found = [table for table in DeltaWarehouse(settings.warehouse).tables() if table not in TABLES]
    return {table.short_name: table for table in found}


def contents(settings: Settings) -> dict[str, pa.Table]:
    warehouse = DeltaWarehouse(settings.warehouse)
    return {name: warehouse.read(table).combine_chunks() for name, table in others(settings).items()}


def damaged(settings: Settings) -> str:
    return next(fact.text for fact in health(settings).facts if fact.name == "tables")


@pytest.mark.parametrize("damage", ["empty", "cut", "gone"])
def test_a_damaged_entry_is_named_and_comes_back_as_it_was(settings: Settings, damage: str) -> None:
    before = contents(settings)
    assert before.keys() == {"ensemble_tasks", "oof_predictions_small_vote_weight"}
    for table in others(settings).values():
        DAMAGES[damage](_newest_entry(DeltaWarehouse(settings.warehouse), table))
    assert all(name in damaged(settings) for name in before)
    if damage != "gone":
        with pytest.raises(DamageError, match="forecast-platform repair"):
            contents(settings)
    assert repair(settings, lambda text: None).failed == []
    assert contents(settings) == before


@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
@pytest.mark.parametrize("name", ["ensemble_tasks", "oof_predictions_small_vote_weight"])
def test_lost_rows_are_named_and_made_again_by_the_workflow_from_kept_fits(
    settings: Settings, made: Path, tmp_path: Path, name: str, damage: str
) -> None:
    before, warehouse, table = contents(settings), DeltaWarehouse(settings.warehouse), others(settings)[name]
    path = _largest(warehouse, table)
    DAMAGES[damage](path)
    [found] = examine(warehouse, table, deep=True)
    assert str(found).startswith(f"{table.name}: {path.name}")
    with pytest.raises(HousekeepingError, match=name):
        backup(settings, tmp_path / "saved")
    [failed] = repair(settings, lambda text: None).failed
    assert failed.startswith(f"{table.name}: run ")
    assert "forecast-platform ensemble run" in failed
    assert len(list((settings.warehouse / "_quarantine").rglob("*.parquet"))) == (damage != "gone")
    done = again(settings, made).perform("vote_weight")
    assert (done.fresh, done.outcome.fits) == (True, 0)
    after = contents(settings)
    assert after["oof_predictions_small_vote_weight"].equals(before["oof_predictions_small_vote_weight"])
    assert after["ensemble_tasks"]["state"].to_pylist() == [FINISHED]
    assert repair(settings, lambda text: None).failed == []


def test_they_come_back_from_a_backup_and_are_merged_and_vacuumed(
    settings: Settings, made: Path, tmp_path: Path
) -> None:
    before = contents(settings)
    backup(settings, tmp_path / "saved")
    shutil.rmtree(settings.warehouse)
    restore(settings, tmp_path / "saved")
    assert contents(settings) == before
    assert not again(settings, made).perform("vote_weight").fresh
    warehouse = DeltaWarehouse(settings.warehouse)
    named = {table.name for table in others(settings).values()}
    assert named <= {one.table for one in compact(warehouse, dt.date(2030, 1, 1))}
    assert named <= {one.table for one in vacuum(warehouse, 24)}
    assert contents(settings) == before


def test_a_task_that_ends_while_a_backup_is_taken_is_not_finished_there_without_its_table(
    settings: Settings, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two of the tables that are pinned, the states' among them."""
    real, ended = backups.open_table, []

    def opening(warehouse: DeltaWarehouse, table: Table) -> object:
        if not ended:
            other = run_of(made, settings, {"task": "vote_mix"}, bases=["linear"], folds=2, name="zz-later")
            ended.append(other.perform("vote_mix"))
        return real(warehouse, table)

    monkeypatch.setattr(backups, "open_table", opening)
    backup(settings, tmp_path / "saved")
    assert ended
    monkeypatch.undo()
    shutil.rmtree(settings.warehouse)
    restore(settings, tmp_path / "saved")
    there = others(settings)
    rows = DeltaWarehouse(settings.warehouse).read(there["ensemble_tasks"]).to_pylist()
    for row in rows:
        assert f"oof_predictions_{row['workflow'].replace('-', '_')}_{row['task']}" in there


def test_a_backup_is_taken_while_mlflow_s_database_is_made_and_refused_where_that_is_gone(
    settings: Settings, tmp_path: Path
) -> None:
    folder = settings.warehouse / "_mlflow"
    folder.mkdir()
    (folder / ".mlflow.db.being-made").write_bytes(b"half")
    manifest = backup(settings, tmp_path / "saved")
    assert not [name for name in manifest.files if "_mlflow" in name]
    (folder / "artifacts").mkdir()
    with pytest.raises(HousekeepingError, match=r"mlflow\.db is gone"):
        backup(settings, tmp_path / "other")
