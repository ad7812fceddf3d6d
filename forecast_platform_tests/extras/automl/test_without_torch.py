"""AutoGluon's tree models where torch is not installed: the same forecasts; its networks are refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.extra

ROOT = Path(__file__).parents[3]
HIDING = """
import sys
from importlib.machinery import PathFinder

class Lacking(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning", "pytorch_lightning"):
            return None
        return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Lacking
"""
"""A `sitecustomize` that takes torch away from a process and, by PYTHONPATH, from those that it starts."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[dict[str, Any], Any]]:
    """What the program said and forecast, with torch and without."""

    @cache
    def run(torch: bool) -> tuple[dict[str, Any], Any]:
        folder = tmp_path_factory.mktemp("torch" if torch else "no_torch")
        hiding = folder / "hiding"
        hiding.mkdir()
        if not torch:
            (hiding / "sitecustomize.py").write_text(HIDING)
        done = subprocess.run(
            [sys.executable, "-m", "forecast_platform_tests.extras.automl.small", str(folder)],
            env=os.environ | {"PYTHONPATH": f"{hiding}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=600, cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads((folder / "said.json").read_text()), np.load(folder / "paths.npy")

    return {torch: run(torch) for torch in (True, False)}


def test_without_torch_the_tree_models_fit_load_and_forecast_to_the_same_bits(
    found: dict[bool, tuple[dict[str, Any], Any]],
) -> None:
    (with_torch, paths), (without, same) = found[True], found[False]
    assert (with_torch["torch"], without["torch"], without["imported"]) == (True, False, False)
    assert same.shape == (9, 50, 14)
    assert np.isfinite(same).all()
    np.testing.assert_array_equal(same, paths)
    assert without["job"] == with_torch["job"]
    assert set(without["job"]["fallbacks"]) == {"RecursiveTabular", "AutoETS", "SeasonalNaive"}
    assert not any(without["job"]["fallbacks"].values())


def test_without_torch_networks_are_refused_by_name_and_left_out_of_presets_with_a_note(
    found: dict[bool, tuple[dict[str, Any], Any]],
) -> None:
    (with_torch, _), (without, _) = found[True], found[False]
    install = "pip install 'forecast-platform[automl]'"
    assert without["refused"] == {
        "model": f"model 'autogluon' needs torch: install it with `python -m {install}`",
        "job": f"models: 'TiDE' needs torch, which is not installed here: {install}",
    }
    trees = ["RecursiveTabular", "DirectTabular", "AutoETS", "DynamicOptimizedTheta"]
    assert without["best_quality"] == {
        "trains": trees,
        "notes": [
            f"{name} needs torch, which is not installed here: trained without it" for name in ("PatchTST", "TiDE")
        ],
    }
    assert with_torch["refused"] == {}
    assert set(with_torch["best_quality"]["trains"]) == {*trees, "PatchTST", "TiDE"}
