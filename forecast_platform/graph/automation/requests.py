"""What automation asks for: one run over exact partitions, named by the data it is over, and what became of it."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forecast_platform.graph.keys import JOBS, Keys
from forecast_platform.graph.partitions import range_tags
from forecast_platform.work.platform import VERSION_TAG

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRequest

Step = Literal["ingest", "train", "forecast", "score"]

STEP_TAG = "forecast_platform/step"
DATA_TAG = "forecast_platform/data"
SPAN_TAG = "forecast_platform/span"
SERIES_TAG = "forecast_platform/series"
MODELS_TAG = "forecast_platform/models"

_KEPT_DAYS = 30
"""Days of runs that are looked back on: longer than any date is caught up by default, or any late feed lasts."""


@dataclass(frozen=True)
class Request:
    """Partitions first..last of `series` (contiguous in their `group`'s order), over the data that `data` names.

    models: the models asked for; empty for all of them, and where the step has none. actuals: whether a forecast run
    brings the actuals up to date, too; one version's does.
    """

    step: Step
    first: dt.date
    last: dt.date
    series: tuple[str, ...]
    data: str
    version: str = ""
    models: tuple[str, ...] = ()
    actuals: bool = False
    group: str = ""

    @property
    def job(self) -> str:
        """The job that carries it out."""
        return Keys(self.group).job(self.step)

    @property
    def key(self) -> str:
        """Equal for equal requests over equal data: what a run key begins with."""
        parts = [self.step, f"{self.first}..{self.last}", "+".join(self.series), self.version, "+".join(self.models)]
        return "/".join([part for part in parts if part] + [self.data])

    def tags(self) -> dict[str, str]:
        """Run tags: the partitions, the version, and what `attempts_of` finds it by.

        Raises ValueError where the range holds no partition.
        """
        return {
            **range_tags(self.first, self.last, self.series),
            **({VERSION_TAG: self.version} if self.version else {}),
            STEP_TAG: self.step,
            DATA_TAG: self.data,
            SPAN_TAG: f"{self.first}..{self.last}",
            SERIES_TAG: "+".join(self.series),
            **({MODELS_TAG: "+".join(self.models)} if self.models else {}),
        }


@dataclass(frozen=True)
class Attempt:
    """A run of a request: what it covers, and what became of it ("open", "success" or "failure")."""

    run_id: str
    step: str
    first: dt.date
    last: dt.date
    series: tuple[str, ...]
    data: str
    version: str
    models: tuple[str, ...]
    status: str
    ended: dt.datetime | None = None

    def covers(self, request: Request) -> bool:
        """Whether everything `request` asks for is in this run, over the same data."""
        return (
            (self.step, self.data, self.version) == (request.step, request.data, request.version)
            and self.first <= request.first
            and request.last <= self.last
            and set(request.series) <= set(self.series)
            and (not self.models or (bool(request.models) and set(request.models) <= set(self.models)))
        )


@dataclass(frozen=True)
class Standing:
    """Where a request stands: "new", "open", "done", "waiting" (to be tried again at `retry_at`) or "given up"."""

    state: str
    tried: int = 0
    retry_at: dt.datetime | None = None
    run_id: str | None = None


def standing(
    request: Request,
    attempts: Sequence[Attempt],
    now: dt.datetime,
    *,
    most: int,
    wait: dt.timedelta,
    missing: bool = False,
) -> Standing:
    """Judge `request` by the runs that cover it: at most `most` of them, `wait` after a first failure, doubled each
    time. `missing`: the tables lack what it makes, so that a run which succeeded is not the end of it (its rows were
    taken away since)."""
    mine = [attempt for attempt in attempts if attempt.covers(request)]
    running = [attempt for attempt in mine if attempt.status == "open"]
    if running:
        return Standing("open", len(mine), run_id=running[-1].run_id)
    good = [attempt for attempt in mine if attempt.status == "success"]
    if good and not missing:
        return Standing("done", len(mine), run_id=good[-1].run_id)
    if not mine:
        return Standing("new")
    newest = max(mine, key=lambda attempt: attempt.ended or dt.datetime.min.replace(tzinfo=dt.timezone.utc))
    if len(mine) >= most:
        return Standing("given up", len(mine), run_id=newest.run_id)
    retry_at = (newest.ended or now) + wait * 2 ** (len(mine) - 1)
    # One that ended later than now did so before the clock was set back: when is not known.
    if newest.status == "failure" and now < retry_at and not _later(newest.ended, now):
        return Standing("waiting", len(mine), retry_at, newest.run_id)
    return Standing("new", len(mine), run_id=newest.run_id)


def _later(ended: dt.datetime | None, now: dt.datetime) -> bool:
    return ended is not None and ended - now > CLAIMED


def attempts_of(instance: DagsterInstance, now: dt.datetime) -> list[Attempt]:
    """The runs of the last month that automation asked for, oldest first."""
    from dagster import RunsFilter

    since = now - dt.timedelta(days=_KEPT_DAYS)
    steps = list(JOBS)
    records = instance.get_run_records(RunsFilter(tags={STEP_TAG: steps}, created_after=since), ascending=True)
    return list(_attempts(records))


def _attempts(records: Sequence[object]) -> Iterator[Attempt]:
    for record in records:
        run = record.dagster_run  # type: ignore[attr-defined]
        tags: Mapping[str, str] = run.tags
        first, _, last = tags[SPAN_TAG].partition("..")
        ended = record.end_time  # type: ignore[attr-defined]
        yield Attempt(
            run_id=run.run_id,
            step=tags[STEP_TAG],
            first=dt.date.fromisoformat(first),
            last=dt.date.fromisoformat(last),
            series=tuple(tags[SERIES_TAG].split("+")),
            data=tags[DATA_TAG],
            version=tags.get(VERSION_TAG, ""),
            models=tuple(tags[MODELS_TAG].split("+")) if MODELS_TAG in tags else (),
            status="success" if run.is_success else "failure" if run.is_finished else "open",
            ended=None if ended is None else dt.datetime.fromtimestamp(ended, dt.timezone.utc),
        )


CLAIMED = dt.timedelta(minutes=1)
"""How long a request that one asker makes is left to it: by then its run is in Dagster's records."""


@dataclass
class Claims:
    """What was asked for in this process moments ago, and by which schedule or sensor.

    Two of them that look at the same time see no run of the other, and would both start one.
    """

    _made: dict[tuple[str, int], tuple[str, dt.datetime]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(
        self, requests: Iterable[tuple[Request, int]], by: str, now: dt.datetime
    ) -> tuple[list[tuple[Request, int]], list[str]]:
        """The requests that no other asker than `by` has just made, which are its own now; and of the others, who."""
        taken: list[tuple[Request, int]] = []
        others: list[str] = []
        with self._lock:
            # Either way: what was claimed before the clock was set back is as old as what it was set back by.
            self._made = {key: made for key, made in self._made.items() if abs(now - made[1]) < CLAIMED}
            for request, tried in requests:
                owner, _ = self._made.get((request.key, tried), (by, now))
                if owner == by:
                    self._made[request.key, tried] = (by, now)
                    taken.append((request, tried))
                else:
                    others.append(f"{request.step} {request.first} to {request.last} was just requested by {owner}")
        return taken, others


def run_request(request: Request, tried: int, models: Sequence[str]) -> RunRequest:
    """The run request, with a run key that no other data and no other attempt has."""
    from dagster import RunRequest

    attempt = f"/attempt {tried + 1}" if tried else ""
    return RunRequest(
        run_key=request.key + attempt,
        job_name=request.job,
        tags=request.tags(),
        asset_selection=Keys(request.group).of_job(request.step, request.models or models, actuals=request.actuals),
    )


def neighbours(names: Sequence[str], chosen: Iterable[str]) -> list[tuple[str, ...]]:
    """`chosen` as runs of neighbours in the order `names` of a group: what one range of partitions can name."""
    found: list[tuple[str, ...]] = []
    wanted = set(chosen)
    previous = False
    for name in names:
        if name in wanted:
            found = [*found[:-1], (*found[-1], name)] if previous else [*found, (name,)]
        previous = name in wanted
    return found


def short_hash(*parts: str) -> str:
    """Sixteen hex digits of the parts, for run keys."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()
