"""cpt_config.yaml: the keys that existing files use, their defaults, and what is refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from forecast_platform.language.errors import LanguageError
from forecast_platform.settings import SettingsError
from forecast_platform.settings.parts import did_you_mean
from forecast_platform.settings.yaml_file import read_yaml

SEED = 42
"""Seed of shuffles, splits, replay and training where none is set."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class ModelPart(_Part):
    """The base model."""

    name: str = Field(default="microsoft/phi-3-mini-4k-instruct", min_length=1, description="Folder, or a hub's name.")
    use_flash_attention: bool = Field(
        default=True,
        description="Where it is installed and rows are not packed, or one a pass; else PyTorch's own, and said.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub's model.")


class TrainingPart(_Part):
    """The run of training."""

    learning_rate: float = Field(default=2.0e-5, gt=0, le=1, description="Peak learning rate.")
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup", "polynomial"] = Field(
        default="cosine", description="Schedule of the learning rate after the warm-up."
    )
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    num_epochs: float = Field(default=2, gt=0, description="Passes over the packed rows.")
    max_steps: int = Field(default=-1, ge=-1, description="Optimizer steps; -1 leaves it to num_epochs.")
    per_device_train_batch_size: int = Field(default=2, ge=1, description="Packed rows a forward pass.")
    gradient_accumulation_steps: int = Field(default=8, ge=1, description="Forward passes an optimizer step.")
    max_seq_length: int = Field(default=2048, ge=8, description="Tokens of a packed row: the context.")
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "paged_adamw_8bit", "paged_adamw_32bit"] = (
        Field(default="adamw_torch", description="Optimizer, by transformers' name.")
    )
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(default=1.0, ge=0, description="Norm that gradients are clipped to; 0 never.")
    bf16: bool = Field(default=True, description="bfloat16 (float16 where the GPU has none); never on a CPU.")
    save_strategy: Literal["steps", "epoch", "no"] = Field(default="steps", description="When checkpoints are kept.")
    save_steps: int = Field(default=500, ge=1, description="Steps between checkpoints, and between evaluations.")
    save_total_limit: int = Field(default=3, ge=1, description="Newest checkpoints that are kept.")
    packing: bool = Field(
        default=True, description="Several documents a row, none lost; false: a document's piece a row."
    )
    gradient_checkpointing: bool | None = Field(
        default=None, description="Recompute activations to save memory; where unset on a GPU only."
    )
    early_stopping_patience: int | None = Field(
        default=None, ge=1, description="Evaluations without a lower held-out loss after which training stops."
    )
    seed: int = Field(default=SEED, ge=0, lt=2**32, description="Seed of the run.")


class QloraPart(_Part):
    """The adapter, and the base's quantisation."""

    enabled: bool = Field(default=True, description="Train a LoRA adapter; false trains every weight.")
    load_in_4bit: bool = Field(default=True, description="Keep the base in 4 bits where that works.")
    bnb_4bit_compute_dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="Type that 4-bit weights are computed in."
    )
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(default="nf4", description="4-bit type.")
    bnb_4bit_use_double_quant: bool = Field(default=True, description="Quantise the scales too.")
    lora_r: int = Field(default=64, ge=1, le=1024, description="Rank of the update (Hu et al. 2021).")
    lora_alpha: int = Field(default=128, ge=1, description="Scale of the update, over the rank.")
    lora_dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout before the update.")
    target_modules: tuple[str, ...] = Field(
        default=("q_proj", "v_proj"),
        min_length=1,
        description="Linear modules by the end of their names; or all-linear.",
    )
    modules_to_save: tuple[str, ...] = Field(
        default=(), description="Modules trained whole beside the adapter, such as embed_tokens and lm_head."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("target_modules"), str):
            return {**data, "target_modules": [data["target_modules"]]}
        return data


