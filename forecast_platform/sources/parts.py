"""The files of one thing (a series, the macro columns, the weather) read, checked and joined where they overlap."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.settings.landing import Found
from forecast_platform.sources.base import LISTED, Rejection
from forecast_platform.sources.files import FileProblem, content_of, table_of
from forecast_platform.sources.formats.sheet import Kind, Meaning, RawTable

if TYPE_CHECKING:
    import pandas as pd

Check = Callable[[RawTable], "tuple[pd.DataFrame | None, list[Rejection]]"]

_BINARY = (".parquet", ".xls", ".xlsx")

FILE, ROW = "_file", "_row"
"""Columns that a joined frame carries beside its own: where each row came from."""


@dataclass
class Parts:
    """What the files of one thing gave.

    frame: their rows joined, ascending, with FILE and ROW; None where none was accepted. warnings: what was left out.
    notes: what else their readers say of them, for who looks at a file.
    """

    frame: pd.DataFrame | None = None
    rejections: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    formats: dict[str, str] = field(default_factory=dict)
    """File -> what it was recognised as."""
    units: set[str] = field(default_factory=set)


def load(
    found: Sequence[Found],
    folder: str,
    kind: Kind,
    check: Check,
    meaning: Callable[[Found], Meaning],
    facts: Hashable = None,
    settle_seconds: float = 0.0,
) -> Parts:
    """Read and check every file of `found` (in `folder` of the landing folder: 'market/' or ''), and join them.

    facts: what `check` depends on beside the file. settle_seconds: how long a text file whose last line has no end must
    have stood still to be read; until then its rejection is `held`.
    """
    parts = Parts()
    frames: list[pd.DataFrame] = []
    for one in found:
        if len(one.whole) > 1:
            names = " and ".join(f"{folder}{path.name}" for path in one.whole)
            reason = f"there is {names}: ambiguous, remove one"
            parts.rejections.append(Rejection(f"{folder}{one.whole[0].name}", None, reason))
            continue
        for path in one.paths:
            frame = _read(parts, path, f"{folder}{path.name}", kind, check, meaning(one), facts, settle_seconds)
            if frame is not None:
                frames.append(frame)
    if frames and not (kind == "market" and parts.rejections):
        keys = ["date", "region"] if kind == "weather" else ["date"]
        parts.frame = _joined(frames, keys, parts.rejections)
    return parts


_last: dict[Path, tuple[Hashable, RawTable, pd.DataFrame | None, list[Rejection]]] = {}
"""By file: of what bytes and facts its last check in this process was, and what came of it. A command that ingests
reads the source twice, once to see what is new; a code server does so every minute."""


class _StillWritten(FileProblem):
    """The file may be whole in some seconds."""


def seconds_held(path: Path, content: bytes, settle_seconds: float) -> float:
    """Seconds until a text file of this content is read: 0 where its last line ends, or it has stood still long enough.

    path: what `content` was just read from. A file's clock may be ahead of ours.
    """
    if path.suffix.lower() in _BINARY or content.endswith((b"\n", b"\r")):
        return 0.0
    age = time.time() - path.stat().st_mtime
    return settle_seconds - age if abs(age) < settle_seconds else 0.0


def _checked(
    path: Path, file: str, kind: Kind, check: Check, meaning: Meaning, facts: Hashable, settle_seconds: float
) -> tuple[RawTable, pd.DataFrame | None, list[Rejection]]:
    """The file's table and what `check` makes of it; content is parsed once. Raises FileProblem."""
    content = content_of(path)
    if wait := seconds_held(path, content, settle_seconds):
        raise _StillWritten(
            f"still being written: its last line has no end, and it changed {max(0.0, settle_seconds - wait):.0f} s "
            f"ago; run again in {math.ceil(wait)} s, when it is read as it stands"
        )
    known = (file, kind, hashlib.blake2b(content, digest_size=16).digest(), repr(meaning), facts)
    kept = _last.get(path)
    if kept is None or kept[0] != known:
        table = table_of(content, path.suffix.lower(), file, kind, meaning)
        kept = (known, table, *check(table))
        _last[path] = kept
    _, table, frame, rejections = kept
    return table, None if frame is None else frame.copy(), list(rejections)


