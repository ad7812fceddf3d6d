"""transformers' Trainer over packed rows: a loss that is no number stops it, checkpoints name their hashes, and the
held-out loss is averaged over tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from forecast_platform.host.progress import Progress
from forecast_platform.language.checkpoints import drop_torn, seal
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.packing import IGNORED, Packed, row, used
from forecast_platform.language.scoring import losses
from forecast_platform.language.tokens import Tokens

HELD_OUT_AT_MOST = 500
"""Documents that the loss during training is measured on; the evaluation afterwards takes all."""


class Rows(Dataset):
    """Packed rows, each as long as what it holds."""

    def __init__(self, packed: Packed, tokens: Tokens, pad: int) -> None:
        self.packed, self.tokens, self.pad = packed, tokens, pad

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, number: int) -> dict[str, Any]:
        length = used(self.packed, number)
        found: dict[str, Any] = dict(row(self.packed, number, self.tokens.ids, self.tokens.offsets, length, self.pad))
        found["row"] = number
        return found


def collated(rows: Sequence[Mapping[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """Rows as a batch, padded to the longest; the padding is a document of its own and is nobody's prediction."""
    longest = max(len(one["input_ids"]) for one in rows)
    batch = {
        "input_ids": np.full((len(rows), longest), pad, np.int64),
        "position_ids": np.zeros((len(rows), longest), np.int64),
        "labels": np.full((len(rows), longest), IGNORED, np.int64),
    }
    for line, one in enumerate(rows):
        length = len(one["input_ids"])
        for name, into in batch.items():
            into[line, :length] = one[name]
        batch["position_ids"][line, length:] = np.arange(longest - length)
    return {
        **{name: torch.from_numpy(values) for name, values in batch.items()},
        "rows": torch.tensor([one["row"] for one in rows]),
    }


class PackedTrainer(Trainer):
    """A Trainer over Rows.

    Raises LanguageError where a loss is no number, with the step, the batch and the mend.
    """

    control: Any

    def __init__(self, *args: Any, held_out: Tokens | None = None, context: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held_out, self.context = held_out, context
        self.tokens_seen = 0

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:
        """Train, or go on from a checkpoint. One that training had ended with is loaded and not gone on from:
        transformers 5.24 would take a step more."""
        if resume_from_checkpoint is not None:
            state = TrainerState.load_from_json(str(Path(resume_from_checkpoint, TRAINER_STATE_NAME)))
            control = state.stateful_callbacks.get("TrainerControl", {})
            stopped = isinstance(control, Mapping) and control.get("args", {}).get("should_training_stop", False)
            if stopped or state.global_step >= state.max_steps:
                self.state = state
                if self.args.load_best_model_at_end and state.best_model_checkpoint is not None:
                    self._load_best_model()
                else:
                    self._load_from_checkpoint(resume_from_checkpoint)
                return None
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward pass. Raises LanguageError where its loss is no finite number."""
        rows = inputs.pop("rows")
        self.tokens_seen += int(inputs["input_ids"].numel())
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not bool(torch.isfinite(loss)):
            dataset: Any = self.train_dataset
            documents = sorted(
                {
                    int(document)
                    for number in rows.tolist()
                    for document in dataset.packed.pieces[
                        dataset.packed.row_starts[number] : dataset.packed.row_starts[number + 1], 0
                    ]
                }
            )
            raise LanguageError(
                f"the loss is {float(loss)} at step {self.state.global_step + 1}, in the batch of rows {rows.tolist()} "
                f"(documents {documents[:8]}{'...' if len(documents) > 8 else ''}): lower training.learning_rate "
                f"(now {self._get_learning_rate():.3g}), raise training.warmup_ratio, or lower training.max_grad_norm; "
                "the last checkpoint is from before it"
            )
        return loss

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Loss and perplexity of the held-out documents, averaged over tokens: no batch size changes them."""
        if self.held_out is None:
            return {}
        found = losses(self.model, self.held_out, self.context, most=HELD_OUT_AT_MOST)
        metrics = {f"{metric_key_prefix}_loss": found.mean, f"{metric_key_prefix}_perplexity": found.perplexity}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run = Path(self._get_output_dir(trial=trial))
        # Rotation counts folders: a torn one would push a whole one out.
        drop_torn(run)
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        seal(run / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        self._rotate(run, limit)

    def _rotate(self, run: Path, limit: int | None) -> None:
        import shutil

        kept = sorted(run.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        best = self.state.best_model_checkpoint
        for path in kept[: -limit if limit else 0]:
            if best is None or Path(best).name != path.name:
                shutil.rmtree(path)


class Told(TrainerCallback):
    """Tells progress and figures as they happen: loss, learning rate, tokens a second, memory."""

    def __init__(self, progress: Progress, figures: Callable[[int, dict[str, float]], None]) -> None:
        self.progress, self.figures = progress, figures
        self.trainer: PackedTrainer | None = None
        self._at, self._tokens = time.perf_counter(), 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to count."""
        self._at, self._tokens = time.perf_counter(), 0 if self.trainer is None else self.trainer.tokens_seen

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell how far it is."""
        self.progress(state.global_step, state.max_steps, f"step {state.global_step}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell the figures of the last steps."""
        found = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        if "loss" in found and self.trainer is not None:
            now, tokens = time.perf_counter(), self.trainer.tokens_seen
            found["tokens_per_second"] = (tokens - self._tokens) / max(now - self._at, 1e-9)
            found["memory_gb"] = memory_gb()
            self._at, self._tokens = now, tokens
        self.figures(state.global_step, {name: value for name, value in found.items() if math.isfinite(value)})


def memory_gb() -> float:
    """Memory of this process, or of the GPU where there is one, in GB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e9
