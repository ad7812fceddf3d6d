"""A job's results in the warehouse's tables, over both implementations: the same as its files', and its own alone."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.host.admission import UnknownJobError
from forecast_platform.settings import Settings, build
from forecast_platform.training_jobs.config import JobError, parse
from forecast_platform.training_jobs.intake import table_path
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.tables import TABLES, remove_forgotten, write_rows
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TRAINING_JOB_FORECASTS, TRAINING_JOB_LEADERBOARDS
from forecast_platform_tests.training_jobs.tables import asked, trained, weekly


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return build(warehouse=tmp_path / "w", training_jobs={"keep_days": 1})


def rows_of(warehouse: Any, table: Any, job_id: str) -> list[dict[str, Any]]:
    return warehouse.read(table, where={"job_id": job_id}).to_pylist()


def test_the_tables_say_what_the_files_do(settings: Settings) -> None:
    store, warehouse = JobStore(settings), DeltaWarehouse(settings.warehouse)
    job, results = trained(store, asked(weekly(2, 60), models=["HistoricAverage", "DynamicTheta"], levels=[50, 80, 95]))
    assert write_rows(warehouse, store, job, results) == 2 * 4 * 3
    with (store.job_folder(job.job_id) / "forecast.csv").open() as stream:
        told = {(row["series"], row["date"]): row for row in csv.DictReader(stream)}
    found = rows_of(warehouse, TRAINING_JOB_FORECASTS, job.job_id)
    assert len(found) == 3 * len(told)
    for row in found:
        line = told[row["series"], f"{row['stamp']:%Y-%m-%d}"]
        assert row["stamp"].time() == dt.time()
        for name, column in (("forecast", "forecast"), ("median", "median"), ("lower", f"lower_{row['level']}"),
                             ("upper", f"upper_{row['level']}")):  # fmt: skip
            assert row[name] == float(line[column])
        assert (row["model"], row["user_id"], row["job_day"]) == (results["best_model"], "ann", job.created_at[:10])
    assert [row["step"] for row in sorted(found, key=lambda row: (row["series"], row["level"], row["stamp"]))] == [
        *range(1, 5)
    ] * 6
    board = sorted(rows_of(warehouse, TRAINING_JOB_LEADERBOARDS, job.job_id), key=lambda row: row["rank"])
    assert [row["model"] for row in board] == [row["model"] for row in results["leaderboard"]]
    for row, line in zip(board, results["leaderboard"], strict=True):
        assert {name: row[name] for name in ("mase", "mape", "score_val", "fit_time_marginal", "fallbacks")} == {
            name: line[name] for name in ("mase", "mape", "score_val", "fit_time_marginal", "fallbacks")
        }
        assert json.loads(row["coverage"])["80"] == line["coverage_80"]
        assert row["data_hash"] == results["data_hash"]


def test_stamps_within_a_day_and_one_series_without_a_name_are_kept(settings: Settings) -> None:
    first = dt.datetime(2024, 1, 1, 0, 15, tzinfo=dt.timezone.utc)
    rows = [{"week": f"{first + n * dt.timedelta(hours=6):%Y-%m-%d %H:%M}", "sales": 5.0 + n % 7} for n in range(40)]
    store, warehouse = JobStore(settings), DeltaWarehouse(settings.warehouse)
    job, results = trained(store, asked(rows, id_col=None, levels=[80], horizon=2))
    write_rows(warehouse, store, job, results)
    found = sorted(rows_of(warehouse, TRAINING_JOB_FORECASTS, job.job_id), key=lambda row: row["step"])
    expected = [first + n * dt.timedelta(hours=6) for n in (40, 41)]
    assert [row["stamp"] for row in found] == expected
    assert {row["series"] for row in found} == {results["forecast"][0]["series"]}


def test_a_job_that_is_tried_again_replaces_its_own_rows_alone(settings: Settings) -> None:
    store, warehouse = JobStore(settings), DeltaWarehouse(settings.warehouse)
    (one, first), (other, second) = (trained(store, asked(weekly(n, 60))) for n in (1, 2))
    for job, results in ((one, first), (other, second), (one, first)):
        write_rows(warehouse, store, job, results)
    assert len(rows_of(warehouse, TRAINING_JOB_FORECASTS, one.job_id)) == 1 * 4 * 2
    assert len(rows_of(warehouse, TRAINING_JOB_FORECASTS, other.job_id)) == 2 * 4 * 2


def test_the_rows_of_a_pruned_and_of_a_deleted_job_go_and_no_others(settings: Settings) -> None:
    store, warehouse = JobStore(settings), DeltaWarehouse(settings.warehouse)
    jobs = []
    for _ in range(3):
        job, results = trained(store, asked())
        store.submit(job.job_id, "ann")
        store.started(job.job_id, "run")
        write_rows(warehouse, store, job, results)
        store.complete(job.job_id, "run", {})
        jobs.append(job)
    pruned, deleted, kept = jobs
    draft = store.create("ann", parse(asked()))
    store.forget([pruned.job_id, draft.job_id])
    store.remove(deleted.job_id, "ann")
    assert sorted(job_id for job_id, _ in store.forgotten()) == sorted([pruned.job_id, deleted.job_id])
    assert remove_forgotten(warehouse, store) == 2
    assert store.forgotten() == []
    for table in TABLES:
        assert {row["job_id"] for row in warehouse.read(table, ["job_id"]).to_pylist()} == {kept.job_id}
    with pytest.raises(UnknownJobError):
        store.get(deleted.job_id)


@pytest.mark.parametrize("name", [TRAINING_JOB_FORECASTS.name, "Commodity.Forecast.TRAINING_JOB_leaderboards"])
def test_a_job_does_not_read_the_results_of_others(settings: Settings, name: str) -> None:
    with pytest.raises(JobError, match="hold those of all users"):
        table_path(settings, name)
