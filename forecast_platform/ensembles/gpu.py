"""Networks on a GPU: whether this machine has one, and fits that repeat to the bit."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forecast_platform.ensembles import ending

if TYPE_CHECKING:
    from forecast_platform.ensembles.grammar import Context

CPU, GPU = "cpu", "cuda"
"""Where a base model is fitted, as PyTorch names it."""
NOT_HERE = (
    "networks are fitted on the processor: the workflow asks for a GPU (compute.serverless), and PyTorch sees none here"
)

_ALONE = threading.Lock()


class GpuError(RuntimeError):
    """A fit on a GPU failed for the GPU's sake: its memory, its driver, a PyTorch that is not built for it."""


def asks_gpu(context: Context) -> bool:
    """Whether a workflow's networks are to be fitted on a GPU, where there is one; none are fitted over forecasts."""
    return "GPU" in context.compute.serverless and context.source.forecasts is None


def gpu_here() -> str:
    """The name of the GPU that PyTorch sees on this machine; empty where it sees none."""
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


@contextmanager
def one_network() -> Iterator[None]:
    """Within this a process fits one network of PyTorch: its random numbers come of one generator for all threads, and
    of two fits at once neither would repeat. Raises FitEndedError where the task's time ends before its turn, which
    another task's network may keep it from for as long as that takes."""
    left = ending.seconds_left()
    if not _ALONE.acquire(timeout=-1 if left is None else min(max(left, 0.0), threading.TIMEOUT_MAX)):
        raise ending.FitEndedError
    try:
        ending.step()
        yield
    finally:
        _ALONE.release()


@contextmanager
def repeating(base: str) -> Iterator[None]:
    """Within this PyTorch adds up on a GPU in one order, so that a fit on the same kind gives the same bits.

    base: what is fitted, for errors. Raises GpuError.
    """
    import torch

    # cuBLAS reads it when its first handle is made: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    failed = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
    # TabNet's cumsum over a row has no other kernel and is refused otherwise; rows of a few columns have one order.
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
        # What is kept for the next fit would be missing to other processes.
        torch.cuda.empty_cache()
    except failed as error:
        raise GpuError(_told(base, error)) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _told(base: str, error: RuntimeError) -> str:
    import torch

    mend = "take GPU out of compute.serverless to fit on the processor"
    if isinstance(error, torch.OutOfMemoryError):
        free, whole = (size / 1e9 for size in torch.cuda.mem_get_info())
        return (
            f"{base}: the memory of {gpu_here()} is not enough ({free:.1f} of {whole:.1f} GB free now): run it again "
            f"when other programs have left it, take fewer rows (sample.size), or {mend}"
        )
    said = str(error).splitlines()[0]
    return f"{base}: {gpu_here()} failed: {said}: look at its driver and PyTorch's build, or {mend}"
