"""What a check of the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass

from forecast_platform.host.severity import Severity

WORD: dict[Severity, str] = {"good": "ok", "warning": "WARN", "error": "FAIL", "critical": "FAIL"}
"""What is printed for it."""


@dataclass(frozen=True)
class Finding:
    """What one check found; `mend` says what to do where it is not good."""

    name: str
    severity: Severity
    found: str
    mend: str = ""
