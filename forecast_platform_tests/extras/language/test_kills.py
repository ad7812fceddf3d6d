"""Each asset is killed at random moments and run again: in the end everything is as of a run that nobody stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecast_platform.language import adapter
from forecast_platform.language.checkpoints import sealed
from forecast_platform.language.models import file_hash
from forecast_platform_tests.extras.language.conftest import sentences
from forecast_platform_tests.waiting import PATIENCE

pytestmark = pytest.mark.extra

STEPS = ("corpus", "adapter", "evaluation", "recommendation")
KILLS = 2
"""Kills of each asset, spread over the time that it takes; the seed is of the run's own, and told where it fails."""
_LOADED = [
    *("torch", "transformers", "peft", "mlflow", "dagster", "pyarrow"),
    *("forecast_platform.language.training", "forecast_platform.language.evaluation", "forecast_platform.definitions"),
]


def materialize(step: str, folder: str) -> None:
    """One asset of the component in `folder`, as a step of a run does it; ends the process with how it went."""
    import dagster as dg

    from forecast_platform.graph.assets.language import Pretrained, language_definitions
    from forecast_platform.graph.components.pretraining import Pretraining

    os.environ["FORECAST_PLATFORM_WAREHOUSE"] = str(Path(folder) / "warehouse")
    component = Pretraining(name="notes", config="cpt.yaml", task="Predict the words of market notes")
    spec = Pretrained("notes", lambda: component.read(Path(folder)), component.task)
    [wanted] = [one for one in language_definitions(spec).assets or [] if one.key.path[-1] == step]
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([wanted], instance=instance, raise_on_error=True)
    assert done.success


def component_in(folder: Path, base: Path) -> None:
    folder.mkdir()
    rows = [json.dumps({"text": sentences(seed, 6 + seed % 9)}) for seed in range(40)]
    (folder / "documents.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "general.jsonl").write_text(
        "\n".join(json.dumps({"text": sentences(900 + seed, 20)}) for seed in range(20)) + "\n"
    )
    training = {"max_steps": 8, "per_device_train_batch_size": 2, "max_seq_length": 64, "save_steps": 2}
    config = {
        "model": {"name": str(base)},
        "training": {**training, "gradient_accumulation_steps": 1, "learning_rate": 5.0e-3},
        "qlora": {"load_in_4bit": False, "lora_r": 4, "target_modules": ["all-linear"]},
        "data": {
            "train_file": str(folder / "documents.jsonl"),
            "val_file": None,
            "val_ratio": 0.2,
            "replay_dataset": str(folder / "general.jsonl"),
            "replay_ratio": 0.2,
        },
        "output": {"output_dir": str(folder / "out"), "logging_steps": 1, "merged_export": True},
    }
    (folder / "cpt.yaml").write_text(yaml.safe_dump(config))


def outcome(folder: Path) -> dict[str, Any]:
    """What a run left, without times and names of runs and folders."""
    out = folder / "out"
    metrics = json.loads((out / "training_metrics.json").read_text())
    results = json.loads((out / "evaluation_results.json").read_text())
    answer = json.loads((out / "recommendation.json").read_text())
    adapter.described(out)
    sealed(out.parent / "out-merged")
    return {
        "corpus": json.loads((out / "corpus" / "corpus.json").read_text())["fingerprint"],
        "weights": file_hash(out / "adapter_model.safetensors"),
        "merged": file_hash(out.parent / "out-merged" / "model.safetensors"),
        "log": metrics["training_log"],
        "evaluation": {key: results[key] for key in ("domain_perplexity", "general_perplexity")},
        "texts": results["generation_comparisons"],
        "best": answer["models_evaluated"][0]["metrics"]["domain_perplexity"],
    }


def test_assets_that_are_killed_at_random_moments_end_as_if_nobody_had(blank: Path, tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_LOADED)
    seed = int(time.time())
    generator = random.Random(seed)

    def run(step: str, folder: Path, seconds: float | None = None) -> float:
        """Run a step, killed after `seconds`; returns how long it took."""
        began = time.monotonic()
        child = processes.Process(target=materialize, args=(step, str(folder)))
        child.start()
        child.join(2 * PATIENCE if seconds is None else seconds)
        if seconds is not None and child.is_alive():
            child.kill()
            child.join()
        elif seconds is None:
            assert child.exitcode == 0, f"{step} of {folder.name} (seed {seed})"
        return time.monotonic() - began

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    component_in(whole, blank)
    component_in(killed, blank)
    for step in STEPS:
        taken = run(step, whole)
        for number in range(KILLS):
            run(step, killed, taken * (number + generator.random()) / KILLS)
        run(step, killed)
    assert outcome(killed) == outcome(whole), f"seed {seed}"
    assert not list((killed / "out").glob(".new"))
