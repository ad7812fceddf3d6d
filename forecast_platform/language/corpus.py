"""The corpus: cleaned documents, split by document, general text mixed in, and what was done to each row."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.host.files import write_whole
from forecast_platform.language.cleaning import Cleaner, Counts, digest
from forecast_platform.language.config import SEED, DataPart
from forecast_platform.language.documents import Documents, from_file
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.texts import Spool, encoded, joined, mapped, shuffled

PARTS = ("train", "replay", "val", "general")
"""Domain documents and general ones that are trained on, and those of each that are held out."""
MANIFEST = "corpus.json"

Tables = Callable[[str, str, "int | None"], Documents]
"""Opens a table by its full name, text column and row limit."""


@dataclass(frozen=True)
class Corpus:
    """Cleaned documents: none is in two parts, exactly or nearly."""

    train: Sequence[str]
    val: Sequence[str]
    replay: Sequence[str]
    general: Sequence[str]
    counts: dict[str, Counts]

    @property
    def mixed(self) -> Sequence[str]:
        """What is trained on: domain and replay documents, shuffled."""
        return shuffled(joined(self.train, self.replay), SEED)

    def in_two_parts(self) -> int:
        """How many documents that are trained on are held out too."""
        held = {digest(text) for part in (self.val, self.general) for text in part}
        return sum(digest(text) in held for part in (self.train, self.replay) for text in part)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the documents of each part, in their order."""
        whole = hashlib.sha256()
        for name in PARTS:
            for text in getattr(self, name):
                whole.update(f"{name} {digest(text)}\n".encode())
        return whole.hexdigest()


def split(texts: Sequence[str], share: float, seed: int = SEED) -> tuple[Sequence[str], Sequence[str]]:
    """The documents to train on and those held out: `share` of them, at least one of each. Whole documents only.

    Raises LanguageError where there are fewer than two.
    """
    if len(texts) < 2:
        raise LanguageError(
            f"{len(texts)} document{'' if len(texts) == 1 else 's'} left after cleaning: at least two are needed, one "
            "to train on and one to hold out"
        )
    order = shuffled(texts, seed)
    held = min(max(1, round(len(order) * share)), len(order) - 1)
    return order[held:], order[:held]


def replay_rows(domain: int, ratio: float, available: int) -> int:
    """How many general documents join `domain` ones, so that they are `ratio` of the whole: n r / (1 - r)."""
    return min(int(domain * ratio / (1 - ratio) + 1e-9), available)


def build(
    data: DataPart, tables: Tables, general: Documents | None, limit: int | None = None, scratch: Path | None = None
) -> Corpus:
    """Read, clean, split and mix the documents that a configuration names. Raises LanguageError.

    general: documents of general text, None where replay is off and forgetting not asked for. scratch: folder of a disk
    with room for all texts, which are not held in memory; the system's own for such files where unset.
    """
    cleaner = Cleaner()
    counts: dict[str, Counts] = {}

    def take(name: str, documents: Documents, apart: str | None = None) -> Sequence[str]:
        spool, counted = Spool(scratch), Counts()
        for text in cleaner.kept(documents, documents.source, counted, apart):
            spool.add(text)
        counted.rows, counted.nulls = documents.rows, documents.nulls
        counts[name] = counted
        return spool.texts()

    held = _held_out(data, tables)
    val: Sequence[str] | None = None if held is None else shuffled(take("val", held), SEED)
    source = _trained_on(data, tables, limit)
    train = take("train", source, None if held is None else held.source)
    if not train:
        raise LanguageError(f"{source.source}: {_told(counts['train'])}: no document to train on is left")
    if val is None:
        train, val = split(train, data.val_ratio)
    elif not val:
        raise LanguageError(
            f"{held.source if held else 'held out'}: {_told(counts['val'])}: no document to measure on is left"
        )
    else:
        train = shuffled(train, SEED)
    replay: Sequence[str] = []
    unseen: Sequence[str] = []
    if general is not None:
        found = take("general", general)
        rest, unseen = split(found, data.val_ratio)
        replay = rest[: replay_rows(len(train), data.replay_ratio, len(rest))]
        if data.replay_ratio and not replay:
            raise LanguageError(f"{general.source}: {_told(counts['general'])}: none to mix in (data.replay_ratio)")
    return Corpus(train, val, replay, unseen, counts)


def _trained_on(data: DataPart, tables: Tables, limit: int | None) -> Documents:
    if data.train_table is not None:
        return tables(data.table(data.train_table), data.text_column, limit)
    if data.train_file is None:
        raise LanguageError("data: neither train_table nor train_file: name one")
    return from_file(Path(data.train_file), data.text_column, limit)


def _held_out(data: DataPart, tables: Tables) -> Documents | None:
    """The documents of a source of their own; None where a share of the others is held out."""
    if data.train_table is not None:
        return None if data.val_table is None else tables(data.table(data.val_table), data.text_column, None)
    return None if data.val_file is None else from_file(Path(data.val_file), data.text_column)


def _told(counts: Counts) -> str:
    parts = [
        f"{value:,} {name.replace('_', ' ')}" for name, value in asdict(counts).items() if value and name != "rows"
    ]
    return f"of {counts.rows:,} rows {', '.join(parts) or 'none is a document'}"


def write_lines(path: Path, texts: Iterable[str]) -> dict[str, Any]:
    """Write a line of JSON a document, whole or not at all; returns what was written: documents, characters, sha256."""
    whole = hashlib.sha256()
    found = {"documents": 0, "characters": 0}

    def lines() -> Iterator[bytes]:
        for text in texts:
            line = encoded(text)
            whole.update(line)
            found["documents"] += 1
            found["characters"] += len(text)
            yield line

    write_whole(path, lines(), 0o644)
    return {**found, "sha256": whole.hexdigest()}


def write(corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Write each part as JSONL, then what they are (corpus.json), last; returns that."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in PARTS:
        texts = getattr(corpus, name)
        if not texts and name in ("replay", "general"):
            (folder / f"{name}.jsonl").unlink(missing_ok=True)
            continue
        files[name] = write_lines(folder / f"{name}.jsonl", texts)
    about = {
        "fingerprint": corpus.fingerprint,
        "seed": SEED,
        "files": files,
        "rows": {name: asdict(counts) for name, counts in corpus.counts.items()},
    }
    write_whole(folder / MANIFEST, json.dumps(about, indent=2) + "\n", 0o644)
    return about


def read(folder: Path) -> Corpus:
    """The corpus that `write` put there, as it was. Raises LanguageError where a file is lacking or was changed."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise LanguageError(f"{folder}: no corpus ({MANIFEST}): prepare it first")
    about = json.loads(manifest.read_text(encoding="utf-8"))
    parts: dict[str, Sequence[str]] = {name: [] for name in PARTS}
    for name, known in about["files"].items():
        path = folder / f"{name}.jsonl"
        parts[name] = _opened(path, known["sha256"])
    return Corpus(**parts, counts={name: Counts(**counts) for name, counts in about["rows"].items()})


def _opened(path: Path, known: str) -> Sequence[str]:
    """The documents of a part, compared with its hash."""
    whole, ends = hashlib.sha256(), array("q", [0])
    try:
        with path.open("rb") as stream:
            for line in stream:
                whole.update(line)
                ends.append(ends[-1] + len(line))
            if whole.hexdigest() == known:
                return mapped(stream, np.frombuffer(ends, np.int64))
    except FileNotFoundError:
        pass
    raise LanguageError(f"{path}: not what {MANIFEST} says was written (its hash differs): prepare it again")
