"""Damage of every kind, in every table: found and named, set aside, and made again to the same bits."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from forecast_platform.doctor.stores import tables
from forecast_platform.housekeeping import HousekeepingError
from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.health import health
from forecast_platform.housekeeping.repair import repair, verify
from forecast_platform.pipeline import champions
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.base import DamageError
from forecast_platform.warehouse.damage import active, examine, open_table
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    TABLES,
    TRAINED_MODELS,
    UNIFIED_DATA,
    Table,
)
from forecast_platform.work import fits
from forecast_platform.work.coverage import coverage
from forecast_platform.work.platform import Platform

THERE = (UNIFIED_DATA, TRAINED_MODELS, DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA, FORECAST_RUNS)
REMADE = tuple(table for table in THERE if table is not TRAINED_MODELS)
OF_THE_MAKING = {"scored_at", "updated_at", "inference_seconds"}
"""Columns that say when and how fast something was made, not what it is."""


def _folder(platform: Platform) -> DeltaWarehouse:
    assert isinstance(platform.warehouse, DeltaWarehouse)
    return platform.warehouse


def _contents(platform: Platform) -> dict[str, pa.Table]:
    """Every table's rows in the order of its key, without what says when they were made."""
    warehouse = DeltaWarehouse(platform.settings.warehouse)
    found = {}
    for table in THERE:
        rows = warehouse.read(table)
        actuals = "is_actuals" in rows.column_names
        rows = rows.drop_columns([name for name in rows.column_names if name in OF_THE_MAKING])
        rows = rows.sort_by([(name, "ascending") for name in table.key])
        if actuals:  # rewritten whenever a day becomes known, so their time is that of the last write
            import pyarrow.compute as pc

            position = rows.schema.get_field_index("generation_timestamp")
            times = pc.if_else(rows["is_actuals"], pa.scalar(0, pa.timestamp("us", "UTC")), rows[position])
            rows = rows.set_column(position, rows.schema.field(position), times)
        found[table.name] = rows.combine_chunks()
    return found


def _simulated(contents: dict[str, pa.Table]) -> pa.Table:
    import pyarrow.compute as pc

    return contents[DISTRIBUTIONS.name].filter(~pc.field("is_actuals"))


def _newest_entry(warehouse: DeltaWarehouse, table: Table) -> Path:
    return max((warehouse.path(table) / "_delta_log").glob("*.json"))


def _largest(warehouse: DeltaWarehouse, table: Table) -> Path:
    opened = open_table(warehouse, table)
    assert opened is not None
    name = max((size, name) for name, size, row in active(opened) if row.get("partition.model_name") != "actuals")[1]
    return warehouse.path(table) / name


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {"empty": _empty, "cut": _cut, "gone": Path.unlink, "flipped": _flip}


@pytest.mark.parametrize("damage", ["empty", *(pytest.param(one, marks=pytest.mark.slow) for one in ("cut", "gone"))])
def test_a_damaged_log_entry_is_named_and_comes_back_as_it_was(platform: Platform, damage: str) -> None:
    warehouse = _folder(platform)
    before = _contents(platform)
    for table in THERE:
        DAMAGES[damage](_newest_entry(warehouse, table))
    fact = next(fact for fact in health(platform.settings).facts if fact.name == "tables")
    assert fact.severity == "error"
    assert "forecast-platform repair" in fact.text
    for table in THERE:
        [found] = examine(warehouse, table)
        assert found.kind == "entry"
        assert str(found).startswith(f"{table.name}: _delta_log/")
    if damage != "gone":  # a reader cannot know of an entry that is not there; the checks do
        with pytest.raises(DamageError, match="forecast-platform repair"):
            DeltaWarehouse(platform.settings.warehouse).read(DISTRIBUTIONS)
    done = repair(platform.settings, lambda text: None)
    assert not done.failed
    assert _contents(platform) == before
    assert (done.aside is not None) == (damage != "gone")
    assert all(not examine(DeltaWarehouse(platform.settings.warehouse), table, deep=True) for table in TABLES)


