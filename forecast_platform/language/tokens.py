"""Documents as tokens: one flat array, each document ended by the end of text; kept on disk, so that a resumed run
does not tokenise again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.host.files import write_whole
from forecast_platform.language.cleaning import digest
from forecast_platform.language.tokenizer import tokenizer_hash

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
        """The tokens of one document, int32 [its lengths]."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]


def tokenise(texts: Sequence[str], tokenizer: Any) -> Tokens:
    """Tokens of the texts, without special ones, each text ended by the tokenizer's end of text.

    The end is put there by us: few tokenizers do it, and a model that never saw it does not learn to stop.
    """
    parts, lengths = [], [np.zeros(1, np.int64)]
    for ids, counted in _batches(texts, tokenizer):
        parts.append(ids)
        lengths.append(counted)
    return Tokens(np.concatenate(parts) if parts else np.empty(0, np.int32), np.cumsum(np.concatenate(lengths)))


def _batches(texts: Sequence[str], tokenizer: Any) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Some documents at a time: all their tokens, and how many each has."""
    fast, end = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    fast.no_truncation()
    fast.no_padding()
    for first in range(0, len(texts), _BATCH):
        encoded = fast.encode_batch_fast(list(texts[first : first + _BATCH]), add_special_tokens=False)
        lengths = np.fromiter((len(one) + 1 for one in encoded), np.int64, len(encoded))
        ids = np.full(int(lengths.sum()), end, np.int32)
        place = 0
        for one, length in zip(encoded, lengths, strict=True):
            ids[place : place + length - 1] = one.ids
            place += length
        yield ids, lengths


def tokenised(texts: Sequence[str], tokenizer: Any, folder: Path) -> Tokens:
    """`tokenise`, kept in `folder` under what it depends on; the arrays are mapped from disk, not loaded."""
    whole = hashlib.sha256(tokenizer_hash(tokenizer).encode())
    for text in texts:
        whole.update(digest(text).encode())
    kept = folder / whole.hexdigest()[:32]
    done, file = kept / "tokens.json", kept / "ids.int32"
    if not (done.is_file() and file.is_file()):
        kept.mkdir(parents=True, exist_ok=True)
        lengths = [np.zeros(1, np.int64)]
        with file.open("wb") as stream:
            for ids, counted in _batches(texts, tokenizer):
                ids.tofile(stream)
                lengths.append(counted)
        offsets = np.cumsum(np.concatenate(lengths))
        np.save(kept / "offsets.npy", offsets, allow_pickle=False)
        # Last: without it the arrays may be cut short.
        write_whole(done, json.dumps({"documents": len(texts), "tokens": int(offsets[-1])}) + "\n", 0o644)
    offsets = np.load(kept / "offsets.npy", mmap_mode="r", allow_pickle=False)
    ids = np.memmap(file, np.int32, mode="r") if offsets[-1] else np.empty(0, np.int32)
    return Tokens(ids, offsets)
