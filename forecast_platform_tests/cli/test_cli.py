"""The command line end to end over real Dagster runs: what is printed, recorded, kept and resumed."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.cli.main import INTERRUPTED, main
from forecast_platform.pipeline.inference import forecast
from forecast_platform.read import Reader
from forecast_platform.settings import Settings, load
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, TABLES
from forecast_platform.work.platform import Platform
from forecast_platform_tests.forked import Command
from forecast_platform_tests.waiting import PATIENCE, until
from forecast_platform_tests.worlds import days, settings_for

SPAN = ["--start-date", "2017-12-01", "--end-date", "2018-02-28"]
Run = Callable[..., tuple[int, str]]


def environment(root: Path) -> dict[str, str]:
    """What settings_for says, as environment variables."""
    return {
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(root / "landing"),
        "FORECAST_PLATFORM_WAREHOUSE": str(root / "warehouse"),
        "FORECAST_PLATFORM_MODELS": '["naive", "random_walk"]',
        "FORECAST_PLATFORM_LOOKBACK_YEARS": "3",
        "FORECAST_PLATFORM_START_DATE": "2017-07-01",
        "FORECAST_PLATFORM_N_PATHS": "200",
        "FORECAST_PLATFORM_MIN_FREE_GB": "0",
        "DAGSTER_HOME": str(root / "dagster"),
    }


@pytest.fixture
def run(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process over the trained small platform; returns exit code and what it printed."""
    for name, value in environment(small).items():
        monkeypatch.setenv(name, value)
    load.cache_clear()

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def _settings(root: Path) -> Settings:
    return settings_for(root)


