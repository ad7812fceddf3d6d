"""Base models: how much of them a table asks for, and what their packages are called."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_platform.ensembles.arrays import array_bytes, array_from
from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.catalog import BASES, Base, BaseError, boosted, distribution_of, suited
from forecast_platform.ensembles.learners import Learner, LearnerError, _params, skops_io
from forecast_platform.ensembles.signed import SIGNATURE, Signer
from forecast_platform.ensembles.trees import _OF_A_TREE
from forecast_platform.models.saved import ArtifactError
from forecast_platform.settings import build
from forecast_platform_tests.ensembles.shops import done, first_missing, two_groups


@pytest.mark.parametrize(
    ("name", "rounds"), [("xgboost", "n_estimators"), ("gbm", "max_iter"), ("catboost", "iterations")]
)
def test_boosting_has_more_trees_for_more_rows(name: str, rounds: str) -> None:
    base = BASES[name]
    own = base.params[rounds]
    assert [_params(base, 2, n)[rounds] for n in (500, 8_000, 32_000, 10**7)] == [own, own, 2 * own, 3 * own]
    rest = {key: value for key, value in base.params.items() if key != rounds}
    assert {key: value for key, value in _params(base, 2, 32_000).items() if key != rounds} == rest
    assert _params(BASES["extra_trees"], 2, 10**6) == BASES["extra_trees"].params


@pytest.mark.parametrize("name", ["gbm", "xgboost", "forest", "extra_trees"])
def test_a_price_that_is_missing_for_the_first_time_is_no_extreme(name: str) -> None:
    missing, low, high = first_missing(name)
    assert missing < 3
    assert min(low, high) > 6


def test_a_module_s_package_is_named_with_its_version() -> None:
    assert distribution_of("sklearn") == ("scikit-learn", version("scikit-learn"))
    name, found = distribution_of("xgboost") or ("", "")
    assert name in ("xgboost", "xgboost-cpu")
    assert found == version(name)
    assert distribution_of("no_such_module") is None


def test_one_kind_of_network_is_fitted_the_better_one_where_it_suits_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Base, "installed", property(lambda one: True))
    few, many = (suited((), n, classes=True, positive=False) for n in (1_000, 50_000))
    assert [one.name for one in few if one.algorithm in ("neural", "realmlp")] == ["realmlp"]
    assert [one.name for one in many if one.algorithm in ("neural", "realmlp")] == ["neural"]
    assert len(few) >= 10
    prices = suited((), 10_000, classes=False, positive=True)
    assert [one.name for one in prices if one.algorithm in ("neural", "realmlp")] == ["realmlp_log"]
    assert [one.name for one in suited(("neural", "realmlp"), 1_000, classes=True, positive=False)] == [
        "neural",
        "realmlp",
    ]


def test_a_class_of_too_few_rows_for_its_folds_is_none_of_the_support_vectors() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3)).astype(np.float32)
    y = np.r_[np.zeros(44, np.int64), np.ones(44, np.int64), [2, 2]]
    x[y == 1] += 3.0
    predicted = Learner.fit(BASES["vectors"], x, y, 4, 0).predict(x)
    assert predicted.shape == (90, 4)
    assert np.allclose(predicted.sum(axis=1), 1.0)
    assert np.array_equal(predicted[:, 2:], np.zeros((90, 2)))
    assert np.mean(predicted.argmax(axis=1)[:88] == y[:88]) > 0.9
    rare = Learner.fit(BASES["vectors"], x[:4], np.array([3, 1, 1, 0]), 4, 0).predict(x[:2])
    assert np.array_equal(rare, np.tile([0.0, 1.0, 0.0, 0.0], (2, 1)))


def test_keeping_a_model_loads_no_pytorch(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('loaded')")
    code = (
        "import sys; from forecast_platform.ensembles.learners import skops_io; "
        "assert skops_io().dumps(1); assert 'torch' not in sys.modules; "
        "assert not [one for one in sys.modules if 'array_api_compat.torch' in one]"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def in_one_file(model: Any) -> bytes:
    """The trees of a forest or a boosted model as versions before kept them: all arrays in one file."""
    if hasattr(model, "_predictors"):
        trees = [one for step in model._predictors for one in step]
        arrays: dict[str, Any] = {"steps": np.array([len(step) for step in model._predictors])}
        parts = {name: [getattr(one, name) for one in trees] for name in _OF_A_TREE}
    else:
        states = [one.tree_.__getstate__() for one in model.estimators_]
        arrays = {"depths": np.array([one["max_depth"] for one in states])}
        parts = {name: [one[name] for one in states] for name in ("nodes", "values")}
    for name, found in parts.items():
        arrays |= {name: np.concatenate(found), f"{name}_sizes": np.array([len(one) for one in found])}
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["extra_trees", "forest", "gbm"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_trees_that_are_kept_as_arrays_predict_the_same_bits(name: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    x[::7, 1] = np.nan
    y = np.arange(200) % classes if classes else x[:, 0]
    fitted = Learner.fit(BASES[name], x, y, classes, 0)
    files = fitted.files()
    assert {one for one in files if not one.startswith("trees/")} == {"learner.json", "model.skops"}
    loaded = Learner.load(BASES[name], files)
    assert np.array_equal(loaded.predict(x), fitted.predict(x))
    if name != "gbm":
        whole, again = ([one.tree_.__getstate__() for one in each.model.estimators_] for each in (fitted, loaded))
        for one, other in zip(whole, again, strict=True):
            assert all(np.array_equal(one["nodes"][field], other["nodes"][field]) for field in one["nodes"].dtype.names)
            assert np.array_equal(one["values"], other["values"])
            assert one["max_depth"] == other["max_depth"]
        size = sum(one["nodes"].nbytes + one["values"].nbytes for one in whole)
        kept = sum(len(data) for one, data in files.items() if one.startswith("trees/") if len(data) > 2_000)
        assert kept < (0.4 if classes else 0.6) * size
    before = {one: data for one, data in files.items() if not one.startswith("trees/")}
    if name == "gbm":
        bare = copy.copy(fitted.model)
        bare._predictors = []
        before["model.skops"] = skops_io().dumps(bare)
    before["trees.npz"] = in_one_file(fitted.model)
    assert np.array_equal(Learner.load(BASES[name], before).predict(x), fitted.predict(x)), "of a version before"
    assert np.array_equal(Learner.load(BASES[name], fitted.files()).predict(x), fitted.predict(x)), "it is left whole"


def test_an_array_is_kept_with_its_shape_and_type_and_one_of_objects_is_refused() -> None:
    nodes = np.array([(1, 2.5), (3, 4.5)], dtype=[("place", "i8"), ("value", "f8")])
    for values in (np.zeros((0, 1)), np.asarray(3.0), np.asfortranarray(np.arange(6.0).reshape(2, 3)), nodes):
        found = array_from(array_bytes(values))
        assert (found.shape, found.dtype) == (values.shape, values.dtype)
        assert np.array_equal(found, values)
    with pytest.raises(ValueError, match="would be kept as a pickle"):
        array_bytes(np.array([None, "a"]))


@pytest.mark.parametrize("name", ["forest", "extra_trees"])
def test_trees_of_features_wider_than_any_integer_are_kept(name: str) -> None:
    """A supply in wei: all thresholds are whole, and beyond 64 bits."""
    rng = np.random.default_rng(0)
    x = np.round(np.abs(rng.normal(size=(300, 2))) * 1e20)
    fitted = Learner.fit(BASES[name], x, rng.integers(0, 2, 300), 2, 0)
    assert np.array_equal(Learner.load(BASES[name], fitted.files()).predict(x), fitted.predict(x))


def test_models_that_were_kept_with_their_trees_are_read() -> None:
    x = np.random.default_rng(0).normal(size=(100, 3))
    fitted = Learner.fit(BASES["extra_trees"], x, x[:, 0], 0, 0)
    files = {"learner.json": fitted.files()["learner.json"], "model.skops": skops_io().dumps(fitted.model)}
    assert np.array_equal(Learner.load(BASES["extra_trees"], files).predict(x), fitted.predict(x))


def test_fits_that_run_at_once_have_one_thread_each() -> None:
    """OpenMP of a thread that the pool has made, too."""
    from threadpoolctl import threadpool_info

    from forecast_platform.ensembles.members import Setup, Wanted

    _, shop = done(two_groups(), {"task": "vote_mix"}, bases=["linear"], folds=2)
    found: list[int] = []
    real = Learner.fit
    with pytest.MonkeyPatch.context() as patched:

        def watched(*arguments: Any) -> Learner:
            found.extend(one["num_threads"] for one in threadpool_info())
            return real(*arguments)

        patched.setattr(Learner, "fit", watched)
        shop.members([Wanted(BASES["gbm"], Setup())])
    assert len(found) >= 4
    assert set(found) == {1}


def test_a_base_model_whose_extra_is_missing_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Base, "installed", property(lambda one: one.requires == "sklearn"))
    said = r"base model autogluon needs autogluon.tabular: `pip install 'forecast-platform\[automl\]'`, or leave it out"
    with pytest.raises(BaseError, match=said):
        suited(("linear", "autogluon"), 100, classes=True, positive=False)
    with pytest.raises(BaseError, match=r"boost.method tabnet needs .*`pip install 'forecast-platform\[ensembles\]'`"):
        boosted("tabnet")
    assert [one.name for one in boosted("automl")] == ["gbm"]


def test_a_module_within_a_package_that_is_missing_is_not_installed() -> None:
    assert not dataclasses.replace(BASES["linear"], requires="no_such_package.part").installed


def test_pickles_are_opened_of_signed_bundles_alone(tmp_path: Path) -> None:
    base, settings = BASES["autogluon"], build(warehouse=tmp_path / "warehouse", source="sample")
    about = {"base": "autogluon", "cells": [], "seconds": 1.0, "notes": []}
    files = {"about.json": json.dumps(about).encode(), "encoder.json": b"{}", "valid.npy": array_bytes(np.ones((2, 1)))}
    assert Fitted.load(base, files, whole=False).valid.shape == (2, 1), "no pickle is opened for what it has predicted"
    with pytest.raises(LearnerError, match="kept as pickles, which are opened only where they are signed"):
        Fitted.load(base, files)
    signer = Signer(settings)
    with pytest.raises(ArtifactError, match="has not signed its manifest"):
        Fitted.load(base, files, signer=signer, place="a/0")
    signed = {**files, SIGNATURE: signer.signature("a/0", files)}
    assert Fitted.load(base, signed, signer=signer, place="a/0").seconds == 1.0
    with pytest.raises(ArtifactError, match="has not signed its manifest"):
        Fitted.load(base, signed, signer=signer, place="a/1")
    with pytest.raises(ArtifactError, match="has not signed its manifest"):
        Fitted.load(base, {**signed, "cell_-1/model.pkl": b"more"}, signer=signer, place="a/0")
