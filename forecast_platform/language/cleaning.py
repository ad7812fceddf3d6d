"""Cleaning of documents: white space, length, exact and near duplicates.

Near duplicates by MinHash over shingles of five words (Broder 1997), found by banding (Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, 3.4): the estimate's standard deviation at a similarity of .8 is .035.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
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
        for part in np.array_split(shingles, max(1, len(shingles) // 4096)):
            lowest = np.minimum(lowest, (part[None, :] * _MULTIPLY[:, None] + _ADD[:, None]).min(axis=1))
    return (lowest >> np.uint64(32)).astype(np.uint32)


def similarity(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Estimate of the Jaccard similarity of two texts' shingles, from their signatures."""
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


@dataclass
class Cleaner:
    """Cleans sources one after the other, each against all before it: what is held out goes first.

    A text of another source that comes back exactly is refused where the two may not share one (`apart`).
    """

    near: bool = True
    _exact: dict[bytes, str] = field(default_factory=dict)
    _buckets: list[dict[bytes, list[int]]] = field(default_factory=lambda: [{} for _ in range(_BANDS)])
    _signatures: list[NDArray[np.uint32]] = field(default_factory=list)

    def clean(self, texts: Iterable[str], source: str, apart: str | None = None) -> tuple[list[str], Counts]:
        """The texts that stay, in their order, and what became of the others. Raises LanguageError.

        apart: the name of an earlier source, none of whose documents may be among these.
        """
        kept: list[str] = []
        counts = Counts()
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
            elif self.near and self._resembles(plain):
                counts.near_duplicates += 1
            else:
                self._exact[key] = source
                kept.append(plain)
        counts.kept = len(kept)
        return kept, counts

    def _resembles(self, plain: str) -> bool:
        """Whether an earlier document that was kept is nearly this one; where not, this is one from now on."""
        mine = signature(plain)
        bands = [part.tobytes() for part in np.split(mine, _BANDS)]
        candidates = {
            number
            for bucket, band in zip(self._buckets, bands, strict=True)
            for number in bucket.get(band, ())[-_LOOKED_AT:]
        }
        if any(similarity(mine, self._signatures[number]) >= SIMILAR for number in sorted(candidates)):
            return True
        for bucket, band in zip(self._buckets, bands, strict=True):
            bucket.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(mine)
        return False
