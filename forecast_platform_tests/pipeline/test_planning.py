"""A plan says what the backfill then does, and writes nothing."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from forecast_platform.cli import main as cli
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.planning import BackfillPlan, backfill_plan
from forecast_platform.settings import load
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import POINT_FORECASTS, TRAINED_MODELS
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for

SPAN = days("2017-12-20", "2018-01-15")


def _plan(platform: Platform, models: tuple[str, ...] = ("naive", "random_walk"), **options: bool) -> BackfillPlan:
    return backfill_plan(platform, ["Alpha"], models, SPAN, version="v1.0", **options)


def _files(root: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in root.rglob("*")}


@pytest.fixture
def platform(small: Path) -> Platform:
    """All that the source holds is ingested, the closed days after its last session too."""
    made = Platform.from_settings(settings_for(small))
    ingest(made, made.settings.series_names, dt.date(2018, 3, 1), dt.date(2018, 4, 1))
    return made


def test_a_plan_counts_what_is_to_do_to_skip_and_to_repair_as_the_backfill_then_does(platform: Platform) -> None:
    done = SPAN[3:10]
    forecast(platform, "Alpha", "naive", done)
    gone = keys_of("Alpha", "naive", "v1.0", [done[0]], by_month=False)
    platform.warehouse.replace(POINT_FORECASTS, POINT_FORECASTS.arrow_schema().empty_table(), gone)
    before = _files(platform.settings.warehouse)
    planned = _plan(platform)
    assert _files(platform.settings.warehouse) == before
    naive, walk = planned.models
    assert (len(naive.todo), naive.skipped, naive.repaired, naive.waiting) == (len(SPAN) - 7, 7, 1, 0)
    assert (len(walk.todo), walk.skipped) == (len(SPAN), 0)
    assert planned.complete
    assert planned.runs == {"ingest": 0, "train": 0, "forecast": 1, "score": 1}
    outcome = forecast(platform, "Alpha", "naive", SPAN)
    assert outcome.written == set(naive.todo)
    assert len(outcome.skipped) == naive.skipped
    assert len(_plan(platform, overwrite=True).models[0].todo) == len(SPAN)


def test_time_comes_from_past_forecasts_and_is_unknown_without_any(platform: Platform) -> None:
    assert _plan(platform).seconds is None
    forecast(platform, "Beta", "naive", SPAN)
    forecast(platform, "Alpha", "random_walk", SPAN[:3])
    planned = _plan(platform)
    naive, walk = planned.models
    # Of another series where this one has no past.
    assert naive.inference_seconds is not None
    assert naive.inference_seconds > 0
    assert walk.inference_seconds is not None
    assert planned.seconds is not None
    assert planned.seconds > naive.inference_seconds + walk.inference_seconds


def test_disk_is_within_a_tenth_of_what_the_backfill_then_adds(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small, n_paths=2000))
    expected = _plan(platform, ("random_walk",)).stored_bytes
    tables = platform.settings.warehouse / "commodity"

    def size() -> int:
        return sum(path.stat().st_size for path in tables.rglob("*.parquet"))

    before = size()
    forecast(platform, "Alpha", "random_walk", SPAN)
    assert size() - before == pytest.approx(expected, rel=0.1)


def test_a_missing_model_and_a_date_that_cannot_be_forecast_are_told_apart(platform: Platform) -> None:
    lost = {"commodity": "Alpha", "model_name": "naive", "training_cutoff_date": dt.date(2017, 12, 31)}
    platform.warehouse.replace(TRAINED_MODELS, TRAINED_MODELS.arrow_schema().empty_table(), lost)
    dates = days("2017-12-30", "2018-01-02") + days("2018-05-01", "2018-05-03")
    planned = backfill_plan(platform, ["Alpha"], ["naive", "random_walk"], dates, version="v1.0")
    naive, walk = planned.models
    assert not planned.complete
    assert naive.missing_windows == (dt.date(2018, 1, 1),)
    assert (len(naive.todo), naive.waiting, naive.failed) == (2, 5, {})
    assert naive.training_seconds is not None
    assert set(walk.failed) == set(days("2018-05-01", "2018-05-03"))
    assert "data of Alpha end on 2018-03-29" in walk.failed[dt.date(2018, 5, 1)]
    assert planned.runs["train"] == 1
    assert backfill_plan(platform, ["Alpha"], ["naive"], dates, version="v1.0", train=False).runs["train"] == 0


def test_days_that_would_be_ingested_first_are_told(platform: Platform) -> None:
    file = platform.settings.landing / "market" / "alpha.csv"
    lines = file.read_text().splitlines()
    *cells, _, volume = lines[-1].split(",")
    file.write_text("\n".join([*lines[:-1], ",".join([*cells, "123.0", volume])]) + "\n")
    planned = _plan(platform)
    assert planned.runs["ingest"] == 1
    assert planned.ingest["Alpha"][0] == dt.date(2018, 3, 29)
    assert "2018-03-29 to 2018-04-01 is new or revised" in planned.notes[0]


def test_plan_from_a_shell_prints_and_writes_nothing(
    shell, platform: Platform, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(small)
    span = ("--start-date", "2018-01-01", "--end-date", "2018-03-30")
    assert shell("plan", "--commodity", "Alpha", *span) == cli.OK
    shown = capsys.readouterr().out
    assert "backfill of 2018-01-01 to 2018-03-30, v1.0: 89 dates, 1 series, 2 models" in shown
    assert "Alpha naive: to do 2018-01-01 to 2018-03-30" in shown
    assert "runs: 2 (1 forecast, 1 score)" in shown
    assert "time: unknown: no past to tell from" in shown
    assert "GB free now" in shown
    assert _files(small) == before


def test_plan_says_which_runs_the_ui_would_launch(shell, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _files(small)
    assert shell("plan", "--start-date", "2018-01-02", "--end-date", "2018-01-04", "--ui") == cli.OK
    shown = capsys.readouterr().out
    part = "distributions, point_forecasts of naive, random_walk"
    assert "distributions and point_forecasts: 2 runs" in shown
    assert f"  2018-01-02|Alpha to 2018-01-04|Alpha: {part}\n  2018-01-02|Beta to 2018-01-04|Beta: {part}" in shown
    # Dagster makes a run for each key of the dimension that has fewer: of one window, one run for all series.
    assert "forecast_metadata: 1 run\n  2018-01-01|Alpha to 2018-01-01|Beta: forecast_metadata of naive" in shown
    # The days are those of unified_data then: what reads them is made a day later.
    assert "  2018-01-03|Alpha to 2018-01-05|Alpha: " in shown
    assert _files(small) == before


def test_plan_from_a_shell_fails_where_models_are_missing(shell, capsys: pytest.CaptureFixture[str]) -> None:
    span = ("--start-date", "2018-01-01", "--end-date", "2018-03-30")
    assert shell("plan", "--models", "naive", "--model-version-tag", "v1.1", *span) == cli.FAILED
    shown = capsys.readouterr().out
    assert "Beta naive: 1 windows to train" in shown
    assert "no trained_models/naive v1.1 for Alpha, Beta, windows 2018-01-01" in shown
    assert "train --commodity Alpha Beta --models naive --start-date 2018-01-01" in shown
    assert "--model-version-tag v1.1\nor launch the backfill with --train" in shown
    assert shell("plan", "--start-date", "2001-01-01", "--end-date", "2018-01-01") == cli.WRONG
    assert "lies before 2017-07-01, the first forecast date" in capsys.readouterr().err


def test_plan_from_a_shell_says_where_the_disk_is_too_small(
    shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_MIN_FREE_GB", str(10**6))
    load.cache_clear()
    assert shell("plan", "--start-date", "2018-01-01", "--end-date", "2018-01-31") == cli.OK
    assert "NOT ENOUGH" in capsys.readouterr().out
