"""Base models: from a folder or a hub, in 4 bits or in full, and what identifies them."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forecast_platform.language.config import Config, QloraPart
from forecast_platform.language.errors import LanguageError, require_extra
from forecast_platform.language.tokenizer import load_tokenizer, tokenizer_hash
from forecast_platform.settings.parts import did_you_mean

if TYPE_CHECKING:
    import torch

HUB_SECONDS = 5.0
"""How long a hub may take to answer before it counts as not there: offline, nothing may hang."""
ALL_LINEAR = "all-linear"
USUAL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Modules that configurations name whatever the model is; some models fuse them under other names."""

_log = logging.getLogger(__name__)


@dataclass
class Base:
    """A base model with its tokenizer, and how it was loaded."""

    model: Any
    tokenizer: Any
    name: str
    revision: str
    quantization: str
    notes: list[str] = field(default_factory=list)

    @property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer."""
        return tokenizer_hash(self.tokenizer)


def located(name: str, revision: str | None = None) -> tuple[str, str]:
    """The folder of a base model, fetched from the hub where it is none; and its revision.

    A folder's revision is the SHA-256 of its weights. Raises LanguageError, offline within seconds.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder), f"sha256:{weights_hash(folder)}"
    if folder.is_absolute() or name.startswith(("./", "../", "~")):
        raise LanguageError(f"base model {name!r}: no such folder (model.name)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
    try:
        found = snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=wanted)
    except HFValidationError as error:
        raise LanguageError(f"base model {name!r}: neither a folder nor a hub's name such as org/model") from error
    except LocalEntryNotFoundError:
        require_hub(f"base model {name!r}")
        try:
            found = snapshot_download(name, revision=revision, allow_patterns=wanted, etag_timeout=HUB_SECONDS)
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            said = str(error).strip().splitlines()[0]
            raise LanguageError(f"base model {name!r}: the hub does not give it: {said}") from error
    return found, Path(found).name


def require_hub(what: str) -> None:
    """Raise LanguageError where the hub cannot be reached within HUB_SECONDS."""
    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT).hostname or ""
    offline = constants.HF_HUB_OFFLINE
    if not offline:
        offline = not _reached(host)
    if offline:
        raise LanguageError(
            f"{what}: no such folder or file, and not in the hub's cache; the hub cannot be reached from here: put it "
            "in a folder and name that"
        )


