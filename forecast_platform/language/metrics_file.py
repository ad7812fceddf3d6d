"""training_metrics.json: what a run of training was and what came of it, by the schema that others read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from forecast_platform.language.config import Config


def short(count: int) -> str:
    """A number of parameters as 39.7M."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def parameters(config: Config, quantization: str) -> dict[str, Any]:
    """The block `params`."""
    training, qlora = config.training, config.qlora
    return {
        "model_name": config.model.name,
        "learning_rate": training.learning_rate,
        "num_epochs": training.num_epochs,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "effective_batch_size": training.per_device_train_batch_size * training.gradient_accumulation_steps,
        "max_seq_length": training.max_seq_length,
        "lora_r": qlora.lora_r if qlora.enabled else None,
        "lora_alpha": qlora.lora_alpha if qlora.enabled else None,
        "replay_ratio": config.data.replay_ratio,
        "quantization": quantization,
    }


def training_log(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The block `training_log` from a Trainer's history: a line a step, loss and evaluation of a step on one."""
    lines: dict[int, dict[str, Any]] = {}
    for entry in history:
        if "loss" not in entry and "eval_loss" not in entry:
            continue
        line = lines.setdefault(
            int(entry["step"]), {"step": int(entry["step"]), "train_loss": None, "learning_rate": None}
        )
        if "loss" in entry:
            line |= {"train_loss": float(entry["loss"]), "learning_rate": float(entry["learning_rate"])}
        if "eval_loss" in entry:
            loss = float(entry["eval_loss"])
            line |= {"eval_loss": loss, "eval_perplexity": math.exp(min(loss, 700.0))}
    return [lines[step] for step in sorted(lines)]


def mean_loss(log: Sequence[Mapping[str, Any]]) -> float:
    """The mean training loss over all steps, in nats a token, from the log's means since the line before: a Trainer's
    own leaves out what a resumed run did before."""
    total, last = 0.0, 0
    for line in log:
        if line["train_loss"] is not None:
            total += line["train_loss"] * (line["step"] - last)
            last = line["step"]
    return total / max(last, 1)


def final(
    train_loss: float, eval_loss: float, samples: tuple[int, int], steps: int, trainable: int, total: int
) -> dict[str, Any]:
    """The block `final_metrics`.

    train_loss, eval_loss: in nats a token; samples: the documents trained on and held out; steps: the optimizer's;
    trainable, total: parameters.
    """
    return {
        "train_loss": train_loss,
        "eval_loss": eval_loss,
        "eval_perplexity": math.exp(min(eval_loss, 700.0)),
        "train_samples": samples[0],
        "eval_samples": samples[1],
        "total_steps": steps,
        "trainable_parameters": short(trainable),
        "total_parameters": short(total),
        "trainable_percent": f"{100 * trainable / total:.2f}%",
    }
