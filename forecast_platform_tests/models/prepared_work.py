"""What a prepared process works on in tests: it says who it is, sleeps, or fails."""

from __future__ import annotations

import os
import time
from pathlib import Path

seen: list[str] = []


def main(folder: Path) -> None:
    """Do what the folder's name says, and leave the parent's id and how many folders this process has seen."""
    seen.append(folder.name)
    if folder.name == "sleep":
        time.sleep(60)
    if folder.name == "fail":
        raise ValueError("this one cannot be opened")
    (folder / "found").write_text(f"{os.getppid()} {len(seen)} {os.environ['HOME']}")
