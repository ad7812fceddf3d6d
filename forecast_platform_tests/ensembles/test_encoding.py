"""Features as numbers: what encoders of the same rows share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecast_platform.ensembles import encoding
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform_tests.ensembles.shops import classes


def test_target_means_are_made_once_for_encoders_of_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = classes(300)
    y = (frame.pop("target") == "high").to_numpy().astype(np.int64)
    pairs, made = [("kind", "many")], []
    real = encoding._target_means
    monkeypatch.setattr(encoding, "_target_means", lambda *given: made.append(1) or real(*given))
    shared: dict[str, encoding.TargetMeans] = {}
    for kind in ("tree", "dense", "native"):
        encoder, x = Encoder.fit(kind, frame, y, 2, 0, {}, pairs, shared)
        assert len(made) == 2, "the column of many values, and the pair"
        alone, same = Encoder.fit(kind, frame, y, 2, 0, {}, pairs)
        assert alone.state == encoder.state
        assert pd.DataFrame(x).equals(pd.DataFrame(same))
        del made[2:]


def test_a_level_that_was_never_seen_is_the_mean_of_all_and_a_missing_one_has_its_own() -> None:
    levels = np.array([f"level {number}" for number in range(14)] + [None], object)
    values = np.tile(levels, 20)
    y = np.where(np.equal(values, None), 5.0, 1.0) + 0.01 * np.arange(300)
    encoder, _ = Encoder.fit("tree", pd.DataFrame({"many": values}), y, 0, 0, {})
    new = pd.DataFrame({"many": np.array(["level 3", None, "no such level"], object)})
    state = encoder.state["categories"]["many"]
    wanted = [state["means"][state["levels"].index("level 3")], state["means"][state["levels"].index(None)]]
    assert encoder.apply(new)[:, 0].tolist() == np.float32([wanted[0][0], wanted[1][0], y.mean()]).tolist()
    few, _ = Encoder.fit("dense", pd.DataFrame({"few": values[values != "level 0"][:8]}), y[:8], 0, 0, {})
    coded = few.apply(pd.DataFrame({"few": np.array(["level 2", None, "no such level"], object)}))
    assert coded.sum(axis=1).tolist() == [1, 0, 0]
