"""What every part of the grammar is, and a list that may be written as its one item."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a workflow: nothing beside what is named, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def listed(value: Any) -> Any:
    """One text or mapping as a list of it."""
    return [value] if isinstance(value, str | dict) else value
