"""The recipes of docs/jobs.md that read the tables of results run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forecast_platform.settings import build, load
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import TRAINING_JOB_FORECASTS, TRAINING_JOB_LEADERBOARDS
from forecast_platform_tests.training_jobs.tables import write_results_of_a_job

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")


def recipe(language: str, table: str) -> str:
    """The one block of a language that names a table."""
    found = [block for block in re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL) if table in block]
    [block] = found
    return block


def test_the_leaderboard_of_a_user_s_jobs_is_read_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = build(warehouse=tmp_path)
    job = write_results_of_a_job(settings, DeltaWarehouse(tmp_path))
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path))
    load.cache_clear()
    exec(compile(recipe("python", "TRAINING_JOB_LEADERBOARDS"), "docs/jobs.md", "exec"), {})
    load.cache_clear()
    told = capsys.readouterr().out
    assert told.count(job.job_id) == 2
    assert "HistoricAverage" in told


def test_a_job_s_forecast_is_read_in_sql(tmp_path: Path) -> None:
    import duckdb

    warehouse = DeltaWarehouse(tmp_path)
    job = write_results_of_a_job(build(warehouse=tmp_path), warehouse)
    database = duckdb.connect()
    database.execute("ATTACH ':memory:' AS commodity; CREATE SCHEMA commodity.forecast")
    for table in (TRAINING_JOB_FORECASTS, TRAINING_JOB_LEADERBOARDS):
        rows = warehouse.read(table)
        database.register("rows", rows)
        database.execute(f"CREATE TABLE {table.name} AS FROM rows")
    text = recipe("sql", "training_job_forecasts")
    text, days = re.subn(r"job_day = '[^']*'", f"job_day = '{job.day}'", text)
    text, ids = re.subn(r"job_id = '[^']*'", f"job_id = '{job.job_id}'", text)
    assert (days, ids) == (1, 1)
    found = database.sql(text)
    assert found.columns == ["series", "stamp", "forecast", "lower", "upper"]
    assert [row[0] for row in found.fetchall()] == ["s0"] * 4 + ["s1"] * 4
