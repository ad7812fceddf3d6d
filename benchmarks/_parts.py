"""What a workflow's processor time goes to beside its base fits: measured around the functions that do it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from forecast_platform.ensembles import bundles, finishing, running, store, tasks

_PARTS: tuple[tuple[str, tuple[tuple[Any, str], ...], Callable[[], float]], ...] = (
    # Fits are kept by the threads that made them, side by side; all else is done while nothing else is at work, and
    # counts what libraries do in threads of their own.
    ("fits kept", ((bundles.Fitted, "files"), (store.FileStore, "put")), time.thread_time),
    (
        "combined, scored, compared",
        tuple((tasks, name) for name in ("_combined", "score", "leaderboard", "against_best")),
        time.process_time,
    ),
    ("tables", ((running.Run, "_tables"),), time.process_time),
    ("states", ((store.States, "read"), (store.States, "write")), time.process_time),
    ("model", ((finishing, "model_of"),), time.process_time),
    ("report, importances", ((finishing, "write_report"),), time.process_time),
    ("MLflow", ((finishing, "_track"),), time.process_time),
)


class Parts:
    """Processor seconds by part, since `begin`; one for a process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._within = threading.local()
        self.begin()
        for name, places, clock in _PARTS:
            for owner, attribute in places:
                setattr(owner, attribute, self._timed(name, getattr(owner, attribute), clock))

    def begin(self) -> None:
        """Count from now on."""
        self.seconds = {name: 0.0 for name, _, _ in _PARTS}

    def _timed(self, name: str, work: Callable[..., Any], clock: Callable[[], float]) -> Callable[..., Any]:
        @wraps(work)
        def timed(*given: Any, **named: Any) -> Any:
            if getattr(self._within, "one", False):  # a part of a part is the outer one's
                return work(*given, **named)
            self._within.one, began = True, clock()
            try:
                return work(*given, **named)
            finally:
                self._within.one = False
                with self._lock:
                    self.seconds[name] += clock() - began

        return timed

    def told(self, fits: float, spent: float) -> str:
        """A line of the parts; fits, spent: processor seconds of the base fits, and of all."""
        rest = spent - fits - sum(self.seconds.values())
        parts = {**self.seconds, "rows, folds, threads, locks, the model's file": rest}
        # What joins the models is no orchestration, and neither is what is told of them.
        joined = self.seconds["combined, scored, compared"] + self.seconds["model"]
        joined += self.seconds["report, importances"]
        return (
            f"  beside them: {', '.join(f'{name} {seconds:.2f}' for name, seconds in parts.items())} s; without "
            f"combining, the model and the report {(spent - joined) / max(fits, 1e-9):.2f} times"
        )
