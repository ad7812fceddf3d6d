"""What training leaves: an adapter (or whole weights) as safetensors, and what it belongs to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forecast_platform.host.files import write_whole
from forecast_platform.language.checkpoints import HASHES, seal, sealed
from forecast_platform.language.cleaning import digest
from forecast_platform.language.config import Config, ModelPart, parse
from forecast_platform.language.errors import LanguageError, require_extra
from forecast_platform.language.models import Base, load_base, located
from forecast_platform.language.tokenizer import load_tokenizer, tokenizer_hash

TRAINED_ON = "trained_documents.sha256"
"""A line a document that was trained on, by which one is proven unseen."""
MERGED = "merged"
WEIGHTS = ("adapter_model.safetensors", "model.safetensors")


def save(model: Any, base: Base, config: Config, folder: Path, texts: Sequence[str], about: Mapping[str, Any]) -> None:
    """Write a trained model's folder: it appears under its name once everything in it is on disk.

    Raises OSError; what was there before is kept then.
    """
    fresh = folder / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    model.save_pretrained(str(fresh), safe_serialization=True)
    base.tokenizer.save_pretrained(str(fresh))
    write_whole(fresh / TRAINED_ON, "".join(f"{one}\n" for one in sorted(map(digest, texts))), 0o644)
    seal(
        fresh,
        {
            "base_model": base.name,
            "base_revision": base.revision,
            "tokenizer_sha256": base.tokenizer_hash,
            "quantization": base.quantization,
            "configuration": config.plain(),
            **about,
        },
    )
    # The list of hashes goes last: a folder with another's files is told by it.
    (folder / HASHES).unlink(missing_ok=True)
    for path in sorted(fresh.iterdir(), key=lambda one: one.name == HASHES):
        path.replace(folder / path.name)
    fresh.rmdir()


def described(folder: Path) -> dict[str, Any]:
    """What the folder of a trained model says of itself, its files compared with their hashes. Raises LanguageError."""
    if not folder.is_dir():
        raise LanguageError(
            f"trained model {str(folder)!r}: no such folder: train it first (forecast-platform pretrain)"
        )
    found = sealed(folder)
    if not any(name in found["files"] for name in WEIGHTS):
        raise LanguageError(f"{folder}: no {' or '.join(WEIGHTS)} in it: not the folder of a trained model")
    return found


def documents_seen(folder: Path) -> frozenset[str]:
    """SHA-256 of each cleaned document that a model was trained on."""
    return frozenset((folder / TRAINED_ON).read_text(encoding="utf-8").split())


def base_of(folder: Path, name: str | None = None, say: Callable[[str], Any] = print) -> Base:
    """The base that a trained model belongs to, by its own record, or `name` where that is the same one elsewhere.

    Raises LanguageError where name, revision or tokenizer are of another.
    """
    about = described(folder)
    config = parse(about["configuration"], str(folder / HASHES))
    if name is not None:
        config = config.model_copy(update={"model": ModelPart(**{**config.model.model_dump(), "name": name})})
    base_folder, revision = located(config.model.name, config.model.revision)
    if revision != about["base_revision"]:
        raise LanguageError(
            f"{folder}: an adapter of {about['base_model']} at {about['base_revision']}; {config.model.name} is at "
            f"{revision}: name the base that it was trained on (--base-model)"
        )
    found = tokenizer_hash(load_tokenizer(base_folder)[0])
    if found != about["tokenizer_sha256"]:
        raise LanguageError(
            f"{folder}: trained with a tokenizer {about['tokenizer_sha256'][:12]}; that of {config.model.name} is "
            f"{found[:12]}: put the one back that the base had (it is also in {folder})"
        )
    return load_base(config, quantised=about["quantization"].startswith("4bit"), say=say)


def tuned(folder: Path, base: Base) -> Any:
    """The trained model over its base: the base's own weights where an adapter goes on top of them. Raises
    LanguageError."""
    require_extra()
    about = described(folder)
    if WEIGHTS[0] in about["files"]:
        from peft import PeftModel

        return PeftModel.from_pretrained(base.model, str(folder)).eval()
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=True, dtype=base.model.dtype
    ).eval()


def merge(folder: Path, say: Callable[[str], Any] = print) -> Path:
    """Write base and adapter as one model into the folder's `merged`, in full precision; returns it.

    Raises LanguageError where the folder holds no adapter, or its base cannot be loaded.
    """
    about = described(folder)
    target = folder.parent / f"{folder.name}-{MERGED}"
    config = parse(about["configuration"], str(folder / HASHES))
    base = load_base(config, quantised=False, say=say)
    model = tuned(folder, base)
    whole = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    target.mkdir(parents=True, exist_ok=True)
    whole.save_pretrained(str(target), safe_serialization=True)
    base.tokenizer.save_pretrained(str(target))
    seal(target, {"base_model": base.name, "base_revision": base.revision, "merged_from": str(folder)})
    return target