def test_backfill_coverage_evaluate_and_a_rerun(run: Run, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, told = run("backfill", "--commodity", "Alpha", *SPAN)
    assert code == 0, told
    assert "distributions/naive: 90 written, 0 unchanged, 0 failed, 18,000 rows" in told
    assert "distributions/actuals: 90 written" in told
    assert "2017-12-01  2018-02-28  30 dates: 2018-03-01 to 2018-03-30" in told  # as `coverage` counts
    code, told = run("backfill", "--commodity", "Alpha", *SPAN)
    assert code == 0, told
    assert "forecast Alpha: 2017-12-01 to 2018-02-28: nothing has changed, no run is needed" in told
    code, told = run("coverage", "--commodity", "Alpha", "--models", "naive")
    assert code == 1
    assert "2017-07-01 to 2017-11-30, 2018-03-01 to 2018-03-30" in told
    monkeypatch.setenv("FORECAST_PLATFORM_SERIES", '[{"name": "Alpha", "unit": "US cents/lb"}]')
    load.cache_clear()
    code, told = run("evaluate", "--commodity", "Alpha")
    assert code == 0
    assert "each last close and target once; crps, mae and rmse in US cents/lb)" in told
    assert "random_walk" in told
    assert "by horizon" in told
    assert "hit_rate_80" in told
    assert "coverage_80" not in told
    code, told = run("evaluate", "--all")
    assert code == 0
    assert "skill against naive" in told
    assert [line.split()[2] for line in told.splitlines() if line.startswith("random_walk  ")] == ["1", "7", "14"]
    assert "do the bands hold?\nnaive v1.0" in told
    assert run("evaluate", "--all", "--commodity", "Alpha")[0] != 0


@pytest.mark.slow
def test_coverage_is_whole_from_the_first_window_to_the_day_after_the_last_data(run: Run) -> None:
    assert run("backfill", "--commodity", "Alpha", "--models", "naive")[0] == 0
    code, told = run("coverage", "--commodity", "Alpha", "--models", "naive")
    assert code == 0, told
    assert "273  2017-07-01  2018-03-30  none" in told


@pytest.mark.slow
def test_runs_are_recorded_with_their_partitions_and_the_code_location(run: Run, small: Path) -> None:
    run("backfill", "--commodity", "Beta", "--models", "naive", *SPAN)
    from dagster import AssetKey, DagsterInstance

    instance = DagsterInstance.get()
    [forecast_run] = [record for record in instance.get_runs() if record.job_name == "forecast"]
    assert forecast_run.status.value == "SUCCESS"
    assert forecast_run.remote_job_origin.repository_origin.code_location_origin.location_name == "forecast_platform"
    done = instance.get_materialized_partitions(AssetKey(["distributions", "naive"]))
    assert len(done) == 90
    assert all(key.endswith("|Beta") for key in done)


@pytest.mark.slow
def test_a_backfill_without_models_names_windows_and_the_command_and_writes_nothing(run: Run, small: Path) -> None:
    code, told = run("backfill", "--commodity", "Alpha", "--models", "naive", "--model-version-tag", "v2.0", *SPAN)
    assert code == 1
    assert "no trained_models/naive v2.0 for Alpha, windows 2017-07-01, 2018-01-01" in told
    assert "forecast-platform train --commodity Alpha --models naive --start-date 2017-07-01" in told
    assert Platform.from_settings(_settings(small)).warehouse.version(DISTRIBUTIONS) is None
    command = next(line for line in told.splitlines() if line.startswith("train them with: forecast-platform "))
    assert run(*command.removeprefix("train them with: forecast-platform ").split())[0] == 0
    code, told = run("backfill", "--commodity", "Alpha", "--models", "naive", "--model-version-tag", "v2.0", *SPAN)
    assert code == 0, told


@pytest.mark.slow
def test_backfill_with_train_trains_what_is_missing_first(run: Run) -> None:
    code, told = run(
        "backfill", "--commodity", "Alpha", "--models", "naive", "--model-version-tag", "v3", "--train", *SPAN
    )
    assert code == 0, told
    assert "trained_models/naive: 2 written" in told


@pytest.mark.slow
def test_a_warehouse_of_another_horizon_is_refused_by_every_command_before_any_work(
    run: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = Platform.from_settings(settings_for(small, horizon=20))
    forecast(longer, "Alpha", "naive", days("2018-01-01", "2018-01-03"))
    span = ("--commodity", "Alpha", "--start-date", "2018-01-01", "--end-date", "2018-01-10")
    before = {table.name: longer.warehouse.version(table) for table in TABLES}
    for command in (
        ("train", *span),
        ("backfill", *span),
        ("infer", "--date", "2018-01-05"),
        ("evaluate",),
        ("coverage",),
    ):
        code, told = run(*command)
        assert code != 0
        assert "horizon is 14, but this warehouse holds forecasts of 20 days" in told
        assert "set FORECAST_PLATFORM_HORIZON=20" in told
    assert before == {table.name: longer.warehouse.version(table) for table in TABLES}
    monkeypatch.setenv("FORECAST_PLATFORM_HORIZON", "20")
    load.cache_clear()
    code, told = run("backfill", *span, "--models", "naive")
    assert code == 0, told
    assert "distributions/naive: 7 written, 3 unchanged" in told
    code, told = run("evaluate", "--commodity", "Alpha", "--models", "naive")
    assert code == 0, told
    assert "leaderboard by CRPS (20 days, each last close and target once)" in told


@pytest.mark.slow
def test_new_source_data_are_ingested_before_a_backfill(
    run: Run, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = small / "landing" / "market" / "alpha.csv"
    text = file.read_text()
    file.write_text(text + "2018-04-02,50,50,50,50,1\n")
    code, told = run("infer", "--commodity", "Alpha", "--models", "naive", "--date", "2018-04-03")
    assert code == 0, told
    assert "ingest Alpha: 2018-04-02" in told or "ingest Alpha: 2018-03-30" in told
    latest = Reader(_settings(small)).latest("Alpha", "naive", on="2018-04-03")
    assert latest.last_observed_date == dt.date(2018, 4, 2)


def test_infer_forecasts_all_series_and_models_of_a_date_in_one_run(run: Run, small: Path) -> None:
    code, told = run("infer", "--date", "2018-03-01")
    assert code == 0, told
    assert "forecast Alpha, Beta: 2018-03-01" in told
    reader = Reader(_settings(small))
    for series in ("Alpha", "Beta"):
        for model in ("naive", "random_walk"):
            assert list(reader.paths(series, model, require_complete=True)) == [dt.date(2018, 3, 1)]
    # And the two series of the date share their shocks.
    moves = [reader.latest(series, "naive", max_age=None).paths[:, 0].astype(float) for series in ("Alpha", "Beta")]
    assert np.corrcoef(*moves)[0, 1] > 0.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backfill", "--commodity", "Cocoa"], "series 'Cocoa' is not configured; known: Alpha, Beta"),
        (["backfill", "--models", "oracle"], "model 'oracle' is not configured; configured: naive, random_walk"),
        (["backfill", "--start-date", "2017-06-30"], "lies before 2017-07-01, the first forecast date"),
        (["backfill", "--start-date", "2018-02-01", "--end-date", "2018-01-01"], "lies before --start-date"),
        (["infer", "--date", "2999-01-01"], ": --date 2999-01-01 lies after"),
        (["train", "--train-frequency", "monthly"], "FORECAST_PLATFORM_TRAIN_FREQUENCY=monthly"),
    ],
)
def test_a_wrong_request_is_refused_before_any_work(run: Run, arguments: list[str], told: str) -> None:
    code, text = run(*arguments)
    assert code == 2
    assert told in text
    assert "run " not in text


@pytest.mark.slow
def test_only_their_owner_may_read_what_commands_write_and_migrate_closes_the_rest(
    run: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened() -> list[Path]:
        roots = [small / "warehouse", small / "dagster", small / "saved", small / "saved.tar"]
        everything = [path for root in roots if root.exists() for path in (root, *root.rglob("*"))]
        return [path for path in everything if path.stat().st_mode & 0o077]

    (small / "warehouse").chmod(0o755)
    assert opened(), "a warehouse of an earlier version"
    code, told = run("migrate", "--dry-run")
    assert "files and folders that others may read would be closed (setting readable_by)" in told
    code, told = run("migrate")
    assert code == 0
    assert "files and folders closed to others" in told
    assert run("migrate") == (0, "nothing to migrate\n")
    before = os.umask(0o022)
    try:
        train = ["--models", "naive", "--start-date", "2018-01-01", "--end-date", "2018-01-01"]
        for command in (
            ["train", "--overwrite", "--commodity", "Alpha", *train],
            ["infer", "--date", "2018-03-01"],
            ["daily-page", "--date", "2018-03-01"],
            ["backup", str(small / "saved")],
            ["backup", str(small / "saved.tar")],
            ["restore", "--force", str(small / "saved.tar")],
        ):
            code, told = run(*command)
            assert code == 0, told
        assert opened() == []
        load.cache_clear()
        monkeypatch.setenv("FORECAST_PLATFORM_READABLE_BY", "group")
        run("daily-page", "--date", "2018-03-02")
        assert (small / "warehouse" / "_reports" / "daily_2018-03-02.html").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


@pytest.mark.slow
def test_a_refused_file_fails_its_series_and_no_other(run: Run, small: Path) -> None:
    beta = small / "landing" / "market" / "beta.csv"
    beta.write_text(beta.read_text() + "2018-04-02,x,1,1,1,1\n")
    code, told = run("infer", "--date", "2018-03-01")
    assert code == 1
    assert "refused by the source: market/beta.csv, row" in told
    assert Reader(_settings(small)).latest("Alpha", "naive", max_age=None).forecast_date == dt.date(2018, 3, 1)


def test_wrong_settings_are_told_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_N_PATHS", "7")
    load.cache_clear()
    code, told = run("coverage")
    assert code == 2
    assert "n_paths (FORECAST_PLATFORM_N_PATHS) = '7'" in told


@pytest.mark.parametrize("arguments", [("up", "--port", "80000"), ("health", "--http", "-1"), ("up", "--port", "ui")])
def test_a_port_that_is_none_is_named(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments[:1], f"{arguments[1]}={arguments[2]}"])
    assert caught.value.code == 2
    assert f"'{arguments[2]}' is not a port: a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["infer", "up"])
def test_a_dagster_home_that_cannot_be_is_named_with_the_mend(
    run: Run, small: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (small / "in the way").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(small / "in the way"))
    code, told = run(command)
    assert code == 2
    assert f"DAGSTER_HOME = '{small}/in the way': File exists: name a folder that this account can write to" in told


def test_a_folder_that_refuses_a_write_is_named_with_the_mend(run: Run, small: Path) -> None:
    (small / "warehouse" / "_reports").touch()
    code, told = run("daily-page")
    assert code == 1
    assert f"{small}/warehouse/_reports: File exists: make it writable for this account" in told


def test_a_part_of_the_maintenance_that_fails_keeps_no_other_from_running(run: Run, small: Path) -> None:
    files = (small / "warehouse" / "commodity" / "forecast" / "trained_models").rglob("*.parquet")
    next(path for path in sorted(files) if "commodity=Alpha" in str(path)).unlink()
    code, told = run("maintain")
    assert code == 1
    assert "compact: FAILED: " in told
    assert "the next run goes on from here" in told
    assert all(f"{part}: done in" in told for part in ("vacuum", "prune"))


def _start(root: Path, *arguments: str) -> Command:
    return Command(*arguments, env={**os.environ, **environment(root)})


def _wait_for_rows(root: Path) -> None:
    warehouse = Platform.from_settings(settings_for(root)).warehouse
    until(lambda: warehouse.version(DISTRIBUTIONS), "the first rows", pause=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.3, 0.8])
