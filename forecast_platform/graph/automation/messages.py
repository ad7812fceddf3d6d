"""A problem, and the message about it that is sent to people."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from forecast_platform.host.severity import Severity
from forecast_platform.host.times import in_zone


@dataclass(frozen=True)
class Problem:
    """Something an operator must know of. `key` is the same for as long as it is the same problem."""

    key: str
    what: str
    since: str
    affected: str
    cause: str
    mend: str
    severity: Severity = "error"
    link: str = ""
    because: tuple[str, ...] = ()
    """Keys of the problems that explain this one: while they are open it is not told by itself."""

    def text(self) -> str:
        """The message, a line for each thing it says."""
        lines = [self.what, f"since: {self.since}", f"affected: {self.affected}", f"likely cause: {self.cause}"]
        lines.append(f"mend: {self.mend}")
        return "\n".join(lines + ([f"see: {self.link}"] if self.link else []))


@dataclass(frozen=True)
class Message:
    """What a notifier sends: a problem that has come up, or one that is over."""

    problem: Problem
    resolved: bool
    at: str
    """Since when, as text in ISO 8601."""
    zone: str = "UTC"
    """In which people read it."""

    @property
    def title(self) -> str:
        """One line."""
        first = self.problem.what.splitlines()[0]
        return f"RESOLVED: {first}" if self.resolved else f"{self.problem.severity.upper()}: {first}"

    def text(self) -> str:
        """All of it."""
        if self.resolved:
            over = in_zone(dt.datetime.fromisoformat(self.at), self.zone)
            return f"over since: {over}\nbegan: {self.problem.since}\naffected: {self.problem.affected}"
        return self.problem.text()
