"""Workshops over small made tables, kept in memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd

from forecast_platform.ensembles.by_route import folds_of
from forecast_platform.ensembles.catalog import BASES
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.learners import Learner
from forecast_platform.ensembles.outcome import Outcome
from forecast_platform.ensembles.plan import plan_of
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.rows import make_rows
from forecast_platform.ensembles.tasks import perform
from forecast_platform.ensembles.workshop import Workshop
from forecast_platform_tests.ensembles.workflows import text_of


class MemoryStore:
    """Bundles in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}

    def get(self, key: str) -> dict[str, bytes] | None:
        return self.kept.get(key)

    def put(self, key: str, files: dict[str, bytes]) -> None:
        assert key not in self.kept, "a fit is made once"
        self.kept[key] = files

    def lock(self, key: str) -> Any:
        return nullcontext()


def done(frame: pd.DataFrame, *tasks: dict, workers: int = 1, **context: Any) -> tuple[dict[str, Outcome], Workshop]:
    """The outcomes of a workflow over a frame with the column `target`, and its workshop."""
    context.setdefault("bases", ["linear", "neighbours"])
    workflow = read_workflow(text_of(*tasks, **context))
    rows = make_rows(frame, workflow.context)
    shop = Workshop(workflow.context, rows, {"folds": folds_of(rows, workflow)}, MemoryStore(), workers)
    plan = plan_of(workflow)
    outcomes: dict[str, Outcome] = {}
    for name in plan.order:
        outcomes[name] = perform(shop, workflow, plan, name, outcomes)
    return outcomes, shop


def two_groups(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """Two groups far apart in x whose target depends on z with opposite signs: one model for both knows nothing."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    z = rng.uniform(-1, 1, n)
    target = np.where(group == 1, z, -z) + 0.05 * rng.normal(size=n)
    apart = {name: 20.0 * group + rng.normal(size=n) for name in ("x", "x2", "x3", "x4")}
    return pd.DataFrame({**apart, "z": z, "target": target})


def classes(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """Numbers, a category with gaps and one of many values; the target's three labels follow from the numbers."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    frame = pd.DataFrame(
        {"a": a, "b": b, "kind": rng.choice(["x", "y"], n), "many": rng.integers(0, 30, n).astype(str)}
    )
    frame["target"] = np.select([a > 0.4, b > 0.4], ["high", "side"], "low")
    frame.loc[::9, "a"] = np.nan
    frame.loc[::11, "kind"] = None
    return frame


def first_missing(name: str) -> tuple[float, float, float]:
    """What a base model says of a price that is missing where training had it, of a low one and of a high one: the
    target is 10 for both, and 0 for nearly all others; with codes, it is 10 more for a rare one, and theirs is new."""
    base, rng = BASES[name], np.random.default_rng(0)
    price, kind = rng.normal(80, 1, 800), np.array(["a", "b", "b", "b"], object)[np.arange(800) % 4]
    y = np.where(np.abs(price - 80) > 1.5, 10.0, 0.0) + np.where(kind == "a", 10.0, 0.0) * (base.encoding == "tree")
    encoder, x = Encoder.fit(base.encoding, pd.DataFrame({"price": price, "kind": kind}), y, 0, 0, {})
    new = pd.DataFrame({"price": [np.nan, 77.0, 83.0], "kind": ["never seen"] * 3})
    found = Learner.fit(base, x, y, 0, 0).predict(encoder.apply(new))[:, 0]
    return float(found[0]), float(found[1]), float(found[2])
