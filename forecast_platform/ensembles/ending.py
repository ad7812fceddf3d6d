"""Fits at work that end at a time: their libraries ask after each step, a tree or a batch, whether there is time left.

Through the libraries' own callbacks where they have some; else a step of theirs is made to ask. What takes few or one
long step (a support vector machine, a linear model) ends after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FOREST_STEP = 10
"""Trees that a forest grows before it asks."""


class FitEndedError(BaseException):
    """The time of a fit is over. No Exception: a library that catches those goes on."""


class _Here(threading.local):
    deadline: float | None = None


_HERE = _Here()


@contextmanager
def ends_at(deadline: float | None) -> Iterator[None]:
    """Within this, fits of this thread raise FitEndedError at the deadline, as time.monotonic has it; None is never."""
    before, _HERE.deadline = _HERE.deadline, deadline
    try:
        yield
    finally:
        _HERE.deadline = before


def has_end() -> bool:
    """Whether the fits of this thread end at a time."""
    return _HERE.deadline is not None


def seconds_left() -> float | None:
    """Seconds until this thread's fit ends, below zero where it is over; None where it may take its time."""
    return None if _HERE.deadline is None else _HERE.deadline - time.monotonic()


def is_over() -> bool:
    """Whether the time of this thread's fit is over."""
    return _HERE.deadline is not None and time.monotonic() > _HERE.deadline


def step(*_: Any) -> None:
    """To be called after each step of a fit, by the thread that fits. Raises FitEndedError: the time is over."""
    if is_over():
        raise FitEndedError


def fitted_in_steps(model: Any, x: Any, y: Any) -> Any:
    """A scikit-learn model fitted as its `fit` does it, that asks as it goes. Raises FitEndedError."""
    if not has_end():
        return model.fit(x, y)
    if hasattr(model, "_get_loss"):
        return _boosted(model, x, y)
    if hasattr(model, "_backprop"):
        return _network(model, x, y)
    if hasattr(model, "warm_start") and hasattr(model, "n_estimators"):
        return _forest(model, x, y)
    return model.fit(x, y)


def _forest(model: Any, x: Any, y: Any) -> Any:
    # Trees that are added are those that would have been grown at once.
    count = model.n_estimators
    model.set_params(warm_start=True)
    for trees in [*range(FOREST_STEP, count, FOREST_STEP), count]:
        model.set_params(n_estimators=trees).fit(x, y)
        step()
    return model.set_params(warm_start=False)


def _boosted(model: Any, x: Any, y: Any) -> Any:
    made = model._get_loss

    def asking(sample_weight: Any) -> Any:
        loss = made(sample_weight)
        loss.gradient_hessian = _asking(loss.gradient_hessian)
        return loss

    model._get_loss = asking
    try:
        model.fit(x, y)
    finally:
        del model._get_loss
    del model._loss.gradient_hessian
    return model


def _network(model: Any, x: Any, y: Any) -> Any:
    model._backprop = _asking(model._backprop)
    try:
        return model.fit(x, y)
    finally:
        del model._backprop


def _asking(one_step: Any) -> Any:
    def asked(*arguments: Any, **named: Any) -> Any:
        step()
        return one_step(*arguments, **named)

    return asked


@contextmanager
def layers_ask() -> Iterator[None]:
    """Within this, networks of PyTorch ask before each of their layers. Raises FitEndedError."""
    if not has_end():
        yield
        return
    from torch.nn.modules.module import register_module_forward_pre_hook

    hook = register_module_forward_pre_hook(step)
    try:
        yield
    finally:
        hook.remove()


def xgboost_steps() -> list[Any] | None:
    """XGBoost's callbacks; None where a fit may take its time."""
    if not has_end():
        return None
    from xgboost.callback import TrainingCallback

    class Asking(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            step()
            return False

    return [Asking()]


class CatBoostSteps:
    """CatBoost's callback, which says whether to go on: an exception of it would not reach us."""

    def after_iteration(self, info: Any) -> bool:
        """Whether there is time for another tree."""
        return not is_over()
