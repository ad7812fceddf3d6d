"""NeuralForecast's models keep the contract, on small networks and few steps; the files that are kept run no code."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.metadata import version

import numpy as np
import pytest

from forecast_platform.models.neural import Neural
from forecast_platform.models.scaled_returns import LEVELS, RANKS, STEPS
from forecast_platform.testing import CHECKS, Subject
from forecast_platform.testing.checks import ORIGINS, synthetic

pytestmark = pytest.mark.extra

SMALL = {"max_steps": 40, "input_size": 30}


@cache
def subject(model: str = "NHITS") -> Subject:
    return Subject(Neural({**SMALL, "model": model}))


@pytest.mark.parametrize("check", CHECKS)
def test_the_model_keeps_the_contract(check: str) -> None:
    CHECKS[check](subject())


def test_the_extra_leaves_the_base_s_versions() -> None:
    assert version("neuralforecast") == "3.3.0"
    assert version("torch").startswith("2.13.0")
    assert int(version("pandas").split(".")[0]) == 2


def test_the_files_run_no_code_and_are_the_same_for_the_same_data() -> None:
    files = subject().fitted.state["files"]
    assert {name.rpartition(".")[2] for name in files} <= {"safetensors", "json", "npy"}
    again = Subject(Neural({**SMALL, "model": "NHITS"})).fitted
    assert again.state["files"] == files, "trained twice in one process, the bits repeat"


def test_a_fit_of_an_earlier_version_which_has_its_ranks_as_text_gives_the_same_paths() -> None:
    fitted = subject().fitted
    files = {name: data for name, data in fitted.state["files"].items() if name != RANKS}
    earlier = replace(fitted, state={**fitted.state, "files": files, "ranks": fitted.ranks})
    back = subject().load(subject().stored(earlier))
    assert RANKS not in back.state["files"]
    np.testing.assert_array_equal(back.ranks, fitted.ranks)
    given = {"history": synthetic(), "origins": ORIGINS[:5]}
    np.testing.assert_array_equal(subject().paths(**given, fitted=back), subject().paths(**given))


@pytest.mark.parametrize("model", ["TFT", "TiDE"])
def test_other_networks_go_by_name(model: str) -> None:
    one = Subject(Neural({"max_steps": 3, "input_size": 20, "model": model}))
    paths = one.paths(synthetic(), ORIGINS[:6])
    assert np.isfinite(paths).all()
    assert one.same(one.paths(synthetic(), ORIGINS[:6], fitted=one.load(one.stored(one.fitted))), paths)


def test_quantiles_of_many_origins_come_from_one_call_and_are_those_of_each_alone() -> None:
    fitted = subject().fitted
    r = fitted.scaled_returns(synthetic())
    contexts = np.stack([r[k : k + 30] for k in range(200, 260)])
    whole = fitted.step_quantiles(contexts)
    assert whole.shape == (60, STEPS, len(LEVELS))
    alone = np.concatenate([fitted.step_quantiles(one[None]) for one in contexts[:5]])
    assert np.abs(alone - whole[:5]).max() < 1e-5
    assert np.median(whole[:, :, -1]) - np.median(whole[:, :, 0]) > 1.0, "the levels are wide apart"


def test_a_model_that_the_library_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'NHIST': NeuralForecast has no such model; it has .*NHITS"):
        Subject(Neural({"model": "NHIST"})).fitted  # noqa: B018
