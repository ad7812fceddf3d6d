"""The rows of training jobs over both implementations: written anew for a job, and removed for those that are gone."""

from __future__ import annotations

from pathlib import Path

from forecast_platform.settings import build
from forecast_platform.training_jobs.store import JobStore
from forecast_platform.training_jobs.tables import TABLES, remove_rows, write_rows
from forecast_platform.warehouse.base import Warehouse
from forecast_platform_tests.training_jobs.tables import asked, trained


def test_a_job_s_rows_are_replaced_and_removed_by_its_id(warehouse: Warehouse, tmp_path: Path) -> None:
    store = JobStore(build(warehouse=tmp_path / "service"))
    jobs = []
    for _ in range(2):
        job, results = trained(store, asked())
        for _ in range(2):  # as where a run is tried again
            assert write_rows(warehouse, store, job, results) == 2 * 4 * 2
        jobs.append(job)
    gone, kept = jobs
    counts = [warehouse.rows(table) for table in TABLES]
    remove_rows(warehouse, [(gone.job_id, gone.day)])
    for table, count in zip(TABLES, counts, strict=True):
        found = warehouse.read(table, where={"job_day": kept.day}).to_pylist()
        assert {row["job_id"] for row in found} == {kept.job_id}
        assert len(found) == count // 2
        assert len({tuple(str(row[name]) for name in table.key) for row in found}) == len(found)
