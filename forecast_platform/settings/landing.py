"""The landing folder's files: which of them are read as which series, and how their columns and dates are named."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from forecast_platform.settings.values import at_home, folder

SUFFIXES = (".csv", ".parquet", ".xls", ".xlsx")
"""Endings of files that are read, in any case."""

_TEXTS = (b"<ticker>,", b"market_and_exchange_names", b"market and exchange names")
"""How a .txt file begins, in lower case, that a vendor publishes under that ending: Stooq in bulk, CFTC."""

DateOrder = Literal["day-first", "month-first"]
DecimalMark = Literal["point", "comma"]

_PART = re.compile(r"(?P<stem>.*\S)\s*\((?P<number>\d+)\)")
_PASSED_OVER = (".lock", ".tmp", ".part", ".partial", ".crdownload", ".swp", ".ini", ".db", "#", "~")
"""Endings of what editors, browsers and file managers leave behind."""


class FileSettings(BaseModel):
    """How columns and places of macro and weather files are called; a series says the same of its own file itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    macro: dict[str, str] = Field(
        default_factory=dict,
        description="Column of a macro file to macro column, such as VIXCLS: vix, DEXBZUS: usd_brl.",
    )
    regions: dict[str, str] = Field(
        default_factory=dict, description="Place or station of a weather file to region, such as VARGINHA: Brazil."
    )
    dates: DateOrder | None = Field(
        default=None, description="Order of macro and weather dates such as 03/04/2024 where no day above 12 proves it."
    )
    decimal: DecimalMark | None = Field(
        default=None,
        description="Mark before the decimals of mapped macro and weather files, where no number proves it.",
    )


@dataclass(frozen=True)
class Found:
    """Files of one stem, in any case: `coffee.csv`, and its parts `coffee (1).csv`, `coffee (2).csv`.

    whole: files without a part's number, more than one of which is ambiguous; parts: by number.
    """

    stem: str
    whole: tuple[Path, ...]
    parts: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, the one without a number first."""
        return (*self.whole, *self.parts)


@dataclass(frozen=True)
class Folder:
    """What lies in one folder: `files` by stem in lower case, and `unread`, names that are read as nothing."""

    files: dict[str, Found] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def look_into(place: Path) -> Folder:
    """The data files of `place`; empty where there is none. Dot files, locks and leftovers are passed over."""
    whole: dict[str, list[Path]] = {}
    parts: dict[str, list[tuple[int, Path]]] = {}
    stems: dict[str, str] = {}
    unread = []
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        name = path.name
        if name.startswith((".", "~$")) or name.lower().endswith(_PASSED_OVER):
            continue
        if path.suffix.lower() not in SUFFIXES and not _vendors_text(path):
            if path.is_file():
                unread.append(name)
            continue
        part = _PART.fullmatch(path.stem)
        stem = part["stem"] if part else path.stem
        stems.setdefault(stem.lower(), stem)
        if part:
            parts.setdefault(stem.lower(), []).append((int(part["number"]), path))
        else:
            whole.setdefault(stem.lower(), []).append(path)
    found = {
        key: Found(stem, tuple(whole.get(key, ())), tuple(path for _, path in sorted(parts.get(key, ()))))
        for key, stem in stems.items()
    }
    return Folder(found, tuple(unread))


def _vendors_text(path: Path) -> bool:
    if path.suffix.lower() != ".txt":
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError:
        return False  # what cannot be opened is named as not read
    return head.removeprefix(b"\xef\xbb\xbf").lstrip(b'"').lower().startswith(_TEXTS)


def series_name(stem: str) -> str | None:
    """The series that a market file is named after; None where the stem makes no name."""
    name = re.sub(r"(?:^|_)(\w)", lambda hit: hit.group(1).upper(), stem)
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and name.lower() != "actuals" else None


def stray_reason(stem: str) -> str:
    """Why a market file belongs to no series, and the mend."""
    return (
        f"{stem!r} makes no series name: rename the file (letters, digits and _, beginning with a letter), or list it "
        f"under `series` with `source: {stem}`"
    )


def unread_reason(name: str) -> str:
    """Why a file of a market folder is not read, and the mend."""
    lower = name.lower()
    if lower.endswith((".gz", ".zip", ".bz2", ".xz", ".7z")):
        return "is not read: unpack it"
    return "is not read: save it as .csv, .parquet, .xls or .xlsx, or move it away"


def landing_series(landing: Any) -> list[dict[str, Any]]:
    """One series a file under market/ of the landing folder, named after it. Raises ValueError where there is none.

    A file whose name makes no series is left to the source, which refuses it and goes on.
    """
    if landing is None:
        raise ValueError("source is landing, but FORECAST_PLATFORM_LANDING is not set: name the landing folder")
    try:
        market = at_home(Path(folder(landing))) / "market"
    except ValueError as error:
        raise ValueError(f"landing: {error}") from error
    found = look_into(market)
    named: dict[str, dict[str, Any]] = {}
    for key, files in found.files.items():
        if name := series_name(files.stem):
            named.setdefault(name.lower(), {"name": name, "source": key if len(files.whole) > 1 else files.stem})
    if not named:
        strays = [f"{files.paths[0].name}: {stray_reason(files.stem)}" for files in found.files.values()]
        strays += [f"{name} {unread_reason(name)}" for name in found.unread]
        rest = f" ({'; '.join(strays)})" if strays else ""
        raise ValueError(f"landing: no .csv or .parquet file in {market}; put one file a series there{rest}")
    return list(named.values())