class DataPart(_Part):
    """Where documents come from."""

    train_table: str | None = Field(default=None, description="Table with the documents, [catalog.schema.]name.")
    val_table: str | None = Field(
        default=None, description="Table with held-out documents; unset: a share is held out."
    )
    catalog: str | None = Field(default=None, description="Catalog of tables that are named without one.")
    schema_: str | None = Field(
        default=None, alias="schema", description="Schema of tables that are named without one."
    )
    val_ratio: float = Field(default=0.05, gt=0, lt=1, description="Share of the documents that is held out.")
    train_file: str | None = Field(default="data/train.jsonl", description="JSONL or Parquet, where no table is named.")
    val_file: str | None = Field(default="data/val.jsonl", description="The held-out documents of train_file.")
    replay_ratio: float = Field(
        default=0.0, ge=0, lt=1, description="Share of general documents in what is trained on."
    )
    replay_dataset: str | None = Field(
        default="cerebras/SlimPajama-627B", description="General text: a JSONL or Parquet file, or a hub's data set."
    )
    replay_max_samples: int = Field(default=10000, ge=1, description="General documents that are read at most.")
    text_column: str = Field(default="text", min_length=1, description="Column, or JSON key, with the text.")

    def table(self, name: str) -> str:
        """The full name of a table. Raises LanguageError where catalog or schema are lacking."""
        parts = name.split(".")
        if len(parts) < 3:
            lead = [self.catalog, self.schema_][: 3 - len(parts)]
            if None in lead:
                raise LanguageError(f"table {name!r}: write catalog.schema.table, or set data.catalog and data.schema")
            parts = [*(str(one) for one in lead), *parts]
        if len(parts) != 3 or not all(parts):
            raise LanguageError(f"table {name!r}: three names with dots between, catalog.schema.table")
        return ".".join(parts)


class OutputPart(_Part):
    """What is written, and how it is told."""

    output_dir: str = Field(default="./outputs/cpt_model", min_length=1, description="Folder of adapter and figures.")
    logging_steps: int = Field(default=10, ge=1, description="Steps between figures in the log.")
    report_to: Literal["mlflow", "none"] = Field(default="mlflow", description="Where the figures go as they happen.")
    merged_export: bool = Field(default=False, description="Also write base and adapter as one model.")


class MlflowPart(_Part):
    """The record of the run."""

    experiment_name: str = Field(default="continual-pretraining-poc", min_length=1, description="MLflow's experiment.")
    run_name: str | None = Field(default=None, description="Name of the run; MLflow's own where unset.")
    tags: dict[str, str] = Field(
        default_factory=lambda: {"project": "continual-pretraining", "model_type": "causal-lm"},
        description="Tags of the run.",
    )


class Config(_Part):
    """cpt_config.yaml."""

    model: ModelPart = Field(default_factory=ModelPart)
    training: TrainingPart = Field(default_factory=TrainingPart)
    qlora: QloraPart = Field(default_factory=QloraPart)
    data: DataPart = Field(default_factory=DataPart)
    output: OutputPart = Field(default_factory=OutputPart)
    mlflow: MlflowPart = Field(default_factory=MlflowPart)

    @property
    def quantised(self) -> bool:
        """Whether 4 bits are asked for."""
        return self.qlora.enabled and self.qlora.load_in_4bit

    def plain(self) -> dict[str, Any]:
        """The configuration as JSON values, by the names of the file."""
        return self.model_dump(mode="json", by_alias=True)


def parse(found: Mapping[str, Any], source: str = "configuration") -> Config:
    """A configuration from the mapping of its file. Raises LanguageError that names the key, its value and the mend."""
    _refuse_unknown(found, source)
    # A block that holds nothing is one that is not there.
    given = {name: value for name, value in found.items() if value is not None}
    try:
        return Config.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part).removesuffix("_") for part in first["loc"])
        raise LanguageError(f"{source}: {key} = {first['input']!r}: {first['msg']}") from error


def read_config(path: Path) -> Config:
    """The configuration of a YAML file. Raises LanguageError."""
    try:
        return parse(read_yaml(path, "--config"), str(path))
    except SettingsError as error:
        raise LanguageError(str(error)) from error


def _refuse_unknown(found: Mapping[str, Any], source: str) -> None:
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    keys = {
        name: {field.alias or key for key, field in part.model_fields.items()}
        for name, part in sections.items()
        if isinstance(part, type) and issubclass(part, BaseModel)
    }
    for name, block in found.items():
        if name not in keys:
            raise LanguageError(f"{source}: no block {name!r}{did_you_mean(str(name), keys)}")
        if block is None:
            continue
        if not isinstance(block, Mapping):
            raise LanguageError(f"{source}: {name} = {block!r}: a block of `key: value` lines is meant")
        for key in block:
            if key in keys[name]:
                continue
            elsewhere = [other for other, its in keys.items() if key in its]
            meant = f"; it belongs to {elsewhere[0]}" if elsewhere else did_you_mean(str(key), keys[name])
            raise LanguageError(f"{source}: no key {name}.{key}{meant}")
