"""A trained model as MLflow's registry and its serving endpoints take it: described, with a signature."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forecast_platform.language.tokenizer import load_tokenizer

TASK = "llm/v1/completions"
"""How a served model is asked: OpenAI's completions, `{"prompt": ..., "max_tokens": ..., "temperature": ...}`."""
_NEEDS = ("torch", "transformers", "accelerate")


def describe(folder: Path, about: Mapping[str, str]) -> Path:
    """Write MLmodel, which says what an adapter is of; returns it. Unity Catalog registers nothing without one."""
    from mlflow.models import Model

    described = Model(metadata=dict(about), signature=_signature())
    described.add_flavor("peft", data="adapter_model.safetensors", base_model=about["base_model"])
    path = folder / "MLmodel"
    described.save(str(path))
    return path


def servable(merged: Path, target: Path, about: Mapping[str, str]) -> Path:
    """Write a merged model as one that MLflow serves as completions; returns its folder, `target`."""
    import mlflow.transformers
    from transformers import AutoModelForCausalLM

    # What it says of model cards and licences is of hubs' models.
    for name in ("mlflow.transformers", "mlflow.utils.environment"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # MLflow 3.17 takes a folder of transformers 5 for a task of no known kind: the parts instead.
    parts = {
        "model": AutoModelForCausalLM.from_pretrained(str(merged), local_files_only=True, use_safetensors=True),
        "tokenizer": load_tokenizer(str(merged))[0],
    }
    mlflow.transformers.save_model(
        transformers_model=parts,
        path=str(target),
        task=TASK,
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", *_NEEDS)],
        metadata=dict(about),
    )
    return target


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    asked: list[ColSpec | TensorSpec] = [
        ColSpec("string", "prompt"),
        ColSpec("long", "max_tokens", required=False),
        ColSpec("double", "temperature", required=False),
    ]
    return ModelSignature(Schema(asked), Schema([ColSpec("string", "text")]))
