"""AutoGluon's global models keep the contract through a process of their own; the bits of a fit repeat."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import numpy as np
import pytest

from forecast_platform.models.autogluon import AutoGluon
from forecast_platform.models.scaled_returns import LEVELS, STEPS
from forecast_platform.testing import CHECKS, Subject
from forecast_platform.testing.checks import ORIGINS, synthetic

pytestmark = pytest.mark.extra

SMALL = {"rounds": 20, "context": 60}


@cache
def subject() -> Subject:
    return Subject(AutoGluon(SMALL))


@pytest.mark.parametrize("check", CHECKS)
def test_the_model_keeps_the_contract(check: str) -> None:
    CHECKS[check](subject())


def test_the_extra_s_versions_stand_beside_the_base_s() -> None:
    assert version("autogluon.timeseries") == "1.6.3"
    assert version("exchange-calendars") == "4.11.1", "later ones need a toolz that AutoGluon refuses"
    assert version("torch").startswith("2.13.0")


def test_quantiles_of_many_origins_come_from_one_call_and_are_those_of_each_alone() -> None:
    fitted = subject().fitted
    r = fitted.scaled_returns(synthetic())
    contexts = np.stack([r[k : k + 60] for k in range(100, 400)])
    whole = fitted.step_quantiles(contexts)
    assert whole.shape == (300, STEPS, len(LEVELS))
    assert np.abs(np.concatenate([fitted.step_quantiles(one[None]) for one in contexts[:2]]) - whole[:2]).max() < 1e-5
    assert (np.diff(whole, axis=-1) >= 0).all()
    momentum = np.corrcoef(contexts[:, -1], whole[:, 0, 4])[0, 1]
    assert momentum > 0.15, "the planted momentum is found"


@pytest.mark.parametrize("model", ["DirectTabular", "SimpleFeedForward"])
def test_other_global_models_go_by_name(model: str) -> None:
    one = Subject(AutoGluon({"model": model, "rounds": 5, "epochs": 1, "context": 40}))
    assert np.isfinite(one.paths(synthetic(), ORIGINS[:4])).all()


def test_local_models_and_deepar_are_refused() -> None:
    for model in ("ETS", "DeepAR"):
        with pytest.raises(ValueError, match="one of 'RecursiveTabular'"):
            AutoGluon({"model": model})
