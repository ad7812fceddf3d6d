"""Packing of tokenised documents into rows of the context's length: no token lost, no document seen from another.

A document longer than the context is cut into whole rows, its rest packed with others by best fit, longest first
(Ding et al. 2024, "Fewer truncations improve language modeling"). Positions begin at 0 with each piece, which is what
keeps attention within it, and a piece's first token is nobody's prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""The label that a loss leaves out."""


@dataclass(frozen=True)
class Packed:
    """Rows of pieces. `pieces` is int64 [pieces, 3]: document, first token, one past the last; `row_starts` int64
    [rows + 1] says which pieces a row holds."""

    context: int
    pieces: NDArray[np.int64]
    row_starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row_starts) - 1

    @property
    def tokens(self) -> int:
        """Tokens in all rows, without padding."""
        return int((self.pieces[:, 2] - self.pieces[:, 1]).sum())

    @property
    def filled(self) -> float:
        """Share of the rows' places that hold tokens."""
        return self.tokens / (len(self) * self.context) if len(self) else 0.0


def pack(lengths: Sequence[int] | NDArray[np.int64], context: int) -> Packed:
    """Lay documents of these many tokens into rows of `context`, by best fit, the longest piece first.

    Every token stands in exactly one row; a document is cut only where it is longer than a row. lengths: [n_documents],
    context: of a row; both in tokens.
    """
    whole, rests = [], []
    for document, length in enumerate(lengths):
        full = int(length) // context
        whole += [[(document, place * context, (place + 1) * context)] for place in range(full)]
        if rest := int(length) - full * context:
            rests.append((rest, document, full * context))
    rests.sort(key=lambda piece: (-piece[0], piece[1]))
    rows: list[list[tuple[int, int, int]]] = []
    by_room: list[list[int]] = [[] for _ in range(context + 1)]
    # Bit n says that some row has room for n tokens: the smallest room that suffices is one bit away.
    rooms = 0
    for length, document, start in rests:
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms &= ~(1 << room)
        else:
            room, row = context, len(rows)
            rows.append([])
        rows[row].append((document, start, start + length))
        if left := room - length:
            by_room[left].append(row)
            rooms |= 1 << left
    return _packed(context, [*whole, *rows])


def one_by_one(lengths: Sequence[int] | NDArray[np.int64], context: int) -> Packed:
    """A row for each document's piece of at most `context` tokens: what is trained on without packing.

    lengths: [n_documents], in tokens.
    """
    rows = [
        [(document, start, min(start + context, int(length)))]
        for document, length in enumerate(lengths)
        for start in range(0, int(length), context)
    ]
    return _packed(context, rows)


def _packed(context: int, rows: list[list[tuple[int, int, int]]]) -> Packed:
    pieces = np.array([piece for row in rows for piece in row], np.int64).reshape(-1, 3)
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return Packed(context, pieces, starts)


def row(
    packed: Packed, number: int, tokens: NDArray[np.int32], offsets: NDArray[np.int64], length: int, pad: int
) -> dict[str, NDArray[np.int64]]:
    """One row as a model takes it, each int64 [length]: input_ids, position_ids, labels.

    tokens: all documents' tokens one after the other; offsets: int64 [documents + 1], where each begins. Padding is a
    piece of its own at the end, whose labels are ignored.
    """
    ids = np.full(length, pad, np.int64)
    positions = np.zeros(length, np.int64)
    labels = np.full(length, IGNORED, np.int64)
    place = 0
    for document, start, stop in packed.pieces[packed.row_starts[number] : packed.row_starts[number + 1]]:
        size = int(stop - start)
        ids[place : place + size] = tokens[offsets[document] + start : offsets[document] + stop]
        positions[place : place + size] = np.arange(size)
        labels[place + 1 : place + size] = ids[place + 1 : place + size]
        place += size
    positions[place:] = np.arange(length - place)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def used(packed: Packed, number: int) -> int:
    """Tokens in a row, without padding."""
    first, last = packed.row_starts[number], packed.row_starts[number + 1]
    return int((packed.pieces[first:last, 2] - packed.pieces[first:last, 1]).sum())