def test_an_entry_in_the_middle_of_the_log_comes_back_too(platform: Platform) -> None:
    warehouse = _folder(platform)
    before = _contents(platform)
    entries = sorted((warehouse.path(TRAINED_MODELS) / "_delta_log").glob("*.json"))
    _empty(entries[len(entries) // 2])
    with pytest.raises(DamageError, match="has no bytes"):
        DeltaWarehouse(platform.settings.warehouse).read(TRAINED_MODELS)
    assert not repair(platform.settings, lambda text: None).failed
    assert _contents(platform) == before


def test_the_newest_entry_comes_back_also_where_a_checkpoint_says_the_same(platform: Platform) -> None:
    """Such a table can be read, and no longer be written to."""
    warehouse = _folder(platform)
    opened = open_table(warehouse, FORECAST_RUNS)
    assert opened is not None
    opened.create_checkpoint()
    warehouse.settle(FORECAST_RUNS, opened.version())
    rows = warehouse.read(FORECAST_RUNS)
    _newest_entry(warehouse, FORECAST_RUNS).unlink()
    [found] = examine(warehouse, FORECAST_RUNS)
    assert (found.kind, found.version) == ("entry", opened.version())
    assert not repair(platform.settings, lambda text: None).failed
    fresh, day = DeltaWarehouse(platform.settings.warehouse), rows["forecast_date"][0].as_py()
    of_the_day = rows.filter(pc.field("forecast_date") == day)
    assert fresh.replace(FORECAST_RUNS, of_the_day, {"forecast_date": day}) == opened.version() + 1
    assert fresh.rows(FORECAST_RUNS) == rows.num_rows


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=() if one == "flipped" else pytest.mark.slow) for one in DAMAGES]
)
def test_a_damaged_file_is_named_with_its_dates_and_made_again_to_the_same_bits(
    platform: Platform, damage: str
) -> None:
    warehouse = _folder(platform)
    before = _contents(platform)
    for table in REMADE:
        path = _largest(warehouse, table)
        DAMAGES[damage](path)
        [found] = examine(warehouse, table, deep=True)
        assert found.file == str(path.relative_to(warehouse.path(table)))
        assert found.dates is not None
        assert str(found.dates[0]) in str(found)
        assert bool(examine(warehouse, table)) == (damage != "flipped"), "a look sees sizes, not bytes"
    told: list[str] = []
    done = repair(platform.settings, told.append)
    assert not done.failed
    assert len(done.lost) == len(REMADE)
    after = _contents(platform)
    for name, rows in before.items():
        assert after[name].equals(rows), name
    aside = [] if done.aside is None else list(done.aside.rglob("*.parquet"))
    assert len(aside) == (0 if damage == "gone" else len(REMADE))


