"""What networks are kept as: TabNet's archive is opened for tensors alone."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest

from forecast_platform.ensembles import neural

pytestmark = pytest.mark.extra


def test_weights_of_tabnet_that_hold_more_than_tensors_are_refused() -> None:
    import torch

    x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    kept = neural.files(neural.fit("tabnet", {"max_epochs": 2}, x, (x[:, 0] > 0).astype(np.int64), 2, 0))
    with zipfile.ZipFile(io.BytesIO(kept["model.zip"])) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found.keys() == {"model_params.json", "network.pt"}

    def opened(extra: dict[str, object]) -> object:
        weights, sink = io.BytesIO(), io.BytesIO()
        torch.save({**torch.load(io.BytesIO(found["network.pt"]), weights_only=True), **extra}, weights)
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("model_params.json", found["model_params.json"])
            archive.writestr("network.pt", weights.getvalue())
        return neural.load("tabnet", {"model.zip": sink.getvalue()}, 2)

    assert np.isfinite(neural.predict("tabnet", opened({}), x, 2)).all()
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        opened({"more": PurePosixPath("x")})
