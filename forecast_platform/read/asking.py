"""What a caller names: dates in any form, times with a zone, models as the command line takes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import numpy as np

from forecast_platform.settings import SettingsError
from forecast_platform.settings.parts import did_you_mean

Date = dt.date | str | np.datetime64
"""A day: a date (a datetime's own), a text such as "2018-03-01", or a numpy or pandas time."""

_FORMS = 'a text such as "2018-03-01", a datetime.date or a numpy.datetime64'


def as_day(value: Any, what: str) -> dt.date:
    """The day that a caller means. Raises ValueError with the name of the argument, `what`, and what is taken."""
    if isinstance(value, np.datetime64):
        value = None if np.isnat(value) else value.astype("datetime64[D]").item()
    if isinstance(value, str):
        return _from_text(value.strip(), what)
    # pandas' NaT is a datetime that equals nothing, itself included.
    if isinstance(value, dt.datetime) and value == value:
        return value.date()
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    raise ValueError(f"{what} = {value!r}: a date is {_FORMS}")


def _from_text(text: str, what: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return dt.datetime.fromisoformat(text).date()
    except ValueError:
        raise ValueError(f"{what} = {text!r}: a date is {_FORMS}") from None


def as_range(start: Date | None, end: Date | None) -> tuple[dt.date, dt.date] | None:
    """start..end, both included: one day where only `start` is given, from the first where only `end` is, and None
    where neither is. Raises ValueError."""
    if start is None and end is None:
        return None
    first = as_day(start, "start") if start is not None else dt.date(1900, 1, 1)
    last = as_day(end, "end") if end is not None else first
    if last < first:
        raise ValueError(f"end = {last} lies before start = {first}")
    return first, last


def as_time(value: Any, what: str) -> dt.datetime:
    """A moment with its zone. Raises ValueError where it is none, or names no zone."""
    found = value
    if isinstance(value, str):
        try:
            found = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            found = None
    if not isinstance(found, dt.datetime) or found != found:
        example = '"2026-11-25T08:05:00+00:00"'
        raise ValueError(f"{what} = {value!r}: a moment with its time zone, such as {example} or a datetime with one")
    if found.tzinfo is None:
        raise ValueError(f"{what} = {value}: name its time zone, for example datetime.now(timezone.utc)")
    return found


def model_named(name: Any, configured: Iterable[str], stored: Iterable[str], series: str) -> str:
    """The model that a caller means, by any case: a configured one, or one with forecasts of the series in the tables.

    Raises SettingsError with the nearest name.
    """
    known = list(dict.fromkeys([*configured, *stored]))
    for one in known:
        if isinstance(name, str) and one.lower() == name.lower():
            return one
    raise SettingsError(
        f"model {name!r} is not configured and has no forecast of {series}{did_you_mean(str(name), known)}"
    )
