"""Cleaning of documents: white space, length, exact and near duplicates.

Near duplicates by MinHash over shingles of five words (Broder 1997), found by banding (Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, 3.4): the estimate's standard deviation at a similarity of .8 is .035.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forecast_platform.language.errors import LanguageError

SHORTEST, LONGEST = 100, 50_000
"""Characters of a document after its white space is collapsed; what is shorter or longer is dropped and counted."""
SIMILAR = 0.8
"""Jaccard similarity of shingles from which a document counts as a copy of an earlier one."""
SHINGLE = 5
_PERMUTATIONS, _BANDS = 128, 16
_LOOKED_AT = 64
"""Earlier documents of a bucket that one is compared with, newest first: boilerplate must not cost a square."""

_FACTORS = np.random.default_rng(20_260_101).integers(0, 2**63, (2, _PERMUTATIONS), dtype=np.uint64) * np.uint64(2)
_MULTIPLY, _ADD = _FACTORS[0] | np.uint64(1), _FACTORS[1] | np.uint64(1)


def normalised(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def digest(text: str) -> str:
    """SHA-256 of a cleaned text, hexadecimal: a document's name in lists of what was trained on."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def signature(text: str) -> NDArray[np.uint32]:
    """MinHash signature of a text's five-word shingles: uint32 [128], the same on every machine."""
    words = np.fromiter((zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in text.lower().split()), np.uint64)
    size = min(SHINGLE, len(words))
    if size == 0:
        return np.full(_PERMUTATIONS, 2**32 - 1, np.uint32)
    shingles = np.zeros(len(words) - size + 1, np.uint64)
    with np.errstate(over="ignore"):
        for place in range(size):
            shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + words[place : place + len(shingles)]
            shingles ^= shingles >> np.uint64(29)
        shingles = np.unique(shingles)
        lowest = np.full(_PERMUTATIONS, 2**64 - 1, np.uint64)
        for part in np.array_split(shingles, max(1, len(shingles) // 256)):
            lowest = np.minimum(lowest, (part[None, :] * _MULTIPLY[:, None] + _ADD[:, None]).min(axis=1))
    return (lowest >> np.uint64(32)).astype(np.uint32)


def similarity(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Estimate, 0 to 1, of the Jaccard similarity of two texts' shingles, from their signatures, uint32 [128] each: the
    share of minima that agree (Broder 1997)."""
    return float((one == other).mean())


@dataclass
class Counts:
    """What became of a source's rows; they add up to `rows`."""

    rows: int = 0
    nulls: int = 0
    too_short: int = 0
    too_long: int = 0
    exact_duplicates: int = 0
    near_duplicates: int = 0
    kept: int = 0


class Near:
    """Documents that were kept, found again by a band of their signatures that another has too.

    A table of open addresses (Knuth, The Art of Computer Programming 3, 6.4) in plain arrays, and the signatures in a
    file without a name: some 700 bytes of memory a document, where a dictionary of each band takes 4,000.
    """

    def __init__(self) -> None:
        self._signatures = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - gone with this object
        self._documents = 0
        self._mask = (1 << 10) - 1
        self._keys, self._newest = _empty(self._mask)
        # Of each document and band the document before it in its bucket, counted from 1; 0 is none.
        self._before = array("i")

    def resembles(self, text: str) -> bool:
        """Whether an earlier document that was kept is nearly this one; where not, this one is kept from now on."""
        mine = signature(text)
        keys = _keys(mine)
        slots = [self._slot(key) for key in keys]
        candidates: set[int] = set()
        for band, slot in enumerate(slots):
            number = self._newest[slot]
            for _ in range(_LOOKED_AT):
                if number == 0:
                    break
                candidates.add(number)
                number = self._before[(number - 1) * _BANDS + band]
        if any(similarity(mine, self._signature(number)) >= SIMILAR for number in sorted(candidates)):
            return True
        self._keep(mine, keys)
        return False

    def _keep(self, mine: NDArray[np.uint32], keys: list[int]) -> None:
        self._documents += 1
        self._signatures.seek(0, os.SEEK_END)
        self._signatures.write(mine.tobytes())
        if 2 * self._documents * _BANDS > self._mask:
            self._grow()
        for key in keys:
            slot = self._slot(key)
            self._before.append(self._newest[slot])
            self._keys[slot], self._newest[slot] = key, self._documents

    def _slot(self, key: int) -> int:
        """Where a key is, or is to be put."""
        keys, mask = self._keys, self._mask
        slot = key * 0x9E3779B97F4A7C15 >> 20 & mask
        while keys[slot] not in (0, key):
            slot = slot + 1 & mask
        return slot

    def _grow(self) -> None:
        keys, newest = self._keys, self._newest
        self._mask = self._mask * 2 + 1
        self._keys, self._newest = _empty(self._mask)
        for key, number in zip(keys, newest, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._newest[slot] = key, number

    def _signature(self, number: int) -> NDArray[np.uint32]:
        size = 4 * _PERMUTATIONS
        self._signatures.seek((number - 1) * size)
        return np.frombuffer(self._signatures.read(size), np.uint32)


def _keys(found: NDArray[np.uint32]) -> list[int]:
    """Of each band of a signature a number of 64 bits; 0, which stands for a free place, is none."""
    whole, size = found.tobytes(), 4 * _PERMUTATIONS // _BANDS
    parts = (whole[band * size : (band + 1) * size] + bytes([band]) for band in range(_BANDS))
    return [int.from_bytes(hashlib.blake2b(part, digest_size=8).digest(), "little") or 1 for part in parts]


def _empty(mask: int) -> tuple[array[int], array[int]]:
    return array("Q", bytes(8 * (mask + 1))), array("i", bytes(4 * (mask + 1)))


@dataclass
class Cleaner:
    """Cleans sources one after the other, each against all before it: what is held out goes first.

    A text of another source that comes back exactly is refused where the two may not share one (`apart`).
    """

    near: bool = True
    _exact: dict[bytes, str] = field(default_factory=dict)
    _near: Near = field(default_factory=Near)

    def clean(self, texts: Iterable[str], source: str, apart: str | None = None) -> tuple[list[str], Counts]:
        """The texts that stay, in their order, and what became of the others; see `kept`.

        Raises LanguageError as `kept`.
        """
        counts = Counts()
        return list(self.kept(texts, source, counts, apart)), counts

    def kept(self, texts: Iterable[str], source: str, counts: Counts, apart: str | None = None) -> Iterator[str]:
        """The texts that stay, one by one, while `counts` says what became of all. Raises LanguageError.

        apart: the name of an earlier source, none of whose documents may be among these.
        """
        for text in texts:
            counts.rows += 1
            plain = normalised(text)
            if len(plain) < SHORTEST:
                counts.too_short += 1
            elif len(plain) > LONGEST:
                counts.too_long += 1
            elif (key := hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()) in self._exact:
                if self._exact[key] == apart:
                    raise LanguageError(
                        f"{source}, document {counts.rows} ({plain[:40]!r}...): also in {apart}, which is held out: "
                        "take it out of one of the two, or let a share be held out (data.val_file: null)"
                    )
                counts.exact_duplicates += 1
            elif self.near and self._near.resembles(plain):
                counts.near_duplicates += 1
            else:
                self._exact[key] = source
                counts.kept += 1
                yield plain
