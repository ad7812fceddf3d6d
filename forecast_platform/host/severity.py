"""How bad something is: one scale for checks, alerts, health, doctor and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Severity = Literal["good", "warning", "error", "critical"]

RISING: tuple[Severity, ...] = ("good", "warning", "error", "critical")
"""The scale, the worst last. A warning leaves what was made as it is; an error is a reason not to use it; what is
critical has people woken up."""

SIGNAL: dict[Severity, str] = {"good": "good", "warning": "warn", "error": "bad", "critical": "bad"}
"""The word for it in health reports and on pages, as monitors read it."""


def worst(found: Iterable[Severity]) -> Severity:
    """The worst of several; good where there is none."""
    return max(found, key=RISING.index, default="good")