def test_a_killed_backfill_is_completed_by_running_it_again(small: Path, pause: float) -> None:
    command = ("backfill", "--commodity", "Alpha")
    killed = _start(small, *command)
    _wait_for_rows(small)
    time.sleep(pause)
    killed.kill()
    killed.wait()
    platform = Platform.from_settings(settings_for(small))
    before = platform.warehouse.read(
        DISTRIBUTIONS, ["forecast_date", "model_name", "generation_timestamp"], {"path_id": 0}
    )
    kept = {(row["model_name"], row["forecast_date"]): row["generation_timestamp"] for row in before.to_pylist()}
    assert kept
    again = _start(small, *command)
    told = again.told(PATIENCE)
    assert again.returncode == 0, told
    assert "was killed; what it wrote is kept" in told
    after = platform.warehouse.read(
        DISTRIBUTIONS, ["forecast_date", "model_name", "generation_timestamp", "path_id"], {"is_actuals": False}
    ).to_pylist()
    keys = [(row["model_name"], row["forecast_date"], row["path_id"]) for row in after]
    assert len(keys) == len(set(keys)) == 2 * 273 * 200
    times = {(row["model_name"], row["forecast_date"]): row["generation_timestamp"] for row in after}
    unchanged = [key for key, moment in kept.items() if key[0] != "actuals" and times[key] != moment]
    assert not unchanged, "what was written before the kill was computed again"


