"""Texts that are kept in files and read one by one: a corpus may be larger than memory."""

from __future__ import annotations

import json
import mmap
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


def encoded(text: str) -> bytes:
    """A text as its line of JSON."""
    return (json.dumps({"text": text}, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


class Texts(Sequence[str]):
    """Texts in mapped files, a line of JSON each. In memory are their places alone: int64 [texts, 3], of each the
    file, the line's first byte and one past its last."""

    def __init__(self, files: Sequence[mmap.mmap], places: NDArray[np.int64]) -> None:
        self._files, self._places = tuple(files), places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Texts: ...
    def __getitem__(self, place: int | slice) -> str | Texts:
        if isinstance(place, slice):
            return Texts(self._files, self._places[place])
        return str(json.loads(self._line(place).decode("utf-8", "surrogatepass"))["text"])

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _line(self, place: int) -> bytes:
        file, start, stop = self._places[place]
        return self._files[file][start:stop]

    def lines(self) -> Iterator[bytes]:
        """The lines of JSON, as they stand in the files."""
        return (self._line(place) for place in range(len(self)))

    def taken(self, order: NDArray[np.int64]) -> Texts:
        """The texts at these places, int64 [n], in their order."""
        return Texts(self._files, self._places[order])

    def joined(self, other: Texts) -> Texts:
        """These texts, then the others."""
        places = other._places.copy()
        places[:, 0] += len(self._files)
        return Texts((*self._files, *other._files), np.concatenate([self._places, places]))


class Spool:
    """Takes texts in, and keeps them in a file without a name: it is gone with the process, however that ends."""

    def __init__(self, folder: Path | None = None) -> None:
        self._stream: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed when its texts are given out
        self._ends = array("q", [0])

    def add(self, text: str) -> None:
        """Take a text in. Raises OSError where the disk is full."""
        self._ends.append(self._ends[-1] + self._stream.write(encoded(text)))

    def texts(self) -> Texts:
        """What was taken in; nothing can be added afterwards."""
        self._stream.flush()
        found = mapped(self._stream, np.frombuffer(self._ends, np.int64))
        self._stream.close()
        return found


def mapped(stream: Any, ends: NDArray[np.int64]) -> Texts:
    """The lines of an open file: `ends` is int64 [lines + 1], 0 first, then where each line ends."""
    places = np.zeros((len(ends) - 1, 3), np.int64)
    places[:, 1], places[:, 2] = ends[:-1], ends[1:]
    files = [mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)] if len(places) else []
    return Texts(files, places)


def shuffled(texts: Sequence[str], seed: int) -> Sequence[str]:
    """The texts in an order that the seed alone decides."""
    order = np.random.default_rng(seed).permutation(len(texts))
    return texts.taken(order) if isinstance(texts, Texts) else [texts[place] for place in order]


def joined(one: Sequence[str], other: Sequence[str]) -> Sequence[str]:
    """Both, one after the other."""
    if isinstance(one, Texts) and isinstance(other, Texts):
        return one.joined(other)
    return one if not len(other) else [*one, *other]