def _reached(host: str) -> bool:
    """Whether a host takes a connection within HUB_SECONDS, its name's look-up included, which no time-out bounds."""
    found: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((host, 443), timeout=HUB_SECONDS).close()
        except OSError:
            return
        found.append(True)

    asking = threading.Thread(target=connect, daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    return bool(found)


def weights_hash(folder: Path) -> str:
    """SHA-256 over a model folder's weights and configuration, by name. Raises LanguageError where there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise LanguageError(f"base model {str(folder)!r}: no .safetensors in it: a model that `save_pretrained` wrote")
    whole = hashlib.sha256()
    for path in [*files, folder / "config.json"]:
        if path.is_file():
            whole.update(f"{path.name} {file_hash(path)}\n".encode())
    return whole.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        whole = hashlib.sha256()
        while block := stream.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


def load_base(config: Config, *, quantised: bool | None = None, say: Callable[[str], Any] = _log.info) -> Base:
    """The base model and tokenizer of a configuration, ready to be trained or measured. Raises LanguageError."""
    require_extra()
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder, revision = located(config.model.name, config.model.revision)
    tokenizer, noted = load_tokenizer(folder)
    wanted = config.quantised if quantised is None else quantised
    base = Base(None, tokenizer, config.model.name, revision, "none", noted)
    options: dict[str, Any] = {
        "local_files_only": True,
        "use_safetensors": True,
        "dtype": precision(config.training.bf16),
    }
    if wanted and find_spec("bitsandbytes") is None:
        base.notes.append("bitsandbytes is not installed: LoRA in full precision")
        wanted = False
    if wanted:
        options["quantization_config"] = _four_bits(config.qlora)
        base.quantization = f"4bit-{config.qlora.bnb_4bit_quant_type}"
    if torch.cuda.is_available():
        options["device_map"] = {"": 0}
    flash = config.model.use_flash_attention
    if flash and config.training.packing and config.training.per_device_train_batch_size > 1:
        flash = False
        base.notes.append(
            "without FlashAttention: transformers keeps packed documents apart in it for one row a pass only "
            "(training.per_device_train_batch_size: 1); PyTorch's own attention"
        )
    base.model = _from_folder(folder, options, flash, base.notes)
    if not wanted:
        base.quantization = str(options["dtype"]).removeprefix("torch.")
    else:
        keep_training_on_cpu(base.model)
    base.model.config.use_cache = False
    longest = getattr(base.model.config, "max_position_embeddings", None)
    if longest is not None and config.training.max_seq_length > longest:
        raise LanguageError(
            f"training.max_seq_length = {config.training.max_seq_length}: {config.model.name} reads at most {longest} "
            "tokens; lower it"
        )
    for note in base.notes:
        say(note)
    return base


def _from_folder(folder: str, options: dict[str, Any], flash: bool, notes: list[str]) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        if flash and "device_map" in options:
            try:
                return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="flash_attention_2", **options)
            except (ImportError, ValueError) as error:
                notes.append(f"without FlashAttention ({str(error).splitlines()[0][:120]}): PyTorch's own attention")
        elif flash:
            notes.append("without FlashAttention (no GPU): PyTorch's own attention")
        return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", **options)
    except OSError as error:
        raise LanguageError(f"base model {folder}: {str(error).splitlines()[0]}") from error
    except SafetensorError as error:
        raise LanguageError(
            f"base model {_unreadable(Path(folder))}: cut short or changed ({error}): take a copy that is whole"
        ) from error


def _unreadable(folder: Path) -> Path:
    """The first of a folder's weight files whose header or length is not whole; the folder where none is."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(str(path), framework="pt"):
                pass
        except SafetensorError:
            return path
    return folder


def precision(bf16: bool) -> torch.dtype:
    """What weights are kept in: bfloat16 or float16 as a GPU can where asked for; float32 on a CPU."""
    import torch

    if not (bf16 and torch.cuda.is_available()):
        return torch.float32
    return torch.bfloat16 if has_bf16() else torch.float16


def has_bf16() -> bool:
    """Whether the GPU computes in bfloat16 itself; PyTorch counts one that emulates it, slowly, unless told not to."""
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _four_bits(qlora: QloraPart) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    wanted = qlora.bnb_4bit_compute_dtype
    if wanted == "bfloat16" and torch.cuda.is_available() and not has_bf16():
        wanted = "float16"
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_compute_dtype=getattr(torch, wanted),
        bnb_4bit_quant_type=qlora.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=qlora.bnb_4bit_use_double_quant,
    )


def keep_training_on_cpu(model: Any) -> None:
    """Keep 4-bit weights in the layout that has gradients.

    On a CPU with avx512_bf16, bitsandbytes 0.50 repacks them at the first forward pass in eval mode; training after
    that has no gradient for what comes before, and only warns.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def linear_modules(model: Any) -> list[str]:
    """The ends of the names of a model's linear modules, without the head."""
    import torch

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )


def lora_targets(wanted: tuple[str, ...], own: list[str]) -> tuple[tuple[str, ...], str | None]:
    """The modules to adapt among a model's `own` linear ones, and what to say of it.

    Where a model fuses projections, usual names match only some of its modules: all linear ones then, and said. Raises
    LanguageError for a name that is neither the model's nor a usual one.
    """
    if wanted == (ALL_LINEAR,):
        return tuple(own), None
    lacking = [name for name in wanted if name not in own]
    for name in lacking:
        if name not in USUAL or not own:
            raise LanguageError(
                f"qlora.target_modules: no linear module {name!r} in this model{did_you_mean(name, own)}; or "
                f"{ALL_LINEAR}"
            )
    if not lacking:
        return wanted, None
    return tuple(own), (
        f"target_modules {', '.join(lacking)} are not in this model, which has {', '.join(own)}: all of these are "
        "adapted"
    )