@pytest.mark.slow
def test_an_interrupted_backfill_ends_as_canceled_and_is_resumed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster import DagsterInstance

    process = _start(small, "backfill", "--commodity", "Alpha")
    _wait_for_rows(small)
    process.send_signal(signal.SIGINT)
    told = process.told(PATIENCE)
    assert process.returncode == INTERRUPTED, told
    assert "run the command again to complete it" in told
    monkeypatch.setenv("DAGSTER_HOME", str(small / "dagster"))
    with DagsterInstance.get() as instance:
        assert [record.status.value for record in instance.get_runs() if record.job_name == "forecast"] == ["CANCELED"]
    again = _start(small, "backfill", "--commodity", "Alpha")
    told = again.told(PATIENCE)
    assert again.returncode == 0, told


@pytest.mark.slow
def test_two_backfills_at_once_of_one_model_and_month_lose_nothing(small: Path) -> None:
    halves = [("2018-01-01", "2018-01-16"), ("2018-01-17", "2018-01-31")]
    running = [
        _start(small, "backfill", "--commodity", "Alpha", "--models", "naive", "--start-date", a, "--end-date", b)
        for a, b in halves
    ]
    for process in running:
        told = process.told(PATIENCE)
        assert process.returncode == 0, told
    found = Reader(settings_for(small)).paths("Alpha", "naive")
    assert list(found) == [dt.date(2018, 1, day) for day in range(1, 32)]
