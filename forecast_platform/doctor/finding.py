"""What a check of the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "WARN", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """What one check found; `mend` says what to do where it is not ok."""

    name: str
    level: Level
    found: str
    mend: str = ""
