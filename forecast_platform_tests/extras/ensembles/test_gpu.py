"""RealMLP and TabNet on a GPU: fits that repeat, models that need none, errors with their mend."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from forecast_platform.ensembles import neural
from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.gpu import CPU, GPU, NOT_HERE, GpuError, gpu_here, repeating
from forecast_platform.ensembles.learners import Learner
from forecast_platform.ensembles.threads import one_thread_each, one_thread_here
from forecast_platform_tests.ensembles.shops import classes, done

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.extra

STACK = {"task": "stack_top_any", "stack": {"top_n": 2}}
ASKED = {"bases": ["linear", "realmlp"], "folds": 2, "compute": {"serverless": ["GPU"]}}
LOADED = """
import sys
from pathlib import Path
import numpy as np, torch
from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.learners import Learner
folder = Path(sys.argv[2])
assert not torch.cuda.is_available()
learner = Learner.load(BASES[sys.argv[1]], {one.name: one.read_bytes() for one in (folder / "kept").iterdir()})
np.save(folder / "found.npy", learner.predict(np.load(folder / "x.npy")))
"""


@pytest.fixture
def gpu() -> str:
    """The GPU's name."""
    return gpu_here() or pytest.skip("PyTorch sees no GPU here")


@pytest.fixture
def no_gpu() -> None:
    """A machine without one."""
    if gpu_here():
        pytest.skip("PyTorch sees a GPU here")


def rows(n: int, *, numbers: bool) -> tuple[np.ndarray, np.ndarray]:
    """Encoded rows [n, 6] and a target that follows from them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    y = x[:, 0] + np.sin(2 * x[:, 1]) + 0.3 * rng.normal(size=n)
    return x, np.exp(y) if numbers else np.digitize(y, [-0.5, 0.5])


def error_of(learner: Learner, x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error of a target's logarithm, or log-loss."""
    found = learner.predict(x)
    if not learner.n_classes:
        return float(np.mean((np.log(np.maximum(found[:, 0], 1e-9)) - np.log(y)) ** 2))
    return float(-np.log(np.maximum(found[np.arange(len(y)), y], 1e-9)).mean())


@pytest.mark.parametrize(("name", "numbers"), [("realmlp", False), ("realmlp_log", True), ("tabnet", False)])
def test_a_fit_of_a_gpu_repeats_scores_as_the_processor_s_and_loads_where_there_is_none(
    name: str, numbers: bool, gpu: str, tmp_path: Path
) -> None:
    x, y = rows(3000, numbers=numbers)
    one, other, plain = (
        Learner.fit(BASES[name], x[:2000], y[:2000], 0 if numbers else 3, 1, device) for device in (GPU, GPU, CPU)
    )
    found = one.predict(x)
    assert np.array_equal(found, other.predict(x))
    assert error_of(one, x[2000:], y[2000:]) == pytest.approx(error_of(plain, x[2000:], y[2000:]), rel=0.1)

    (tmp_path / "kept").mkdir()
    for file, data in one.files().items():
        (tmp_path / "kept" / file).write_bytes(data)
    np.save(tmp_path / "x.npy", x)
    without = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", LOADED, name, str(tmp_path)], env=without, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), found, rtol=1e-5, atol=1e-6)


def test_a_workflow_that_asks_for_a_gpu_is_fitted_on_it_and_says_so(gpu: str) -> None:
    found, shop = done(classes(), STACK, workers=2, **ASKED)
    assert found["stack_top_any"].notes == [f"networks are fitted on {gpu}"]
    again, _ = done(classes(), STACK, workers=1, **ASKED)
    assert np.array_equal(again["stack_top_any"].predicted, found["stack_top_any"].predicted)


def test_a_gpu_without_memory_left_is_an_error_with_its_mend(gpu: str) -> None:
    import torch

    x, y = rows(2000, numbers=False)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(GpuError, match=rf"realmlp: the memory of {gpu} is not enough .* take GPU out of compute"):
            Learner.fit(BASES["realmlp"], x, y, 3, 1, GPU)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert Learner.fit(BASES["realmlp"], x, y, 3, 1, GPU).predict(x).shape == (2000, 3)


def test_a_workflow_that_asks_for_a_gpu_where_there_is_none_has_the_bits_of_one_that_does_not(no_gpu: None) -> None:
    found, _ = done(classes(), STACK, **ASKED)
    plain, _ = done(classes(), STACK, **{**ASKED, "compute": {}})
    assert found["stack_top_any"].notes == [NOT_HERE]
    assert plain["stack_top_any"].notes == []
    assert np.array_equal(found["stack_top_any"].predicted, plain["stack_top_any"].predicted)


def tensors_of(root: object) -> list[torch.Tensor]:
    """All tensors that an object can reach: in modules, containers and functions, registered or not."""
    import torch

    left, seen, found = [root], set(), []
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type | types.ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list | tuple | set):
            left += one
        elif isinstance(one, types.FunctionType):
            left += [cell.cell_contents for cell in one.__closure__ or ()]
        elif isinstance(one, functools.partial):
            left += [one.func, one.args, one.keywords]
        elif isinstance(one, types.MethodType):
            left.append(one.__self__)
        else:
            left += getattr(one, "__dict__", {}).values()
    return found


@pytest.mark.parametrize("numbers", [False, True])
def test_all_of_a_network_leaves_the_device_that_it_was_fitted_on(
    numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = rows(300, numbers=numbers)
    made, network = [], neural._network
    monkeypatch.setattr(neural, "_network", lambda fitted: made.append(network(fitted)) or made[-1])
    base = BASES["realmlp"]
    params = base.for_numbers if numbers else base.params
    neural.fit("realmlp", {**params, "n_epochs": 1}, x, y, 0 if numbers else 3, 1)
    assert len(tensors_of(made[0])) >= 10
    assert {one.device.type for one in tensors_of(made[0].to("meta"))} == {"meta"}


def test_networks_that_are_due_at_once_have_the_bits_of_one_after_the_other() -> None:
    x, y = rows(600, numbers=True)
    names = ("realmlp", "realmlp_log", "tabnet")

    def predicted(name: str) -> np.ndarray:
        return Learner.fit(BASES[name], x, y, 0, 1).predict(x)

    alone = [predicted(name) for name in names]
    with one_thread_each(), ThreadPoolExecutor(3, initializer=one_thread_here) as pool:
        for one, other in zip(pool.map(predicted, names), alone, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("OutOfMemoryError", "CUDA out of memory.", r"the memory of a Tesla is not enough \(1.2 of 15.8 GB free"),
        (
            "AcceleratorError",
            "CUDA error: no kernel\nmore",
            r"a Tesla failed: CUDA error: no kernel: look at its driver",
        ),
    ],
)
def test_what_a_gpu_refuses_is_told_and_its_way_of_adding_up_is_put_back(
    kind: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a Tesla")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1.2e9, 15.8e9))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")

    def refused(error: Exception) -> None:
        with repeating("tabnet"):
            assert torch.are_deterministic_algorithms_enabled()
            raise error

    with pytest.raises(GpuError, match=f"^tabnet: {said}.* take GPU out of compute.serverless"):
        refused(getattr(torch, kind)(text))
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError, match=r"^a fault of ours$"):
        refused(ValueError("a fault of ours"))
