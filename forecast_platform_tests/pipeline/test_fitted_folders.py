"""Fitted models that are folders: compared with their manifest before anything is opened; pickles only if signed."""

from __future__ import annotations

import base64
import datetime as dt
import gc
import hashlib
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.isolated import IsolatedError, IsolatedFitted
from forecast_platform.models.prepared import environment
from forecast_platform.models.saved import ArtifactError, Saved, from_bytes, manifest_of, to_bytes
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.tracking import Tracker
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.testing.histories import random_history
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work import fits
from forecast_platform.work.fits import MissingModelError, load_model
from forecast_platform.work.platform import Platform
from forecast_platform.work.signing import key_file
from forecast_platform_tests.histories import nearby_history
from forecast_platform_tests.models import kept_models
from forecast_platform_tests.worlds import days, settings_for

WINDOW = dt.date(2018, 1, 1)
SPAN = days("2018-01-03", "2018-01-05")
PLUGIN = kept_models.__name__
NAMES = ("in_files", "pickled")


def _platform(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, models=["naive", *NAMES], plugins=[PLUGIN], **changes))


def _row(platform: Platform, model: str) -> dict[str, Any]:
    where = {"commodity": "Alpha", "model_name": model, "is_active": True}
    rows = platform.warehouse.read(TRAINED_MODELS, where=where).to_pylist()
    return next(row for row in rows if row["training_cutoff_date"] == WINDOW - dt.timedelta(days=1))


def _write(platform: Platform, row: dict[str, Any]) -> None:
    key = ("commodity", "model_name", "model_version", "training_cutoff_date")
    table = pa.Table.from_pylist([row], schema=TRAINED_MODELS.arrow_schema())
    platform.warehouse.replace(TRAINED_MODELS, table, {name: row[name] for name in key})


def _spoiled(row: dict[str, Any], data: bytes) -> dict[str, Any]:
    """The row with another content of its first file, which its manifest does not know."""
    document = json.loads(row["fitted_model_json"])
    name = next(iter(document["content"]))
    document["content"][name] = base64.b64encode(data).decode()
    return {**row, "fitted_model_json": json.dumps(document, sort_keys=True)}


@pytest.mark.parametrize("large", [False, True], ids=["in the row", "in a folder"])
@pytest.mark.parametrize("model", NAMES)
def test_a_folder_model_forecasts_what_it_fitted_wherever_it_is_kept(
    small: Path, monkeypatch: pytest.MonkeyPatch, model: str, large: bool
) -> None:
    platform = _platform(small)
    if large:
        monkeypatch.setattr(fits, "INLINE_LIMIT", 100)
    assert train(platform, "Alpha", model, [WINDOW]).written == {WINDOW}
    assert (_row(platform, model)["fitted_model_s3_path"] is not None) == large
    assert forecast(platform, "Alpha", model, SPAN).written == set(SPAN)
    # It is the naive model, kept otherwise: its paths are the naive's to the bit.
    forecast(platform, "Alpha", "naive", SPAN)
    reader = Reader(platform.settings, platform.warehouse)
    found, expected = reader.paths("Alpha", model), reader.paths("Alpha", "naive")
    assert all(np.array_equal(found[day], expected[day]) for day in SPAN)
    assert forecast(platform, "Alpha", model, SPAN).skipped == set(SPAN)


def test_the_same_fit_has_the_same_identity_and_other_files_another(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "in_files", [WINDOW])
    first = _row(platform, "in_files")["model_id"]
    train(platform, "Alpha", "in_files", [WINDOW], overwrite=True)
    assert _row(platform, "in_files")["model_id"] == first
    manifest = manifest_of(load_model(platform, "Alpha", "in_files", "v1.0", WINDOW).saved.text)
    assert manifest is not None
    assert list(manifest["files"]) == ["parts/changes.npy"]


