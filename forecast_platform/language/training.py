"""Continual pretraining: a base goes on learning from a corpus, and a killed run goes on from its last checkpoint."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast_platform.host.files import write_whole
from forecast_platform.host.progress import Progress, silent
from forecast_platform.language import adapter, metrics_file
from forecast_platform.language.checkpoints import drop_torn, newest
from forecast_platform.language.config import Config
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.errors import LanguageError, require_extra
from forecast_platform.language.models import Base, has_bf16, linear_modules, load_base, lora_targets
from forecast_platform.language.packing import one_by_one, pack
from forecast_platform.language.record import Record, registered_name
from forecast_platform.language.tokens import Tokens, tokenised
from forecast_platform.settings import Settings

METRICS = "training_metrics.json"
RUN = "run.json"
REPEATED = ("model", "training", "qlora", "data")
"""Blocks of a configuration that a run which goes on has to have in common with the one that was stopped."""
_log = logging.getLogger(__name__)
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Prepared:
    """A model with what is trained of it, and how its base was loaded."""

    model: Any
    base: Base
    trainable: int
    total: int


def fingerprint(config: Config, corpus: Corpus, base: Base) -> str:
    """What a run of training depends on, so that only its own checkpoints are gone on from."""
    plain = config.plain()
    of = {name: plain[name] for name in ("model", "training", "qlora")}
    of["context"] = [corpus.fingerprint, base.revision, base.tokenizer_hash, base.quantization]
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()


def prepared(config: Config, say: Say = _log.info) -> Prepared:
    """The base with its adapter on top, every trained weight proven to have a gradient.

    In 4 bits where asked for and where that trains; else in full precision, which is said. Raises LanguageError.
    """
    require_extra()
    import torch

    torch.manual_seed(config.training.seed)
    base = load_base(config, say=say)
    found = _adapted(config, base, say)
    if lacking := without_gradient(found.model):
        if not base.quantization.startswith("4bit"):
            raise LanguageError(f"{base.name}: no gradient reaches {lacking[0]}: choose other qlora.target_modules")
        say(f"{base.quantization}: no gradient reaches {lacking[0]} on this machine: LoRA in full precision instead")
        torch.manual_seed(config.training.seed)
        base = load_base(config, quantised=False, say=say)
        found = _adapted(config, base, say)
        if lacking := without_gradient(found.model):
            raise LanguageError(f"{base.name}: no gradient reaches {lacking[0]}: choose other qlora.target_modules")
    say(
        f"{base.name} in {base.quantization}: {metrics_file.short(found.trainable)} of "
        f"{metrics_file.short(found.total)} parameters are trained"
    )
    return found


def _adapted(config: Config, base: Base, say: Say) -> Prepared:
    import torch

    model, qlora = base.model, config.qlora
    recompute = config.training.gradient_checkpointing
    recompute = torch.cuda.is_available() if recompute is None else recompute
    total = sum(_size(weight) for weight in model.parameters())
    if qlora.enabled:
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

        targets, note = lora_targets(qlora.target_modules, linear_modules(model))
        if note:
            say(note)
        if base.quantization.startswith("4bit"):
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        tied = bool(getattr(model.config, "tie_word_embeddings", False)) and bool(qlora.modules_to_save)
        model = get_peft_model(
            model,
            LoraConfig(
                r=qlora.lora_r,
                lora_alpha=qlora.lora_alpha,
                lora_dropout=qlora.lora_dropout,
                target_modules=list(targets),
                modules_to_save=list(qlora.modules_to_save) or None,
                # Without it the head of a tied model keeps the weights that the embedding had.
                ensure_weight_tying=tied,
                task_type="CAUSAL_LM",
            ),
        )
    if recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    added = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name)
    return Prepared(model, base, trainable, total + added)


def _size(weight: Any) -> int:
    """Parameters in a tensor; two stand in each byte of a 4-bit one."""
    return int(weight.numel()) * (2 if weight.__class__.__name__ == "Params4bit" else 1)


def without_gradient(model: Any) -> list[str]:
    """Names of trained weights that a backward pass, after one in eval mode, does not reach.

    A weight of LoRA's A has a gradient of zero at first, not none: B begins at zero.
    """
    import torch

    device = next(model.parameters()).device
    ids = torch.arange(8, device=device)[None] % model.config.vocab_size
    was = model.training
    model.eval()
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    model.train()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    if loss.requires_grad:
        loss.backward()
    lacking = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
    model.zero_grad(set_to_none=True)
    model.train(was)
    return lacking


def train(
    config: Config,
    corpus: Corpus,
    settings: Settings,
    *,
    progress: Progress = silent,
    say: Say = _log.info,
) -> dict[str, Any]:
    """Train, write the model's folder and training_metrics.json; returns that. Done already: returned as it is.

    After a kill the same call goes on from the newest whole checkpoint, on the same curve. Raises LanguageError.
    """
    require_extra()
    folder = Path(config.output.output_dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    made = prepared(config, say)
    mark = fingerprint(config, corpus, made.base)
    if (done := _finished(folder, mark)) is not None:
        say(f"{folder}: trained already from the same corpus, base and configuration")
        return done
    began = dt.datetime.now(dt.timezone.utc)
    run_folder = folder / "checkpoints" / mark[:16]
    run_folder.mkdir(parents=True, exist_ok=True)
    started, run_id = _goes_on_from(run_folder)
    with _recorded(config, settings, run_id) as record:
        if record is not None:
            record.parameters({**metrics_file.parameters(config, made.base.quantization), "corpus": corpus.fingerprint})
        plain = config.plain()
        run = {
            "fingerprint": mark,
            "mlflow_run_id": None if record is None else record.run_id,
            "start_time": started or began.isoformat(timespec="seconds"),
            "corpus_sha256": corpus.fingerprint,
            "configuration": {name: plain[name] for name in REPEATED},
        }
        write_whole(run_folder / RUN, json.dumps(run) + "\n", 0o644)
        texts = corpus.mixed
        tokens = tokenised(texts, made.base.tokenizer, folder / "tokens")
        held_out = tokenised(corpus.val, made.base.tokenizer, folder / "tokens")
        say(f"{len(texts):,} documents, {len(tokens.ids):,} tokens; {len(corpus.val):,} documents held out")
        trainer = _trainer(config, made, tokens, held_out, run_folder, progress, record, say)
        checkpoint, wrong = newest(run_folder)
        for one in wrong:
            say(f"left out: {one}")
        drop_torn(run_folder)
        if checkpoint is not None:
            say(f"going on from {checkpoint.name}")
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        measured = trainer.evaluate()
        about = {"fingerprint": mark, "corpus_sha256": corpus.fingerprint, "mlflow_run_id": run["mlflow_run_id"]}
        adapter.save(trainer.model, made.base, config, folder, texts, about)
        ended = dt.datetime.now(dt.timezone.utc)
        merged = adapter.merge(folder, say) if config.output.merged_export else None
        if merged is not None:
            say(f"merged model in {merged}")
        address = None if record is None else _registered(record, settings, folder, made.base, corpus, merged)
        found = {
            "run_id": run["mlflow_run_id"] or mark[:32],
            "experiment_name": config.mlflow.experiment_name,
            "model_name": made.base.name,
            "status": "FINISHED",
            "start_time": run["start_time"],
            "end_time": ended.isoformat(timespec="seconds"),
            "duration_minutes": (ended - dt.datetime.fromisoformat(str(run["start_time"]))).total_seconds() / 60,
            "params": metrics_file.parameters(config, made.base.quantization),
            "training_log": metrics_file.training_log(trainer.state.log_history),
            "final_metrics": metrics_file.final(
                metrics_file.mean_loss(metrics_file.training_log(trainer.state.log_history)),
                measured["eval_loss"],
                (len(texts), len(corpus.val)),
                int(trainer.state.global_step),
                made.trainable,
                made.total,
            ),
            "artifacts": {
                "model_path": str(folder),
                "mlflow_artifact": address,
                "checkpoints": sorted(path.name for path in run_folder.glob("checkpoint-*")),
            },
        }
        if record is not None:
            record.figures(int(trainer.state.global_step), measured)
    write_whole(folder / METRICS, json.dumps({**found, "fingerprint": mark}, indent=2) + "\n", 0o644)
    return found


def _finished(folder: Path, mark: str) -> dict[str, Any] | None:
    """What training_metrics.json says where it is of this very run and the model beside it is whole."""
    path = folder / METRICS
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.pop("fingerprint", None) != mark:
        return None
    try:
        adapter.described(folder)
    except LanguageError:
        return None
    return dict(found)


def _goes_on_from(run_folder: Path) -> tuple[str | None, str | None]:
    """When a run that was stopped began, and its MLflow run."""
    path = run_folder / RUN
    if not path.is_file():
        return None, None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found["start_time"], found["mlflow_run_id"]


@contextmanager
def _recorded(config: Config, settings: Settings, run_id: str | None) -> Iterator[Record | None]:
    """The run's record, ended as it ended; None where nothing is to be reported."""
    if config.output.report_to != "mlflow":
        yield None
        return
    record = Record(settings, config.mlflow.experiment_name, config.mlflow.run_name, config.mlflow.tags, run_id)
    try:
        yield record
    except KeyboardInterrupt:
        record.finish("KILLED")
        raise
    except BaseException:
        record.finish("FAILED")
        raise
    record.finish()


