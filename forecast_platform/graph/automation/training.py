"""When a training window is fitted, decided from the windows that lack models, their data and the runs so far.

Pure, as `daily.py` is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from forecast_platform.graph.automation.daily import concerning, judged
from forecast_platform.graph.automation.day_state import Decision, Pair, Rules
from forecast_platform.graph.automation.requests import Attempt, Request, neighbours


@dataclass(frozen=True)
class WindowState:
    """A training window that lacks models: which, and whether each series' data are complete to the day before."""

    start: dt.date
    lacking: Mapping[str, frozenset[Pair]]
    """By version."""
    waits_for: Mapping[str, str]
    """Series -> why it cannot be trained yet."""
    data: str
    """Names the content of unified_data before the window."""
    data_of: Mapping[str, str] = field(default_factory=dict)
    """The same, of a group's series alone."""


def decide_training(
    rules: Rules, windows: Sequence[WindowState], attempts: Sequence[Attempt], now: dt.datetime
) -> Decision:
    """Train the windows that lack a model, newest first, as soon as their last session is in."""
    wanted: list[Request] = []
    waits: list[str] = []
    for window in sorted(windows, key=lambda one: one.start, reverse=True):
        for part, (version, pairs) in product(rules.parts(), window.lacking.items()):
            names = {series for series, _, _ in pairs if series in part.series}
            blocked = {name for name in names if name in window.waits_for}
            waits += [f"window {window.start}: {window.waits_for[name]}" for name in sorted(blocked)]
            models = tuple(sorted({model for series, model, _ in pairs if series in names - blocked}))
            data = window.data_of.get(part.group, window.data)
            wanted += [
                Request("train", window.start, window.start, segment, data, version, models, group=part.group)
                for segment in neighbours(part.series, names - blocked)
            ]
    decision = judged(rules, wanted, attempts, now, missing=True)
    if not decision.requests:
        decision.reason = "; ".join(part for part in [decision.reason, *waits] if part) or "every window has its models"
    return decision


def training_underway(
    rules: Rules, windows: Sequence[WindowState], attempts: Sequence[Attempt], now: dt.datetime
) -> str:
    """Why the models of these windows are worth waiting for; empty where none is on its way."""
    attempts = concerning(attempts, rules.series)
    if any(attempt.step == "train" and attempt.status == "open" for attempt in attempts):
        return "training is running"
    found = decide_training(rules, windows, attempts, now)
    if found.requests:
        spans = ", ".join(f"{request.first} {'+'.join(request.series)}" for request, _ in found.requests)
        return f"windows to be trained: {spans}"
    return found.reason if "tried again" in found.reason else ""