def test_a_trained_model_s_file_is_left_and_named_and_comes_back_from_a_backup(
    platform: Platform, tmp_path: Path
) -> None:
    warehouse = _folder(platform)
    backup(platform.settings, tmp_path / "copy")
    before = _contents(platform)
    path = _largest(warehouse, TRAINED_MODELS)
    _flip(path)
    done = repair(platform.settings, lambda text: None)
    assert len(done.failed) == 1
    assert "cannot be made again" in done.failed[0]
    assert path.is_file()
    assert not repair(platform.settings, lambda text: None, backup=tmp_path / "copy").failed
    assert _contents(platform) == before


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(file.read_bytes().replace(b"1", b"2")), Path.unlink])
def test_a_fit_in_a_file_of_its_own_is_compared_and_comes_back_from_a_backup(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(fits, "INLINE_LIMIT", 10)
    assert not train(platform, "Alpha", "naive", [dt.date(2018, 1, 1)], overwrite=True).failed
    backup(platform.settings, tmp_path / "copy")
    [file] = (platform.settings.warehouse / "_artifacts").rglob("*.json")
    before = file.read_bytes()
    damage(file)
    [found] = verify(platform.settings, _folder(platform))
    assert file.name in str(found)
    assert "train it again with `forecast-platform train --commodity Alpha --models naive" in str(found)
    with pytest.raises(HousekeepingError, match=rf"trained_models: _artifacts/.*{file.name}.* train it again"):
        backup(platform.settings, tmp_path / "other")
    assert [one.found for one in tables(platform.settings, deep=True) if one.severity == "error"] == [str(found)]
    [failed] = repair(platform.settings, lambda text: None).failed
    assert "repair --backup" in failed
    assert not repair(platform.settings, lambda text: None, backup=tmp_path / "copy").failed
    assert file.read_bytes() == before


def test_flipped_bytes_stop_a_backup_and_the_weekly_look_and_stay_in_health(platform: Platform, tmp_path: Path) -> None:
    warehouse = _folder(platform)
    assert verify(platform.settings, warehouse) == []
    _flip(_largest(warehouse, DISTRIBUTIONS))
    with pytest.raises(HousekeepingError, match=r"distributions: .* is not what was written.*forecast-platform repair"):
        backup(platform.settings, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    [found] = verify(platform.settings, warehouse)
    fact = next(fact for fact in health(platform.settings).facts if fact.name == "tables")
    assert (fact.severity, str(found) in fact.text) == ("error", True)
    assert not repair(platform.settings, lambda text: None).failed
    fact = next(fact for fact in health(platform.settings).facts if fact.name == "tables")
    assert fact.severity == "good"


def test_the_commit_that_a_power_loss_left_empty_is_undone_and_made_by_the_next_run(platform: Platform) -> None:
    """What was never written through is in no record: paths of fewer dates than points."""
    warehouse = _folder(platform)
    before = _contents(platform)
    entry = _newest_entry(warehouse, DISTRIBUTIONS)
    _empty(entry)
    (warehouse.journal.folder(DISTRIBUTIONS.name) / entry.name).unlink()
    done = repair(platform.settings, lambda text: None)
    assert not done.failed
    after = _contents(platform)
    assert _simulated(after).equals(_simulated(before))


def test_a_commit_whose_file_a_power_loss_took_is_undone_where_it_cannot_be_made_again(platform: Platform) -> None:
    for model in ("naive", "random_walk"):
        champions.promote(platform, "Alpha", model, "v1.0", "a test", force=True)
    warehouse = _folder(platform)
    entry = _newest_entry(warehouse, CHAMPIONS)
    path = _largest(warehouse, CHAMPIONS)
    assert path.name in entry.read_text()
    path.unlink()
    assert len(repair(platform.settings, lambda text: None).failed) == 1, "it counted as written"
    # The record is made last: where there is none, nobody was told that the commit is there.
    (warehouse.journal.folder(CHAMPIONS.name) / entry.name).unlink()
    told: list[str] = []
    assert repair(platform.settings, told.append).failed == []
    assert any(f"{entry.name} was never completed" in text for text in told)
    after = Platform.from_settings(platform.settings)
    assert champions.champion(after, "Alpha") == ("naive", "v1.0")
    champions.promote(after, "Alpha", "random_walk", "v1.0", "a test", force=True)
    assert champions.champion(after, "Alpha") == ("random_walk", "v1.0")


def test_coverage_counts_dates_that_have_both_paths_and_points(platform: Platform) -> None:
    before = coverage(platform, "Alpha", ["naive"], "v1.0")[0].dates
    where = {"commodity": "Alpha", "model_name": "naive", "model_version": "v1.0", "forecast_month": "2018-03"}
    platform.warehouse.replace(DISTRIBUTIONS, DISTRIBUTIONS.arrow_schema().empty_table(), where)
    assert coverage(platform, "Alpha", ["naive"], "v1.0")[0].dates == before - 31


def test_a_table_that_is_older_than_the_journal_gets_its_hashes_from_the_first_deep_look(platform: Platform) -> None:
    warehouse = _folder(platform)
    shutil.rmtree(platform.settings.warehouse / "_journal")
    assert verify(platform.settings, warehouse) == []
    (platform.settings.warehouse / "_journal").mkdir(exist_ok=True)
    path = _largest(warehouse, POINT_FORECASTS)
    assert examine(warehouse, POINT_FORECASTS, deep=True) == []
    _flip(path)
    assert len(examine(warehouse, POINT_FORECASTS, deep=True)) == 1
