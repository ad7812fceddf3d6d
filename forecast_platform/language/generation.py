"""Text from a causal language model: fixed prompts and seeds, the same text each time on one machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecast_platform.language import adapter
from forecast_platform.language.checkpoints import HASHES
from forecast_platform.language.config import SEED
from forecast_platform.language.errors import require_extra

PROMPTS = (
    "The main drivers of the price are",
    "A forecast of the next two weeks depends on",
    "The model is estimated by",
    "The difference between the two methods is",
    "The result can be interpreted as",
)
"""What base and tuned model go on from, side by side."""
NEW_TOKENS = 60


def generate(model: Any, tokenizer: Any, prompt: str, *, seed: int = SEED, new_tokens: int = NEW_TOKENS) -> str:
    """What a model writes after a prompt: nucleus sampling at .9, temperature .7, from a seed of its own.

    A prompt that leaves no room in the context loses its beginning.
    """
    import torch

    device = next(model.parameters()).device
    longest = getattr(model.config, "max_position_embeddings", None) or 4096
    new_tokens = min(new_tokens, longest // 2)
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"][:, -(longest - new_tokens) :]
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
        torch.manual_seed(seed)
        with torch.no_grad():
            found = model.generate(
                input_ids=ids.to(device),
                attention_mask=torch.ones_like(ids).to(device),
                max_new_tokens=new_tokens,
                do_sample=True,
                temperature=0.7,
                top_p=0.9,
                use_cache=True,
                pad_token_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            )
    return str(tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def writer_of(folder: Path) -> Callable[[str], str]:
    """The tuned model in a folder as something that writes after a prompt. Raises LanguageError."""
    base = adapter.base_of(folder, say=lambda text: None)
    model = adapter.tuned(folder, base)
    return lambda prompt: generate(model, base.tokenizer, prompt, new_tokens=200)


class KeptWriter:
    """The tuned model in a folder as something that writes, loaded at the first prompt and kept until the folder has
    another: what a server asks again and again. One prompt at a time: the generators' seeds are the process's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: tuple[float, Callable[[str], str]] | None = None

    def __call__(self, prompt: str) -> str:
        """What the model writes. Raises LanguageError where the folder holds no trained model that is whole."""
        with self._lock:
            listed = self._folder / HASHES
            made = listed.stat().st_mtime if listed.is_file() else 0.0
            if self._kept is None or self._kept[0] != made:
                require_extra()
                self._kept = None
                self._kept = (made, writer_of(self._folder))
            return self._kept[1](prompt)
