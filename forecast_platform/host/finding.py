"""What a look at one thing has found: what `doctor` prints, and what the checks of the assets say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forecast_platform.host.severity import Severity


@dataclass(frozen=True)
class Finding:
    """One verdict on one subject: a part of the installation, a series, or a series and model.

    found: what is there, or what is wrong; mend: what to do where it is not good.
    figures: by name, those that end in _percent in percent, prices in the series' unit, else counts, shares (0 to 1)
    and dates.
    """

    subject: str
    severity: Severity = "good"
    found: str = ""
    mend: str = ""
    figures: Mapping[str, float | int | str] = field(default_factory=dict, hash=False)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.severity == "good"

    @property
    def text(self) -> str:
        """One line for people: what is wrong and what to do; the figures where nothing is."""
        if not self.passed:
            return f"{self.subject}: {self.found}; {self.mend}" if self.mend else f"{self.subject}: {self.found}"
        figures = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in self.figures.items())
        return f"{self.subject}: good" + (f" ({figures})" if figures else "")


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
