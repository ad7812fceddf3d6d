"""Base models: how much of them a table asks for, and what their packages are called."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.ensembles.catalog import BASES, Base, distribution_of, suited
from forecast_platform.ensembles.learners import Learner, _params


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
