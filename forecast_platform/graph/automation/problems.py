"""Problems as messages: what, since when, what is affected, why, and the mend; one message each, and one when over."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.graph.automation.messages import Message, Problem
from forecast_platform.graph.automation.notifiers import Notifier
from forecast_platform.host.files import write_whole
from forecast_platform.host.severity import Severity, worst

if TYPE_CHECKING:
    from collections.abc import Iterator


ALIKE = 5
"""Messages of one kind that are told one by one; of more at a time one message names all."""

_MOST_NAMED = 20


def together(due: Sequence[tuple[str, Message]]) -> list[tuple[list[str], Message]]:
    """Messages by the keys of their problems: those of a kind (a key's first part) in one where they are more than
    ALIKE, so that a feed which brings none of a hundred series is one message."""
    by_kind: dict[tuple[str, bool], list[tuple[str, Message]]] = {}
    for key, message in due:
        by_kind.setdefault((key.split("/")[0], message.resolved), []).append((key, message))
    found: list[tuple[list[str], Message]] = []
    for (kind, _), messages in by_kind.items():
        if len(messages) <= ALIKE:
            found += [([key], message) for key, message in messages]
        else:
            found.append(([key for key, _ in messages], _digest(kind, [message for _, message in messages])))
    return found


def _digest(kind: str, messages: Sequence[Message]) -> Message:
    problems = [message.problem for message in messages]

    def each(texts: Iterable[str], most: int, separator: str) -> str:
        distinct = list(dict.fromkeys(text for text in texts if text))
        more = [f"and {len(distinct) - most} more"] if len(distinct) > most else []
        return separator.join([*distinct[:most], *more])

    firsts = each((f"- {problem.what.splitlines()[0]}" for problem in problems), _MOST_NAMED, "\n")
    common = Problem(
        key=f"{kind}/*",
        what=f"{len(problems)} problems of the kind {kind!r}\n{firsts}",
        since=min(problem.since for problem in problems),
        affected=each((problem.affected for problem in problems), _MOST_NAMED, "; "),
        cause=each((problem.cause for problem in problems), 3, "; "),
        mend=each((problem.mend for problem in problems), 3, "; "),
        severity=worst(problem.severity for problem in problems),
        link=problems[0].link,
    )
    return Message(common, messages[0].resolved, messages[-1].at, messages[0].zone)


@dataclass
class _Entry:
    """A problem in the book: which section found it, whether it is over, and who has been told of what."""

    problem: Problem
    section: str
    opened: str
    resolved: str = ""
    worst: Severity = "good"
    """How bad it has been."""
    worse: str = ""
    """When it became worse than it was; empty where it did not."""
    told: list[str] = field(default_factory=list)
    told_over: list[str] = field(default_factory=list)


class AlertBook:
    """The open problems of a platform, in a file under the warehouse, so that a restart repeats no message.

    Each detector owns a section: what it reports is open, what it no longer reports is over. Messages are delivered
    apart from that, to each notifier until it has taken them.
    """

    def __init__(self, folder: Path, now: Callable[[], dt.datetime], zone: str = "UTC") -> None:
        self.path = folder / "problems.json"
        self._now, self._zone = now, zone

    def report(self, section: str, problems: Iterable[Problem], *, keep: Iterable[str] = ()) -> None:
        """Set what `section` finds: `problems` are open (an open one's text is brought up to date), problems named in
        `keep` stay as they are, and every other one of the section is over."""
        found = {problem.key: problem for problem in problems}
        kept = set(keep)
        with self._open() as entries:
            stamp = _text(self._now())
            for key, entry in entries.items():
                if entry.section == section and not entry.resolved and key not in found and key not in kept:
                    entry.resolved = stamp
            for key, problem in found.items():
                known = entries.get(key)
                if known is None or known.told_over:
                    entries[key] = _Entry(problem, section, stamp, worst=problem.severity)
                else:
                    # One that comes back before anyone was told that it was over is the same problem still; one that
                    # has become worse than it ever was is told again, by its newer text.
                    before = worst((known.worst, known.problem.severity))
                    known.worst = worst((before, problem.severity))
                    if known.worst != before:
                        known.told, known.worse = [], stamp
                    known.problem, known.resolved = replace(problem, since=known.problem.since), ""

    def open_problems(self, section: str | None = None) -> list[Problem]:
        """The problems that are not over, oldest first."""
        entries = self._read().values()
        chosen = [entry for entry in entries if not entry.resolved and section in (None, entry.section)]
        return [entry.problem for entry in sorted(chosen, key=lambda entry: entry.opened)]

    def deliver(self, notifiers: Sequence[tuple[str, Notifier]]) -> list[str]:
        """Send every message that a notifier has not taken yet; returns what failed, which is tried again next time."""
        failures = []
        for name, notifier in notifiers:
            for keys, message in self._due(name):
                refused = False
                try:
                    notifier.send(message)
                # A notifier may fail in any way its library knows; the others must still be told, and it is retried.
                except Exception as error:  # noqa: BLE001
                    refused = getattr(error, "refused", False)
                    about = f", {message.title}" if refused else ""
                    failures.append(f"notifier {name}{about}: {type(error).__name__}: {error}")
                    if not refused:
                        break
                with self._open() as entries:
                    for entry in (entries[key] for key in keys if key in entries):
                        if not refused:
                            (entry.told_over if message.resolved else entry.told).append(name)
                        elif entry.resolved:
                            # One that is never taken must not keep back those behind it, and ends with its problem.
                            entry.told, entry.told_over = [*entry.told, name], [*entry.told_over, name]
        self._forget([name for name, _ in notifiers])
        return failures

    def _due(self, name: str) -> list[tuple[list[str], Message]]:
        """What `name` has to be told, with the keys of the problems that each message is of."""
        due: list[tuple[str, Message]] = []
        entries = self._read()
        for key, entry in sorted(entries.items(), key=lambda item: item[1].opened):
            if name not in entry.told and _explained(entry, entries):
                continue
            # One that was over before it could be told is told all the same: a notifier that was down loses nothing.
            if name not in entry.told:
                due.append((key, Message(entry.problem, False, entry.worse or entry.opened, self._zone)))
            elif entry.resolved and name not in entry.told_over:
                due.append((key, Message(entry.problem, True, entry.resolved, self._zone)))
        return together(due)

    def _forget(self, names: Sequence[str]) -> None:
        """Drop what is over and need not be told to anyone any more."""
        with self._open() as entries:
            for key, entry in list(entries.items()):
                if entry.resolved and not entry.told and entry.problem.because:
                    # What explained it was told; that it is over goes without saying.
                    del entries[key]
                    continue
                waiting = [name for name in names if name not in entry.told or name not in entry.told_over]
                if entry.resolved and not waiting:
                    del entries[key]

    @contextmanager
    def _open(self) -> Iterator[dict[str, _Entry]]:
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock", timeout=30):
            entries = self._read()
            before = _dump(entries)
            yield entries
            after = _dump(entries)
            if after != before:
                write_whole(self.path, after)

    def _read(self) -> dict[str, _Entry]:
        try:
            stored: dict[str, Any] = json.loads(self.path.read_text())
            return {key: _Entry(**{**entry, "problem": _problem(entry["problem"])}) for key, entry in stored.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError):
            # A damaged file must not silence all alerts: set it aside; what is still wrong is found and told again.
            self.path.replace(self.path.with_suffix(".damaged"))
            return {}


def _explained(entry: _Entry, entries: Mapping[str, _Entry]) -> bool:
    """Whether a problem need not be told: all that explains it is open, or it is over with them."""
    causes = [entries[key] for key in entry.problem.because if key in entries]
    if not entry.problem.because:
        return False
    return bool(entry.resolved) or (
        len(causes) == len(entry.problem.because) and not any(one.resolved for one in causes)
    )


def _dump(entries: dict[str, _Entry]) -> str:
    return json.dumps({key: asdict(entry) for key, entry in entries.items()}, indent=1, sort_keys=True)


def _problem(stored: Mapping[str, Any]) -> Problem:
    """A problem from JSON, which has lists for tuples."""
    return Problem(**{**stored, "because": tuple(stored.get("because", ()))})


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.timezone.utc).isoformat(timespec="seconds")
