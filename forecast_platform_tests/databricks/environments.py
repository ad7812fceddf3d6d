"""Environments of their own, made from the package index."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


class NotInstallableError(RuntimeError):
    """Something cannot be had here; the message says why."""


class ConflictError(AssertionError):
    """What is asked for does not fit together, wherever it is asked for."""


def install(folder: Path, requirements: Sequence[str], constraints: Sequence[str] = (), seconds: float = 300) -> Path:
    """Make an environment in the folder; returns its Python. Raises NotInstallableError with the installer's words, and
    ConflictError where the requirements and constraints contradict each other."""
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    python = folder / "bin" / "python"
    get = [uv, "pip", "install", "-q", "--python", str(python)] if uv else [str(python), "-m", "pip", "install", "-q"]
    bounds = folder.with_name(f"{folder.name}-constraints.txt")
    bounds.write_text("\n".join(constraints))
    for command in ([*make, str(folder)], [*get, "-c", str(bounds), *requirements]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise NotInstallableError(f"{requirements[0]} was not installed within {seconds:.0f} s") from error
        if re.search("ResolutionImpossible|conflicting dependencies|No solution found", done.stderr):
            raise ConflictError(done.stderr.strip()[-2000:])
        if done.returncode:
            raise NotInstallableError(f"{requirements[0]} cannot be installed here: {done.stderr.strip()[-300:]}")
    return python
