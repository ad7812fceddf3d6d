"""Training: once a window, kept with what it read, tracked, and never trained on data that are not there."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.pipeline.tracking import Tracker
from forecast_platform.pipeline.training import train
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work import fits
from forecast_platform.work.fits import MissingModelError, load_model
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import settings_for

WINDOWS = [dt.date(2017, 7, 1), dt.date(2018, 1, 1)]


def _platform(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **changes))


def _rows(platform: Platform, **where: object) -> list[dict[str, object]]:
    return platform.warehouse.read(TRAINED_MODELS, where={"commodity": "Alpha", **where}).to_pylist()


def test_a_fit_is_kept_with_its_span_data_and_figures(small: Path) -> None:
    [row] = _rows(_platform(small), model_name="random_walk", year=2018)
    assert row["training_start_date"] == dt.date(2015, 1, 1)
    assert row["training_cutoff_date"] == dt.date(2017, 12, 31)
    assert (row["year"], row["month"], row["is_active"]) == (2018, 1, True)
    parameters = json.loads(str(row["parameters"]))
    assert parameters["history_start"] == "2015-01-01"
    assert {"insample_crps", "holdout_crps", "holdout_crps_naive", "holdout_skill"} <= parameters["metrics"].keys()
    assert 700 < int(str(row["training_samples"])) < 780


def test_training_again_is_skipped_and_overwriting_keeps_the_earlier_fit_inactive(small: Path) -> None:
    platform = _platform(small)
    version = platform.warehouse.version(TRAINED_MODELS)
    assert train(platform, "Alpha", "naive", WINDOWS).skipped == set(WINDOWS)
    assert platform.warehouse.version(TRAINED_MODELS) == version
    assert train(platform, "Alpha", "naive", WINDOWS[:1], overwrite=True).written == {WINDOWS[0]}
    rows = _rows(platform, model_name="naive", training_cutoff_date=WINDOWS[0] - dt.timedelta(days=1))
    assert sorted(row["is_active"] for row in rows) == [False, True]
    assert len({row["model_id"] for row in rows}) == 1, "the same data give the same model"


def test_a_window_whose_data_are_not_there_yet_is_refused(small: Path) -> None:
    outcome = train(_platform(small), "Alpha", "naive", [dt.date(2018, 7, 1)])
    [reason] = outcome.failed.values()
    assert "data end on 2018-03-29" in reason
    assert "exchange sessions before window 2018-07-01 begins" in reason


def test_one_windows_failure_does_not_keep_the_others(small: Path) -> None:
    outcome = train(_platform(small), "Alpha", "naive", [*WINDOWS, dt.date(2018, 7, 1)], overwrite=True)
    assert outcome.written == set(WINDOWS)
    assert set(outcome.failed) == {dt.date(2018, 7, 1)}


def test_every_fit_is_a_tracked_run_and_a_version_of_a_registered_model(small: Path) -> None:
    platform = _platform(small)
    # The template's tracking store was made in another folder; fits of this test go to this one's.
    platform = _platform(small, mlflow_tracking_uri=f"sqlite:///{small / 'mlflow.db'}")
    assert train(platform, "Alpha", "random_walk", WINDOWS, overwrite=True).written == set(WINDOWS)
    client = Tracker(platform.settings).client
    rows = [row for row in _rows(platform, model_name="random_walk") if row["is_active"]]
    for row in rows:
        run = client.get_run(str(row["mlflow_run_id"]))
        assert run.info.status == "FINISHED"
        assert run.data.tags["series"] == "Alpha"
        assert run.data.tags["data_version"] == row["data_version"]
        assert "holdout_crps" in run.data.metrics
    versions = client.search_model_versions("name='Alpha-random_walk'")
    assert sorted(version.tags["window"] for version in versions) == ["2017-07-01", "2018-01-01"]


def test_a_tracked_model_loads_through_mlflow_and_gives_the_same_paths(small: Path) -> None:
    import mlflow

    from forecast_platform.forecasting.shocks import Shocks

    uri = f"sqlite:///{small / 'mlflow.db'}"
    platform = _platform(small, mlflow_tracking_uri=uri)
    train(platform, "Alpha", "random_walk", WINDOWS[1:], overwrite=True)
    stored = load_model(platform, "Alpha", "random_walk", "v1.0", WINDOWS[1])
    table = platform.series_table("Alpha")
    origins = np.array(["2018-01-09"], "datetime64[D]")
    history = table.history(stored.history_start, origins[0], stored.covariates)
    expected = stored.fitted.simulate(history, origins, 14, 50, Shocks(5, stored.fitted.n_slots))
    [row] = [row for row in _rows(platform, model_name="random_walk", year=2018) if row["is_active"]]
    mlflow.set_tracking_uri(uri)
    artifact = Tracker(platform.settings).client.get_run(str(row["mlflow_run_id"])).info.artifact_uri
    loaded = mlflow.pyfunc.load_model(f"{artifact}/model")
    assert np.array_equal(loaded.predict({"history": history, "origins": origins, "n_paths": 50, "seed": 5}), expected)


def test_a_large_model_goes_to_a_file_and_a_missing_file_is_named_with_the_mend(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    monkeypatch.setattr(fits, "INLINE_LIMIT", 100)
    train(platform, "Alpha", "naive", WINDOWS[:1], overwrite=True)
    [row] = [
        row
        for row in _rows(platform, model_name="naive", training_cutoff_date=WINDOWS[0] - dt.timedelta(days=1))
        if row["is_active"]
    ]
    assert row["fitted_model_json"] is None
    file = Path(str(row["fitted_model_s3_path"]))
    assert load_model(platform, "Alpha", "naive", "v1.0", WINDOWS[0]).fitted.to_json() == file.read_text()
    file.write_text(re.sub(r"[1-8]", lambda digit: str(int(digit[0]) + 1), file.read_text()))
    with pytest.raises(MissingModelError, match=rf"{file.name} is not what was written: .*train it again with"):
        load_model(platform, "Alpha", "naive", "v1.0", WINDOWS[0])
    file.unlink()
    with pytest.raises(MissingModelError, match=r"is gone; train it again with .*--overwrite"):
        load_model(platform, "Alpha", "naive", "v1.0", WINDOWS[0])


def test_a_failing_tracker_does_not_cost_the_fit(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    platform = _platform(small, mlflow_tracking_uri="http://127.0.0.1:9")
    outcome = train(platform, "Alpha", "naive", WINDOWS[:1], overwrite=True)
    assert outcome.written == {WINDOWS[0]}
    assert any("did not take the fit" in note for note in outcome.notes)


def test_covariates_are_chosen_from_the_training_days_alone(small: Path) -> None:
    platform = _platform(small, series=[{"name": "Alpha", "covariates": ["vix"]}])
    table = platform.series_table("Alpha")
    window = platform.training_window(WINDOWS[1])
    assert table.covariate_names("none", window) == ()
    assert table.covariate_names("series", window) == ("vix", "temp_mean_c", "precipitation_mm")
    assert table.covariate_names("weather_or_series", window) == ("temp_mean_c", "precipitation_mm")
    early = platform.training_window(dt.date(2014, 7, 1))
    assert table.covariate_names("series", early) == (), "half of that window lies before the data"
