"""A model's losses on documents, by the context rule of `perplexity`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.language.perplexity import Losses, windows
from forecast_platform.language.tokens import Tokens

TOKENS_A_PASS = 8192
"""Tokens of a forward pass: bounds memory, changes no figure."""


def losses(
    model: Any, tokens: Tokens, context: int, tell: Callable[[int, int], Any] | None = None, most: int | None = None
) -> Losses:
    """Negative log-likelihood of each document's predictions under a causal model, in nats.

    most: documents at most, the first ones. tell: called with windows done and in all.
    """
    import torch

    documents = len(tokens.offsets) - 1 if most is None else min(most, len(tokens.offsets) - 1)
    pieces = [
        (document, *window)
        for document in range(documents)
        for window in windows(int(tokens.offsets[document + 1] - tokens.offsets[document]), context)
    ]
    # Of like length together: little padding, and padding comes last, where no prediction sees it.
    pieces.sort(key=lambda piece: (piece[1] - piece[2], piece[0], piece[1]))
    nll, predictions = np.zeros(documents), np.zeros(documents, np.int64)
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        for first, last in _passes(pieces):
            part = pieces[first:last]
            width = max(stop - start for _, start, stop, _ in part)
            ids = np.zeros((len(part), width), np.int64)
            for line, (document, start, stop, _) in enumerate(part):
                ids[line, : stop - start] = tokens.document(document)[start:stop]
            on_device = torch.from_numpy(ids).to(device)
            logits = model(input_ids=on_device, use_cache=False).logits
            for line, (document, start, stop, scored) in enumerate(part):
                begin, end = scored - start, stop - start
                wanted = on_device[line, begin:end]
                found = torch.nn.functional.cross_entropy(
                    logits[line, begin - 1 : end - 1].float(), wanted, reduction="sum"
                )
                nll[document] += float(found.double())
                predictions[document] += end - begin
            if tell is not None:
                tell(last, len(pieces))
    model.train(was_training)
    return Losses(nll, predictions)


def _passes(pieces: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    found, first = [], 0
    while first < len(pieces):
        # The first of a pass is its longest.
        size = max(1, TOKENS_A_PASS // (pieces[first][2] - pieces[first][1]))
        found.append((first, min(first + size, len(pieces))))
        first += size
    return found


def documents_of(lists: Sequence[Sequence[int] | NDArray[np.int32]]) -> Tokens:
    """Tokens of documents that are lists of them already, [its tokens] each: int32 [tokens], one list after another."""
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    flat = np.concatenate([np.asarray(one, np.int32) for one in lists]) if lists else np.empty(0, np.int32)
    return Tokens(flat, offsets)
