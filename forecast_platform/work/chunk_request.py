"""What is asked of a run elsewhere and what it answers, as texts that go back and forth."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forecast_platform.work.results import Outcome, ranges_text

CONTEXT = "pipes_context"
PIPES = {CONTEXT: "DAGSTER_PIPES_CONTEXT", "pipes_messages": "DAGSTER_PIPES_MESSAGES"}
"""Parameters that carry Pipes' own bootstrap, and Pipes' names for them."""


@dataclass(frozen=True)
class ChunkRequest:
    """Keys of one series, model and version: forecast dates (`chunk`) or windows to fit (`fit`)."""

    action: str
    series: str
    model: str
    version: str
    dates: tuple[dt.date, ...]

    @property
    def about(self) -> str:
        """What is asked for, as text."""
        what = "windows" if self.action == "fit" else "dates"
        return f"{self.series} {self.model} {self.version}, {len(self.dates)} {what} {ranges_text(self.dates)}"

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON takes it."""
        return {**vars(self), "dates": [day.isoformat() for day in self.dates]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChunkRequest:
        """The request that `to_dict` gave."""
        return cls(**{**values, "dates": tuple(map(dt.date.fromisoformat, values["dates"]))})


@dataclass(frozen=True)
class Reply:
    """What a run said of its keys: why some failed. Which are there is for the tables to say."""

    failed: dict[dt.date, str]
    notes: list[str]
    seconds: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reply:
        """The reply that `reply_of` gave."""
        failed = {dt.date.fromisoformat(day): reason for reason, days in values["failed"].items() for day in days}
        return cls(failed, list(values["notes"]), float(values["seconds"]))


def reply_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON takes it, each reason once."""
    failed: dict[str, list[str]] = {}
    for day, reason in outcome.failed.items():
        failed.setdefault(reason, []).append(day.isoformat())
    return {"failed": failed, "notes": outcome.notes, "seconds": outcome.seconds}


def context_path(folder: str) -> str:
    """Where a run's context is: also what a run is told from others by."""
    return f"{folder}/context.json"


def context_of(parameters: Mapping[str, str]) -> str | None:
    """Where the context of a run with these parameters is; None where it is no run of ours."""
    from dagster_pipes import decode_param

    text = parameters.get(CONTEXT)
    if not text:
        return None
    try:
        return str(decode_param(text)["path"])
    # Whatever somebody else's job keeps under this name.
    except (ValueError, zlib.error, KeyError, TypeError):
        return None