def _registered(
    record: Record, settings: Settings, folder: Path, base: Base, corpus: Corpus, merged: Path | None
) -> str:
    tags = {
        "base_model": base.name,
        "base_revision": base.revision,
        "tokenizer_sha256": base.tokenizer_hash,
        "corpus_sha256": corpus.fingerprint,
    }
    return record.model(folder, registered_name(settings, base.name), tags, merged)


def _trainer(
    config: Config,
    made: Prepared,
    tokens: Tokens,
    held_out: Tokens,
    run_folder: Path,
    progress: Progress,
    record: Record | None,
    say: Say,
) -> Any:
    from functools import partial

    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments

    from forecast_platform.language.trainer import PackedTrainer, Rows, Told, collated

    training = config.training
    packed = (pack if training.packing else one_by_one)(tokens.lengths, training.max_seq_length)
    say(f"{len(packed):,} rows of {training.max_seq_length} tokens, {100 * packed.filled:.1f} % of their places filled")
    pad = made.base.tokenizer.pad_token_id
    pad = made.base.tokenizer.eos_token_id if pad is None else pad
    on_gpu = torch.cuda.is_available()
    half = training.bf16 and on_gpu
    steps = training.save_strategy == "steps"
    stopping = training.early_stopping_patience
    if stopping and training.save_strategy == "no":
        raise LanguageError("training.early_stopping_patience: needs checkpoints (training.save_strategy: steps)")
    arguments = TrainingArguments(
        output_dir=str(run_folder),
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_ratio,
        num_train_epochs=training.num_epochs,
        max_steps=training.max_steps,
        per_device_train_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        optim=training.optim,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        bf16=half and has_bf16(),
        fp16=half and not has_bf16(),
        use_cpu=not on_gpu,
        seed=training.seed,
        save_strategy=training.save_strategy,
        save_steps=training.save_steps,
        save_total_limit=training.save_total_limit,
        eval_strategy=training.save_strategy,
        eval_steps=training.save_steps if steps else None,
        load_best_model_at_end=stopping is not None,
        metric_for_best_model="eval_loss" if stopping else None,
        greater_is_better=False if stopping else None,
        # Its patience goes on where it was.
        restore_callback_states_from_checkpoint=stopping is not None,
        logging_steps=config.output.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
    )

    def figures(step: int, values: dict[str, float]) -> None:
        if record is not None:
            record.figures(step, values)
        if "loss" in values:
            say(
                f"step {step}: loss {values['loss']:.4f}, learning rate {values['learning_rate']:.3g}, "
                f"{values.get('tokens_per_second', 0):,.0f} tokens/s, {values.get('memory_gb', 0):.1f} GB"
            )

    told = Told(progress, figures)
    trainer = PackedTrainer(
        model=made.model,
        args=arguments,
        train_dataset=Rows(packed, tokens, pad),
        eval_dataset=Rows(packed, tokens, pad),
        data_collator=partial(collated, pad=pad),
        callbacks=[told, *([EarlyStoppingCallback(stopping)] if stopping else [])],
        held_out=held_out,
        context=training.max_seq_length,
    )
    trainer.remove_callback(PrinterCallback)  # what it prints is told above
    told.trainer = trainer
    return trainer
