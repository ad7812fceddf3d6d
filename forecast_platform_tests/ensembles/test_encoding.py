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
