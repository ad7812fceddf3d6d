"""AutoGluon Tabular as a base model of workflows: it learns, repeats, ends in time, and opens its own pickles alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.finishing import export_model, finish
from forecast_platform.ensembles.gluon import GluonError
from forecast_platform.ensembles.learners import Learner
from forecast_platform.ensembles.packaging import Ensemble
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import Run
from forecast_platform.ensembles.signed import SIGNATURE, Signer
from forecast_platform.models.saved import ArtifactError, from_bytes, to_bytes
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.shops import classes, done, two_groups
from forecast_platform_tests.ensembles.test_ending import ended
from forecast_platform_tests.ensembles.workflows import text_of

pytestmark = pytest.mark.extra

SMALL = {
    "hyperparameters": {
        "GBM": {"num_boost_round": 40},
        "CAT": {"iterations": 40},
        "XGB": {"n_estimators": 40},
        "NN_TORCH": {"num_epochs": 3},
    }
}
PREDICT = (
    "import sys, mlflow.pyfunc as p, pandas as pd; "
    "p.load_model(sys.argv[1]).predict(pd.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])"
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoGluon of few trees and epochs."""
    monkeypatch.setitem(BASES, "autogluon", dataclasses.replace(BASES["autogluon"], params=SMALL))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("numbers", [False, True])
def test_it_learns_and_the_same_seed_gives_the_same_bits(numbers: bool) -> None:
    base = BASES["autogluon"]
    frame = two_groups(300) if numbers else classes(300)
    y = frame["target"].to_numpy()
    codes = y if numbers else np.unique(y, return_inverse=True)[1].astype(np.int64)
    n_classes = 0 if numbers else 3
    loaded = _of_autogluon()
    encoder, x = Encoder.fit(base.encoding, frame.drop(columns="target"), codes, n_classes, 0, {})
    rows = encoder.apply(frame.drop(columns="target"))
    learner, other = (Learner.fit(base, x, codes, n_classes, 0) for _ in range(2))
    found = learner.predict(rows)
    if numbers:
        assert np.corrcoef(found[:, 0], codes)[0, 1] > 0.6
    else:
        assert (np.argmax(found, axis=1) == codes).mean() > 0.7
    np.testing.assert_array_equal(other.predict(rows), found)
    np.testing.assert_array_equal(Learner.load(base, learner.files()).predict(rows), found)
    assert learner.cpu_elsewhere > 0
    assert learner.predict(rows[:0]).shape == (0, max(n_classes, 1))
    assert _of_autogluon() == loaded, "its own process alone has the library"


def _of_autogluon() -> set[str]:
    return {name for name in sys.modules if name.startswith("autogluon")}


@pytest.mark.usefixtures("small")
def test_a_class_of_one_row_and_one_of_none_leave_the_others_whole() -> None:
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=200)})
    y = np.where(x["a"] > 0, 2, 0)
    y[0] = 1
    found = Learner.fit(BASES["autogluon"], x, y, 4, 0).predict(x)
    assert found.shape == (200, 4)
    np.testing.assert_array_equal(found[:, 3], 0)
    assert (np.argmax(found, axis=1)[1:] == y[1:]).mean() > 0.95
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_a_fit_at_work_is_ended_with_its_task_s_time() -> None:
    ended("autogluon", {})


def test_what_the_library_refuses_is_told() -> None:
    wrong = dataclasses.replace(BASES["autogluon"], params={"hyperparameters": {"NO_SUCH_MODEL": {}}})
    with pytest.raises(GluonError, match=r"autogluon: its process ended with code 1: .*NO_SUCH_MODEL"):
        Learner.fit(wrong, pd.DataFrame({"a": np.arange(40.0)}), np.arange(40) % 2, 2, 0)


@pytest.mark.usefixtures("small")
def test_boost_of_automl_is_the_best_of_the_boosting_libraries_and_autogluon() -> None:
    outcomes, _ = done(classes(120), {"task": "boost", "boost": {"method": "automl"}}, folds=2)
    names = {one["name"] for one in outcomes["boost"].members}
    assert names == {f"{name} (boost)" for name in ("gbm", "xgboost", "lightgbm", "catboost", "autogluon")}


class _Marks:
    """What leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("small")
def test_a_workflow_s_model_loads_with_the_warehouse_s_key_and_opens_no_other_pickle(tmp_path: Path) -> None:
    classes(160).to_parquet(tmp_path / "table.parquet")
    text = text_of(
        {"task": "vote_mix"}, source={"path": str(tmp_path / "table.parquet")}, bases=["linear", "autogluon"], folds=2
    )
    settings = build(warehouse=tmp_path / "warehouse", source="sample", workers=2)
    run = Run(Platform.from_settings(settings), read_workflow(text))
    assert run.perform("vote_mix").outcome.fits == 4
    again = Run(Platform.from_settings(settings), read_workflow(text))
    assert not again.perform("vote_mix").fresh
    finish(again)
    model = export_model(again, tmp_path / "model")
    assert "autogluon.tabular==" in (model / "requirements.txt").read_text()

    rows = classes(50, seed=9).drop(columns="target")
    rows.to_parquet(tmp_path / "rows.parquet")
    here = Ensemble.load(model / "ensemble", signer=Signer(settings)).predict(rows)
    assert (here["prediction"] == classes(50, seed=9)["target"]).mean() > 0.6

    def elsewhere(warehouse: Path) -> subprocess.CompletedProcess:
        places = [str(model), str(tmp_path / "rows.parquet"), str(tmp_path / "out.parquet")]
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PREDICT, *places], capture_output=True, text=True,
            env=os.environ | {"FORECAST_PLATFORM_WAREHOUSE": str(warehouse), "FORECAST_PLATFORM_SOURCE": "sample"},
        )  # fmt: skip

    found = elsewhere(tmp_path / "warehouse")
    assert found.returncode == 0, found.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), here)
    refused = elsewhere(tmp_path / "another")
    assert refused.returncode == 1
    assert "so it has signed nothing" in refused.stderr

    # Whoever may write to the model's folder names the hash of what was put there, too.
    about = json.loads((model / "ensemble" / "model.json").read_text())
    key = next(one["key"] for one in about["node"]["members"] if one["base"] == "autogluon")
    place = model / "ensemble" / "fits" / f"{key}_0.zip"
    files = from_bytes(place.read_bytes())
    marker = tmp_path / "marker"
    planted = {name: pickle.dumps(_Marks(marker)) if name.endswith(".pkl") else data for name, data in files.items()}
    place.write_bytes(to_bytes(planted))
    about["fits"][place.name] = hashlib.sha256(place.read_bytes()).hexdigest()
    (model / "ensemble" / "model.json").write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match="this warehouse has not signed its manifest"):
        Ensemble.load(model / "ensemble", signer=Signer(settings)).predict(rows)
    assert not marker.exists()

    kept = run.store.get(f"{key}/1") or {}
    assert SIGNATURE in kept
    assert Fitted.load(BASES["autogluon"], kept, signer=Signer(settings), place=f"{key}/1").learners
    with pytest.raises(ArtifactError, match="has not signed"):
        Fitted.load(BASES["autogluon"], kept, signer=Signer(settings), place=f"{key}/0")