def _read(
    parts: Parts,
    path: Path,
    file: str,
    kind: Kind,
    check: Check,
    meaning: Meaning,
    facts: Hashable,
    settle_seconds: float,
) -> pd.DataFrame | None:
    try:
        table, frame, rejections = _checked(path, file, kind, check, meaning, facts, settle_seconds)
    except FileProblem as problem:
        held = isinstance(problem, _StillWritten)
        parts.rejections.append(Rejection(file, problem.row, str(problem), held=held))
        return None
    parts.rejections += rejections
    parts.formats[file] = table.format
    if table.unit:
        parts.units.add(table.unit)
    parts.notes += [note for note in table.notes if not note.startswith("row ")]
    if frame is None:
        return None
    left_out = list(table.left_out)
    # No set difference of NumPy's: 2.4 hashes both, which of two million rows takes longer than reading them.
    read = np.isin(table.rows, frame.index.to_numpy(), assume_unique=True)
    ahead = "dated tomorrow: its day has not begun in the platform's zone"
    left_out += [(row, ahead) for row in sorted(table.rows[~read].tolist())]
    parts.warnings += [f"{file}: {text}" for text in said(left_out)]
    parts.warnings += [f"{file}: {note}" for note in table.notes if note.startswith("row ")]
    return _placed(frame, file)


def _placed(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    placed = frame.reset_index(drop=True)
    placed[FILE], placed[ROW] = file, frame.index.to_numpy()
    return placed


def said(left_out: Sequence[tuple[int | None, str]]) -> list[str]:
    """What was left out: each row, or the first of many with the same reason and their number."""
    many = Counter(_kind_of(reason) for _, reason in left_out)
    lines, told = [], set()
    for row, reason in left_out:
        kind = _kind_of(reason)
        if many[kind] <= 3:
            lines.append(f"left out: row {row}: {reason}")
        elif kind not in told:
            told.add(kind)
            lines.append(f"left out: {many[kind]:,} rows, the first is row {row}: {reason}")
    return lines


def _kind_of(reason: str) -> str:
    return "".join(letter for letter in reason if not letter.isdigit())


def _joined(frames: list[pd.DataFrame], keys: list[str], rejections: list[Rejection]) -> pd.DataFrame | None:
    """The rows of all frames, one a key; a value that two files have must be the same (volumes are revised: the first
    one counts)."""

    if len(frames) == 1:
        return frames[0]
    columns = [name for frame in frames for name in frame.columns if name not in (FILE, ROW, *keys)]
    joined = frames[0].set_index(keys)
    found: list[Rejection] = []
    for frame in frames[1:]:
        other = frame.set_index(keys)
        shared = joined.index.intersection(other.index)
        for name in dict.fromkeys(columns):
            if name == "volume" or name not in joined or name not in other:
                continue
            one, two = joined.loc[shared, name], other.loc[shared, name]
            differ = one.notna() & two.notna() & (np.abs(one - two) > 1e-9 * np.maximum(np.abs(one), np.abs(two)))
            for key in shared[differ.to_numpy()]:
                day = key[0] if isinstance(key, tuple) else key
                reason = (
                    f"{name} on {day.date()} is {two[key]:g}, but {one[key]:g} in {joined.loc[key, FILE]}, row "
                    f"{joined.loc[key, ROW]}: overlapping files must agree; remove the one that is wrong"
                )
                found.append(Rejection(str(other.loc[key, FILE]), int(other.loc[key, ROW]), reason))
        joined = joined.combine_first(other)
    if found:
        rejections += found[:LISTED]
        if len(found) > LISTED:
            reason = f"and {len(found) - LISTED:,} more values that differ ({len(found):,} in all)"
            rejections.append(Rejection(found[0].file, None, reason))
        return None
    order = list(dict.fromkeys([*keys, *columns, FILE, ROW]))
    whole: pd.DataFrame = joined.sort_index().reset_index()[order]
    return whole
