"""Base models: how much of them a table asks for, and what their packages are called."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from forecast_platform.ensembles.catalog import BASES, Base, distribution_of, suited
from forecast_platform.ensembles.learners import _params


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
