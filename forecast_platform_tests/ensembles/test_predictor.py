"""A workflow's result applied: which of its base models are asked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles.packaging import Ensemble, PackageError, inputs_of
from forecast_platform.ensembles.predictor import Predictor, bases_in


def test_a_member_without_weight_is_no_part_of_the_model_and_is_not_asked() -> None:
    setup = {"routes": [], "columns": [], "splits": "folds"}
    members = [
        {"kind": "base", "base": name, "key": name, "setup": setup, "extra": []} for name in ("good", "idle", "fair")
    ]
    asked: list[tuple[str, int]] = []
    encoded: list[int] = []

    def fits(key: str, base: str, split: int) -> SimpleNamespace:
        asked.append((key, split))
        value = {"good": 4.0, "fair": 8.0}[key]
        encoder = SimpleNamespace(state={"split": split}, apply=lambda rows: encoded.append(split) or rows)
        return SimpleNamespace(
            encoder=encoder, predict=lambda rows, extra, cells: np.full((len(rows), 1), value + len(rows.columns) - 1)
        )

    node = {"kind": "weights", "weights": [0.75, 0.0, 0.25], "members": members}
    predictor = Predictor(0, {}, {"folds": [0, 1]}, fits)  # type: ignore[arg-type]
    assert predictor.predict(node, pd.DataFrame({"x": [1.0, 2.0]})).tolist() == [[5.0], [5.0]]
    assert sorted(asked) == [("fair", 0), ("fair", 1), ("good", 0), ("good", 1)]
    assert sorted(encoded) == [0, 1], "once for both models of a split, which encode alike"
    assert sorted(bases_in(node)) == ["fair", "good"]
    routed = {"kind": "routed", "rest": node, "cells": {"0": {**node, "weights": [0.0, 0.0, 1.0]}}}
    assert sorted(bases_in(routed)) == ["fair", "good"]


def test_a_signature_says_what_each_column_may_hold() -> None:
    rows = 400
    frame = pd.DataFrame(
        {
            "count": np.arange(rows),
            "gap": np.where(np.arange(rows) == 250, np.nan, 1.0),
            "late": [None] * 300 + ["a"] * 100,
            "yes": [True, False] * (rows // 2),
            "when": pd.date_range("2026-01-01", periods=rows),
            "there": pd.date_range("2026-01-01", periods=rows, tz="UTC"),
            "open": np.full(rows, np.datetime64("9999-12-31", "us")),
            "level": pd.Categorical(["a", "b"] * 200),
        }
    )
    found = inputs_of(frame, ["count", "gap", "yes"])
    told = {one.name: str(one.type).rpartition(".")[2] for one in found}
    anything = dict.fromkeys(("count", "gap", "yes", "there", "open", "level"), "Any")
    assert told == {**anything, "late": "string", "when": "datetime"}
    assert [one.name for one in found if not one.required] == ["gap", "late"]


def test_a_model_of_a_later_version_says_that_an_upgrade_reads_it() -> None:
    with pytest.raises(PackageError, match="has format 3, this version reads 1 and 2: upgrade it"):
        Ensemble.of({"ensemble/model.json": b'{"format": 3}'})
