"""Documents as tokens: one flat array, each document ended by the end of text; kept on disk, so that a resumed run
does not tokenise again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.host.files import write_whole
from forecast_platform.language.cleaning import digest
from forecast_platform.language.models import tokenizer_hash

_BATCH = 512


@dataclass(frozen=True)
class Tokens:
    """All documents' tokens, int32 [tokens], and where each document begins, int64 [documents + 1]."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, int64 [documents]."""
        return np.diff(self.offsets)

    def document(self, number: int) -> NDArray[np.int32]:
        """The tokens of one document."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]


def tokenise(texts: Sequence[str], tokenizer: Any) -> Tokens:
    """Tokens of the texts, without special ones, each text ended by the tokenizer's end of text.

    The end is put there by us: few tokenizers do it, and a model that never saw it does not learn to stop.
    """
    fast, end = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    fast.no_truncation()
    fast.no_padding()
    parts: list[NDArray[np.int32]] = []
    lengths = np.zeros(len(texts) + 1, np.int64)
    for first in range(0, len(texts), _BATCH):
        encoded = fast.encode_batch_fast(list(texts[first : first + _BATCH]), add_special_tokens=False)
        for place, one in enumerate(encoded, first + 1):
            ids = one.ids
            lengths[place] = len(ids) + 1
            ids.append(end)
            parts.append(np.array(ids, np.int32))
    return Tokens(np.concatenate(parts) if parts else np.empty(0, np.int32), np.cumsum(lengths))


def tokenised(texts: Sequence[str], tokenizer: Any, folder: Path) -> Tokens:
    """`tokenise`, kept in `folder` under what it depends on; the arrays are mapped from disk, not loaded."""
    whole = hashlib.sha256(tokenizer_hash(tokenizer).encode())
    for text in texts:
        whole.update(digest(text).encode())
    kept = folder / whole.hexdigest()[:32]
    done = kept / "tokens.json"
    if not done.is_file():
        found = tokenise(texts, tokenizer)
        kept.mkdir(parents=True, exist_ok=True)
        for name, array in (("ids", found.ids), ("offsets", found.offsets)):
            np.save(kept / f"{name}.npy", array, allow_pickle=False)
        # Last: without it the arrays may be cut short.
        write_whole(done, json.dumps({"documents": len(texts), "tokens": len(found.ids)}) + "\n", 0o644)
    arrays = [np.load(kept / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("ids", "offsets")]
    return Tokens(*arrays)