@pytest.mark.parametrize("model", NAMES)
def test_a_changed_file_is_refused_by_name_before_it_is_opened(
    small: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    train(platform, "Alpha", model, [WINDOW])
    _write(platform, _spoiled(_row(platform, model), b"something else"))
    monkeypatch.setattr(fits, "open_saved", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(MissingModelError, match=r"window 2018-01-01: its file .* has sha256 .*; train it again with"):
        load_model(platform, "Alpha", model, "v1.0", WINDOW)
    failed = forecast(platform, "Alpha", model, SPAN).failed
    assert set(failed) == set(SPAN)
    assert all("sha256" in reason for reason in failed.values())


def test_a_file_that_is_gone_is_refused_by_name(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = _platform(small)
    monkeypatch.setattr(fits, "INLINE_LIMIT", 100)
    train(platform, "Alpha", "in_files", [WINDOW])
    (Path(_row(platform, "in_files")["fitted_model_s3_path"]) / "parts" / "changes.npy").unlink()
    with pytest.raises(MissingModelError, match=r"its file parts/changes.npy is gone; train it again"):
        load_model(platform, "Alpha", "in_files", "v1.0", WINDOW)


class _Marks:
    """What leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_whose_manifest_this_warehouse_did_not_sign_is_never_opened(small: Path, tmp_path: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    marker = tmp_path / "opened"
    planted = pickle.dumps(_Marks(marker))
    row = _spoiled(_row(platform, "pickled"), planted)
    document = json.loads(row["fitted_model_json"])
    manifest = json.loads(document["__manifest__"])
    # Whoever can write the table can make a manifest that fits the file, and keep the signature of the one before.
    manifest["files"]["model.pkl"] = {"sha256": hashlib.sha256(planted).hexdigest(), "bytes": len(planted)}
    document["__manifest__"] = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    for signature in (document["signature"], None, ""):
        document["signature"] = signature
        _write(platform, {**row, "fitted_model_json": json.dumps(document, sort_keys=True)})
        failed = forecast(platform, "Alpha", "pickled", SPAN).failed
        assert all("this warehouse has not signed its manifest; train it again" in why for why in failed.values())
        assert set(failed) == set(SPAN)
    assert not marker.exists()


def test_a_signature_is_for_its_own_series_model_version_and_window(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    moved = {**_row(platform, "pickled"), "commodity": "Beta"}
    _write(platform, moved)
    with pytest.raises(MissingModelError, match="has not signed"):
        load_model(platform, "Beta", "pickled", "v1.0", WINDOW)


def test_a_pickle_is_opened_in_a_process_that_knows_no_secret_of_this_one(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    stored = load_model(platform, "Alpha", "pickled", "v1.0", WINDOW)
    monkeypatch.setattr(kept_models.Pickled, "load_folder", lambda *_: pytest.fail("it was opened in this process"))
    assert isinstance(stored.fitted, IsolatedFitted)
    assert forecast(platform, "Alpha", "pickled", SPAN).written == set(SPAN)
    monkeypatch.setenv("DATABRICKS_TOKEN", "very-secret")
    assert not {name for name in environment(small) if "TOKEN" in name or name.startswith("FORECAST_PLATFORM")}


def test_a_history_with_bars_and_a_roll_schedule_goes_over_whole(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    stored = load_model(platform, "Alpha", "pickled", "v1.0", WINDOW)
    # The naive model reads none of them: the other process must take the whole history for those that do.
    history = nearby_history().since(stored.window.start)
    assert history.schedule is not None
    origins = np.array(["2018-01-09", "2018-01-10"], "datetime64[D]")
    shocks = Shocks(5, stored.fitted.n_slots)
    changes = {**json.loads(stored.fitted.to_json())}
    folder = stored.fitted.folder if isinstance(stored.fitted, IsolatedFitted) else Path()
    here = kept_models.Pickled().load_folder(json.dumps(changes), folder, stored.window)
    there = stored.fitted.simulate(history, origins, 14, 50, shocks)
    assert np.array_equal(there, here.simulate(history, origins, 14, 50, shocks))


def test_a_process_that_fails_says_why(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    stored = load_model(platform, "Alpha", "pickled", "v1.0", WINDOW)
    fitted = stored.fitted
    assert isinstance(fitted, IsolatedFitted)
    (fitted.folder / "model.pkl").write_bytes(b"no pickle")
    failed = forecast(platform, "Alpha", "pickled", SPAN[:1])
    assert not failed.failed, "each forecast opens its own compared copy"
    with pytest.raises(IsolatedError, match=r"pickled: its process ended with code 1: .*Unpickling"):
        fitted.simulate(random_history(), np.array(["2018-01-03"], "datetime64[D]"), 14, 3, Shocks(1, fitted.n_slots))


def test_the_key_is_its_owner_s_alone_and_one_that_others_can_read_is_refused(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    path = key_file(platform.settings)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        with pytest.raises(MissingModelError, match="chmod 600"):
            load_model(platform, "Alpha", "pickled", "v1.0", WINDOW)
        path.chmod(0o600)
    path.unlink()
    with pytest.raises(MissingModelError, match="has no key"):
        load_model(platform, "Alpha", "pickled", "v1.0", WINDOW)


def test_a_key_that_is_set_signs_for_every_machine_that_has_it(small: Path) -> None:
    set_key = _platform(small, artifact_key="sixteen characters and more")
    train(set_key, "Alpha", "pickled", [WINDOW])
    assert not key_file(set_key.settings).exists()
    assert load_model(set_key, "Alpha", "pickled", "v1.0", WINDOW).fitted
    other = _platform(small, artifact_key="sixteen characters of others")
    with pytest.raises(MissingModelError, match="has not signed"):
        load_model(other, "Alpha", "pickled", "v1.0", WINDOW)


@pytest.mark.parametrize("name", ["../model.pkl", "/etc/model", "a/../../b", "..\\b", "C:b"])
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(name: str) -> None:
    text = json.dumps({"__folder__": 1, "files": {name: {}}, "state": "{}", "type": "x"}, separators=(",", ":"))
    with pytest.raises(ArtifactError, match="lies outside its folder"):
        manifest_of(text)


def test_a_manifest_of_a_later_format_says_to_upgrade() -> None:
    with pytest.raises(ArtifactError, match="format 2, this version reads 1: upgrade"):
        manifest_of('{"__folder__":2,"files":{}}')


def test_files_go_to_a_worker_and_back_as_they_were() -> None:
    files = {"a/b.bin": bytes(range(256)), "c": b""}
    assert from_bytes(to_bytes(files)) == files
    assert to_bytes(files) == to_bytes(dict(reversed(files.items())))


def test_the_folder_is_gone_once_the_model_is(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pickled", [WINDOW])
    fitted = load_model(platform, "Alpha", "pickled", "v1.0", WINDOW).fitted
    assert isinstance(fitted, IsolatedFitted)
    folder = fitted.folder
    assert folder.is_dir()
    del fitted
    gc.collect()
    assert not folder.exists()


def test_mlflow_s_artifact_loads_back_and_a_pickle_is_not_opened_from_there(small: Path) -> None:
    platform = _platform(small)
    for model in NAMES:
        train(platform, "Alpha", model, [WINDOW])
    tracker = Tracker(platform.settings)
    mlflow.set_tracking_uri(platform.settings.tracking_uri)
    places = {name: tracker.client.get_run(str(_row(platform, name)["mlflow_run_id"])).info for name in NAMES}
    loaded = mlflow.pyfunc.load_model(f"{places['in_files'].artifact_uri}/model")
    stored = load_model(platform, "Alpha", "in_files", "v1.0", WINDOW)
    origins = np.array(["2018-01-09"], "datetime64[D]")
    history = platform.series_table("Alpha").history(stored.history_start, origins[0], stored.covariates)
    expected = stored.fitted.simulate(history, origins, 14, 50, Shocks(5, stored.fitted.n_slots))
    assert np.array_equal(loaded.predict({"history": history, "origins": origins, "n_paths": 50, "seed": 5}), expected)
    with pytest.raises(ValueError, match="opened from the warehouse alone"):
        mlflow.pyfunc.load_model(f"{places['pickled'].artifact_uri}/model")


def test_a_json_model_s_row_is_as_it_was_before_models_could_be_folders(small: Path) -> None:
    platform = _platform(small)
    row = _row(platform, "naive")
    stored = load_model(platform, "Alpha", "naive", "v1.0", WINDOW)
    assert row["fitted_model_json"] == stored.saved.text == stored.fitted.to_json()
    assert stored.saved == Saved(row["fitted_model_json"])
    assert "settings" not in json.loads(row["parameters"])
