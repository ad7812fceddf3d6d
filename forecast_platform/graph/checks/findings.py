"""What is examined by a rule, its findings, and the commands that mend things."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from forecast_platform.forecasting.history import Dates
from forecast_platform.host.finding import Finding
from forecast_platform.host.severity import Severity
from forecast_platform.work.results import ranges_text


@dataclass(frozen=True)
class Target:
    """A series, model and version under examination, and the commands that make it anew."""

    series: str
    model: str
    version: str
    default_version: str

    def __str__(self) -> str:
        return f"{self.series} {self.model} {self.version}"

    def command(self, name: str, days: Iterable[dt.date], *, overwrite: bool = False) -> str:
        """The shell command `name` over the span of `days`."""
        found = sorted(days)
        span = f" --start-date {found[0]} --end-date {found[-1]}" if found else ""
        tag = "" if self.version == self.default_version else f" --model-version-tag {self.version}"
        return (
            f"`forecast-platform {name} --commodity {self.series} --models {self.model}{span}{tag}"
            f"{' --overwrite' if overwrite else ''}`"
        )

    def good(self, **figures: float | int | str) -> Finding:
        """The rule holds."""
        return Finding(str(self), figures=figures)

    def bad(self, problem: str, mend: str, severity: Severity = "error", **figures: float | int | str) -> Finding:
        """The rule is broken."""
        return Finding(str(self), severity, problem, mend, figures)

    def made_anew(self, dates: Dates) -> str:
        """What mends wrong forecasts of `dates`, datetime64[D] [n]."""
        return f"make them again with {self.command('backfill', as_days(dates), overwrite=True)}"


def as_days(dates: Dates) -> list[dt.date]:
    """datetime64[D] as dates."""
    return list(np.asarray(dates, "datetime64[D]").astype(dt.date))


def days_text(dates: Dates) -> str:
    """Dates, datetime64[D] [n], as ranges, at most four of them."""
    return ranges_text(as_days(np.unique(dates)), most=4)
