"""What every part of the grammar is, and a list that may be written as its one item."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a workflow: nothing beside what is named, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def listed(value: Any) -> Any:
    """One text or mapping as a list of it."""
    return [value] if isinstance(value, str | dict) else value


def nearest(name: object, known: Sequence[str]) -> str:
    """`; did you mean X?` where a known name is near, else what is known."""
    plain = {one.casefold(): one for one in reversed(known)}
    found = difflib.get_close_matches(str(name).casefold(), list(plain), 1, 0.6)
    return f"did you mean {plain[found[0]]!r}?" if found else f"known: {', '.join(known)}"
