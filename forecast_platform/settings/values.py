"""Values of settings that a type alone would take for something else."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

_Path = TypeVar("_Path", Path, Path | None)

EARLIEST = dt.date(1900, 1, 1)

_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/")
_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def folder(value: Any) -> Any:
    """A path as it is given. Raises ValueError for an empty one, and for the address of an object store."""
    text = str(value) if isinstance(value, str | Path) else ""
    if isinstance(value, str) and not value.strip():
        raise ValueError("empty: name a folder or file, or leave the setting out")
    if _ADDRESS.match(text):
        raise ValueError("an address; a path on a disk is meant: tables in an object store are those of Unity Catalog")
    return value


def at_home(value: _Path) -> _Path:
    """A path with ~ spelt out, from the root. Raises ValueError where ~ names an account that there is not."""
    if value is None:
        return value
    try:
        return value.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{value}: no account of this name has a home folder here: spell the folder out") from error


def not_empty(value: str | None) -> str | None:
    """A text as it is given. Raises ValueError for an empty one, which would be taken for unset."""
    if value is not None and not value.strip():
        raise ValueError("empty: name an address, or leave the setting out")
    return value


def time_of_day(value: Any) -> Any:
    """A time of day, given as text or time. Raises ValueError for a number, which would be seconds, and an offset."""
    if isinstance(value, dt.time):
        if value.tzinfo is not None:
            raise ValueError("without an offset: the setting timezone says which zone it is in")
        return value
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("hours and minutes such as 17:30, in the zone that timezone names, without an offset")
    return dt.time.fromisoformat(value.rjust(len("08:00:00") if value.count(":") == 2 else len("08:00"), "0"))


def day(value: Any) -> Any:
    """A date as text or as a date. Raises ValueError for a number, which would be seconds, and before 1900."""
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            raise ValueError("a date such as 2018-01-01")
        value = dt.date.fromisoformat(value)
    if isinstance(value, dt.datetime) or not isinstance(value, dt.date | None):
        raise ValueError("a date such as 2018-01-01")
    if value is not None and value < EARLIEST:
        raise ValueError(f"not before {EARLIEST}")
    return value


def refuse_control_characters(data: Any, name: str = "") -> None:
    """Raise ValueError that names the setting whose text holds a line break or another control character.

    Its value is not repeated: it may be a secret.
    """
    if isinstance(data, str):
        if _CONTROL.search(data):
            raise ValueError(f"{name}: a line break or another control character in it; take it out")
    elif isinstance(data, dict):
        for key, value in data.items():
            refuse_control_characters(str(key), name or "a name")
            refuse_control_characters(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list | tuple):
        for position, value in enumerate(data):
            refuse_control_characters(value, f"{name}.{position}")


def zone(value: str) -> str:
    """A time zone by its IANA name. Raises ValueError where there is none of this name."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("an IANA zone such as America/Los_Angeles or UTC") from error
    return value


def version_tags(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """A version tag, or several, which stand in keys and in folder names. Raises ValueError."""
    for tag in (value,) if isinstance(value, str) else value:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", tag):
            raise ValueError("letters, digits, dots, dashes and underscores, at most 32, such as v1.0")
    return value
