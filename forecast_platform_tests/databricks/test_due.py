"""What a scheduled run has to make: every version that readers follow, and the days that were missed."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from forecast_platform.pipeline import champions
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.remote import entry
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for, write_landing

WINDOW = dt.date(2018, 1, 1)
OLDER = "v0.9"


@pytest.fixture
def platform(small: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """Trained in v1.0 for two windows, in v0.9 for the second; v0.9 is what Alpha's readers follow."""
    # The task names its settings to the processes it starts: set and taken away, so that this is taken back.
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", "none")
    monkeypatch.delenv("FORECAST_PLATFORM_CONFIG")
    platform = Platform.from_settings(settings_for(small, models=["naive"]))
    for name in platform.settings.series_names:
        assert not train(platform, name, "naive", [WINDOW], version=OLDER).failed
    champions.promote(platform, "Alpha", "naive", OLDER, "an older version", force=True)
    return platform


def done(platform: Platform, today: str, action: str = "infer", **given: str) -> dict[tuple[str, str], tuple[int, int]]:
    """What an action on `today` says of each series and version: written, unchanged."""
    root = platform.settings.warehouse.parent
    told = {
        "source": "landing",
        "landing": str(root / "landing"),
        "warehouse": str(platform.settings.warehouse),
        "models": ["naive", "random_walk"] if "random_walk" in given.get("models", "") else ["naive"],
        "lookback_years": 3,
        "start_date": "2017-07-01",
        "end_date": today,
        "n_paths": 200,
        "min_free_gb": 0.0,
        "catch_up_days": 4,
    }
    (root / "cluster.yaml").write_text(yaml.safe_dump(told))
    steps = json.loads(entry.run(action, {"config": str(root / "cluster.yaml"), "compute": "local", **given}))["steps"]
    kind = "train" if action == "train" else "forecast"
    return {(s["series"], s["version"]): (s["written"], s["unchanged"]) for s in steps if s["step"] == kind}


def test_a_daily_run_makes_up_for_missed_days_in_every_version_that_readers_follow(platform: Platform) -> None:
    assert not forecast(platform, "Alpha", "naive", days("2018-02-03", "2018-02-03")).failed
    expected = {("Alpha", "v1.0"): (3, 0), ("Alpha", OLDER): (4, 0), ("Beta", "v1.0"): (4, 0), ("Beta", OLDER): (4, 0)}
    assert done(platform, "2018-02-05") == expected
    assert done(platform, "2018-02-05") == dict.fromkeys(expected, (0, 1))


def test_days_of_a_window_without_a_model_were_not_missed(platform: Platform) -> None:
    assert done(platform, "2018-01-02", commodity="Alpha") == {("Alpha", "v1.0"): (4, 0), ("Alpha", OLDER): (2, 0)}


def test_what_is_asked_for_is_all_that_is_made(platform: Platform) -> None:
    chosen = {"commodity": "Alpha", "model_version_tag": "v1.0", "start_date": "2018-02-05"}
    assert done(platform, "2018-02-05", **chosen) == {("Alpha", "v1.0"): (1, 0)}
    assert done(platform, "2018-02-05", "backfill", commodity="Alpha", start_date="2018-02-04") == {
        ("Alpha", "v1.0"): (1, 1)
    }


def test_a_date_without_a_version_is_of_the_configured_one(platform: Platform) -> None:
    chosen = {"commodity": "Alpha", "start_date": "2018-02-05"}
    assert done(platform, "2018-02-05", **chosen) == {("Alpha", "v1.0"): (1, 0)}
    assert done(platform, "2018-02-05", "train", **chosen) == {("Alpha", "v1.0"): (0, 1)}


def test_a_training_run_fits_every_version_that_readers_follow(platform: Platform) -> None:
    assert done(platform, "2018-02-05", "train", commodity="Alpha", overwrite="true") == {
        ("Alpha", "v1.0"): (1, 0),
        ("Alpha", OLDER): (1, 0),
    }


def test_a_warehouse_that_jobs_alone_fill_follows_the_model_with_the_best_score(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    for model in ("naive", "random_walk"):
        assert not train(platform, "Beta", model, [dt.date(2017, 7, 1), WINDOW]).failed
    assert not champions.decisions(platform, "Beta")
    given = {"start_date": "2017-11-01", "commodity": "Beta", "models": "naive,random_walk"}
    done(platform, "2018-03-30", "backfill", **given)
    [chosen] = champions.decisions(platform, "Beta")
    assert chosen.model in ("naive", "random_walk")
    assert chosen.why.startswith(champions.FIRST_CHOICE)


def test_the_days_that_come_later_complete_actuals_and_scores_of_the_window_before(platform: Platform) -> None:
    root, day = platform.settings.warehouse.parent, dt.date(2017, 12, 29)
    write_landing(root / "landing", last=day - dt.timedelta(days=1))
    shutil.rmtree(root / "warehouse" / "commodity" / "silver")
    chosen = {"commodity": "Alpha", "model_version_tag": "v1.0"}
    assert done(platform, str(day), **chosen) == {("Alpha", "v1.0"): (4, 0)}
    reader = Reader(platform.settings)
    assert np.isnan(reader.actuals("Alpha", day)[day]).all()
    write_landing(root / "landing")
    assert done(platform, "2018-01-17", **chosen) == {("Alpha", "v1.0"): (4, 0)}
    _, closes, _ = platform.closes("Alpha", day, day + dt.timedelta(days=13))
    assert np.array_equal(reader.actuals("Alpha", day)[day], closes.astype(np.float32))
    where = {"commodity": "Alpha", "model_name": "naive", "model_version": "v1.0", "forecast_date": day}
    [row] = platform.warehouse.read(FORECAST_METADATA, where=where).to_pylist()
    assert row["actuals_available"] == 14
    assert row["crps_14d"] is not None
