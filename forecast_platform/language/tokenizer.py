"""A base model's tokenizer: as its own file says, and what identifies it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from forecast_platform.language.errors import LanguageError

_PROBE = (
    "Crude oil settled at 78.65 on 20250314, up 1,234.5 (2.25%).\n"
    "\tIt's the 2nd month's \u201cspread\u201d: \u20ac90/bbl; na\u00efve, \u539f\u6cb9\u4e0a\u6da8."
)
"""Where rules differ in how they split numbers, spaces, quotes or scripts, they make other tokens of this."""


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of what a tokenizer does: its rules, vocabulary and special tokens."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    # Set by whoever called it last; no part of what the tokenizer is.
    state.pop("truncation", None)
    state.pop("padding", None)
    about = json.dumps(
        [state, sorted((key, str(one)) for key, one in tokenizer.special_tokens_map.items())], sort_keys=True
    )
    return hashlib.sha256(about.encode()).hexdigest()


def load_tokenizer(folder: str) -> tuple[Any, list[str]]:
    """The tokenizer of a model's folder, and what is to be said of it.

    AutoTokenizer puts a class in place of the file's rules beside some models: Qwen2's, whose own it takes for the only
    one (transformers 5.24, `findings/own-tokenizer.sh`). The model was trained with its file, whose rules are taken
    where the two make different tokens.

    Raises LanguageError where the folder has no tokenizer, no tokenizer.json, or no end of text.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise LanguageError(f"{folder}: no tokenizer in it ({str(error).splitlines()[0]})") from error
    if not getattr(tokenizer, "is_fast", False):
        raise LanguageError(f"{folder}: its tokenizer has no tokenizer.json: save the fast one beside the model")
    said = []
    if (Path(folder) / "tokenizer.json").is_file():
        written = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        if _tokens(tokenizer) != _tokens(written):
            said.append(
                f"{type(tokenizer).__name__}, which transformers takes for this model's tokenizer, makes other tokens "
                "than its tokenizer.json: the file's are used; servers that load it with AutoTokenizer make the others"
            )
            tokenizer = written
    if tokenizer.eos_token_id is None:
        raise LanguageError(f"{folder}: its tokenizer has no end-of-text token (eos_token), which ends each document")
    return tokenizer, said


def _tokens(tokenizer: Any) -> list[int]:
    return list(tokenizer.backend_tokenizer.encode(_PROBE, add_special_tokens=False).ids)
