"""A tiny base model and a corpus of made-up sentences: seconds, not minutes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_platform.language.config import Config
from forecast_platform.language.corpus import Corpus
from forecast_platform.settings import Settings

# No test waits for a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SUBJECTS = ["coffee", "sugar", "frost", "rain", "the market", "a model", "the price", "demand"]
VERBS = ["raises", "lowers", "follows", "moves", "meets", "drives"]


def sentences(seed: int, count: int = 12) -> str:
    generator = np.random.default_rng(seed)
    parts = [
        f"{generator.choice(SUBJECTS)} {generator.choice(VERBS)} {generator.choice(SUBJECTS)} in "
        f"{generator.integers(1990, 2030)}"
        for _ in range(count)
    ]
    return ". ".join(parts) + "."


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaMA of two layers and 32 columns with random weights, and its tokenizer."""
    from forecast_platform.language.sample import blank_model

    folder = tmp_path_factory.mktemp("blank")
    return blank_model(folder, [sentences(seed) for seed in range(40)], width=32, context=128)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    texts = [sentences(seed, 4 + seed % 17) for seed in range(60)]
    return Corpus(texts[:50], texts[50:], [], [], {})


@pytest.fixture
def world(blank: Path, tmp_path: Path) -> Callable[..., tuple[Config, Settings]]:
    """A configuration of this test's own, and settings over a fresh warehouse."""
    from forecast_platform.language.sample import configuration

    def make(name: str = "out", **blocks: Any) -> tuple[Config, Settings]:
        training = {
            "max_steps": 12,
            "per_device_train_batch_size": 2,
            "max_seq_length": 64,
            "save_steps": 4,
            **blocks.pop("training", {}),
        }
        output = {"report_to": "none", "logging_steps": 1, **blocks.pop("output", {})}
        qlora = {"lora_r": 4, "lora_alpha": 8, **blocks.pop("qlora", {})}
        model = blocks.pop("model", {"name": str(blank)})
        config = configuration(
            Path(model["name"]), tmp_path / name, training=training, output=output, qlora=qlora, **blocks
        )
        return config, Settings(warehouse=tmp_path / "warehouse")

    return make
