"""The four sensors: new data, windows without a model, the day's steps, and alerts. Thin: the decisions are pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from forecast_platform.graph.automation import detect, revisions
from forecast_platform.graph.automation.daily import decide, decide_ingest
from forecast_platform.graph.automation.messages import Problem
from forecast_platform.graph.automation.notifiers import LogNotifier, notifiers_of
from forecast_platform.graph.automation.observe import Observer, rules_of
from forecast_platform.graph.automation.problems import AlertBook
from forecast_platform.graph.automation.requests import attempts_of
from forecast_platform.graph.automation.schedules import answer, crons
from forecast_platform.graph.automation.training import decide_training, training_underway
from forecast_platform.graph.automation.watch import Cursor, look, signature
from forecast_platform.graph.keys import FORECAST, INGEST, SCORE, TRAIN
from forecast_platform.host.times import in_zone
from forecast_platform.settings import SeriesSettings, Settings, SettingsError
from forecast_platform.sources.landing import chain_of

NEW_DATA, MISSING_WINDOWS, DAILY_FORECAST, ALERTS = "new_data", "train_missing_windows", "daily_forecast", "alerts"

HEAD_START = dt.timedelta(minutes=1)
"""What a schedule has before the sensor that makes up for it: else both would request the same run at once."""

_REVISION_INTERVAL = dt.timedelta(hours=1)
"""How often stale forecasts of revised days are counted again: it takes seconds for years of them."""


def build_sensors(settings: Settings, observer: Observer, jobs: Mapping[str, Sequence[Any]]) -> list[SensorDefinition]:
    """All sensors, switched on where the settings say so."""
    status = DefaultSensorStatus.RUNNING if settings.automated else DefaultSensorStatus.STOPPED
    rules = rules_of(settings)
    folder = settings.warehouse / "_alerts"
    book = AlertBook(folder, settings.now, settings.timezone)
    alerting = Alerting(settings, observer, book)

    @sensor(
        name=NEW_DATA,
        jobs=jobs[INGEST],
        minimum_interval_seconds=30,
        default_status=status,
        description=(
            "Watches the source by content: new days materialize their unified_data partitions; revised days are "
            "reported with the command that refreshes what was made from them. A file being written is not read."
        ),
    )
    def new_data(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        now, today = settings.now(), str(settings.today())
        cursor, word = Cursor.load(context.cursor)
        if word:
            context.log.warning(word)
        files = signature(settings)
        seen, unsettled = look(cursor.look, files, now, settings.file_settle_seconds)
        known = replace(cursor, look=seen)
        if unsettled:
            return SensorResult(skip_reason=unsettled, cursor=known.dump())
        if files and (cursor.read, cursor.date) == (seen.signature, today):
            return SensorResult(skip_reason="no file has changed", cursor=known.dump())
        content = observer.content()
        if (content, today) == (cursor.content, cursor.date):
            read = replace(known, read=seen.signature)
            return SensorResult(skip_reason="the files' content is the same", cursor=read.dump())
        reading = observer.read_source(files, content)
        book.report("source", refusals(reading.rejections, now, settings))
        if not reading.changes:
            refused = f"; refused: {'; '.join(reading.rejections)}" if reading.rejections else ""
            done = Cursor(seen, content, today, seen.signature)
            return SensorResult(skip_reason=f"unified_data holds all of the source{refused}", cursor=done.dump())
        for revision in observer.revised.read():
            if revision.series in reading.changes:
                context.log.warning(alerting.revision_text(revision))
        decision = decide_ingest(rules, reading.pending, attempts_of(context.instance, now), now)
        answered = answer(decision, observer, NEW_DATA)
        if isinstance(answered, SkipReason):
            return SensorResult(skip_reason=answered.skip_message, cursor=known.dump())
        return SensorResult(run_requests=answered, cursor=known.dump())

    @sensor(
        name=MISSING_WINDOWS,
        jobs=jobs[TRAIN],
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Trains the newest windows that lack a model of a configured model and series, as soon as the last session "
            "before the window is in unified_data: what the training schedule was too early for, or missed."
        ),
    )
    def train_missing_windows(context: SensorEvaluationContext) -> list[RunRequest] | SkipReason:
        now = settings.now()
        windows = [window for window in observer.windows(settings.today()) if _begun(window.start, now)]
        decision = decide_training(rules, windows, attempts_of(context.instance, now), now)
        return answer(decision, observer, MISSING_WINDOWS)

    def _begun(start: dt.date, now: dt.datetime) -> bool:
        begins = dt.datetime.combine(start, settings.training_time, ZoneInfo(settings.timezone))
        return now >= begins + HEAD_START

    @sensor(
        name=DAILY_FORECAST,
        jobs=[*jobs[INGEST], *jobs[FORECAST], *jobs[SCORE]],
        minimum_interval_seconds=30,
        default_status=status,
        description=(
            "Runs the day from daily_time on: ingest, forecast, score. Waits for late data until the deadline, then "
            "forecasts with what there is within max_staleness_days; fills missing dates; retries what failed."
        ),
    )
    def daily_forecast(context: SensorEvaluationContext) -> list[RunRequest] | SkipReason:
        now, today = settings.now(), settings.today()
        begins = rules.start(today)
        if begins <= now < begins + HEAD_START:
            return SkipReason("the schedule daily starts the day")
        attempts = attempts_of(context.instance, now)
        windows = observer.windows(today)
        underway = {part.group: training_underway(part, windows, attempts, now) for part in rules.parts()}
        state = observer.day_state(now, windows, underway, observer.pending(now))
        decision = decide(rules, state, attempts, now)
        book.report("daily", decision.problems, keep=decision.keep)
        return answer(decision, observer, DAILY_FORECAST)

    @sensor(
        name=ALERTS,
        minimum_interval_seconds=60,
        default_status=status,
        description=(
            "Tells the notifiers of failed runs, missed schedules, failed checks, late data, missing forecasts and "
            "revised history: one message a problem, and one when it is over."
        ),
    )
    def alerts(context: SensorEvaluationContext) -> SkipReason:
        return SkipReason(alerting.look(context))

    return [new_data, train_missing_windows, daily_forecast, alerts]


def refusals(texts: Sequence[str], now: dt.datetime, settings: Settings) -> list[Problem]:
    """What the source refused as problems: one a file, or a series that is held, with the series that it keeps out."""
    by_place: dict[str, list[str]] = {}
    for text in texts:
        by_place.setdefault(text.split(": ", 1)[0].split(", row ")[0], []).append(text)
    found = []
    for place, reasons in by_place.items():
        kept_out = _kept_out(place, settings)
        found.append(
            Problem(
                key=f"source/{place}",
                what=f"the source refused {'; '.join(reasons)}"[:1500],
                since=in_zone(now, settings.timezone),
                affected=f"{', '.join(kept_out)}: new days are not ingested" if kept_out else "no series",
                cause="the file's content, at the row named",
                mend="mend the file and save it again: it is read by itself",
                link=f"{settings.ui_url}/automation",
            )
        )
    return found


def _kept_out(place: str, settings: Settings) -> list[str]:
    """The series that need a file of the source, or that `place` names itself."""
    stem = place.removeprefix("market/").rsplit(".", 1)[0].split(" (")[0].lower()

    def needs(one: SeriesSettings) -> bool:
        if place.startswith("macro"):
            return bool(one.covariates)
        if place.startswith("weather"):
            return one.regions is None or bool(one.regions)
        return place == one.name or stem in (one.stem.lower(), chain_of(one))

    return [one.name for one in settings.series if needs(one)]


@dataclass
class Alerting:
    """What the alerts sensor does at a tick."""

    settings: Settings
    observer: Observer
    book: AlertBook
    _counted: dt.datetime | None = None
    _counted_for: object = None
    _ready: list[revisions.Revision] = field(default_factory=list)
    _stale: list[Problem] = field(default_factory=list)

    def look(self, context: SensorEvaluationContext) -> str:
        """Find problems, tell the notifiers; returns what to say of the tick.

        Raises RuntimeError, after everything that can be told was told, where a detector failed or the notifiers
        cannot be had.
        """
        now = self.settings.now()
        instance, repository = context.instance, context.repository_def
        checks = repository.asset_graph.asset_check_keys if repository is not None else ()
        detectors: dict[str, Callable[[], list[Problem]]] = {
            "runs": lambda: detect.run_problems(instance, self.settings, now),
            "ticks": lambda: detect.tick_problems(instance, self.settings, crons(self.settings), now),
            "checks": lambda: detect.check_problems(
                instance, self.settings, checks, detect.daily_subjects(self.observer.platform)
            ),
            "revisions": lambda: self.revision_problems(now),
        }
        broken = []
        for section, detector in detectors.items():
            try:
                self.book.report(section, detector())
            # One detector that breaks must not silence the others; the tick fails at its end and says so.
            except Exception as error:  # noqa: BLE001
                broken.append(f"{section}: {type(error).__name__}: {error}")
        try:
            chosen = notifiers_of(self.settings)
        except SettingsError as error:
            # Who should be told cannot be; the log can, and the tick fails.
            chosen, broken = [("log", LogNotifier())], [*broken, str(error)]
        failures = self.book.deliver(chosen)
        for text in failures:
            context.log.error(f"{text}; it is tried again at the next tick")
        if broken:
            raise RuntimeError(f"problems could not be looked for, or told: {'; '.join(broken)}")
        count = len(self.book.open_problems())
        told = f"; not told: {'; '.join(failures)}" if failures else ""
        return f"{count} problem{'' if count == 1 else 's'} open{told}"

    def revision_problems(self, now: dt.datetime) -> list[Problem]:
        """Revised days whose forecasts are still the old ones."""
        unified = self.observer.unified_version()
        ready = [revision for revision in self.observer.revised.read() if unified > revision.table_version]
        place = (unified, self.observer.forecast_version())
        recent = self._counted is not None and abs(now - self._counted) < _REVISION_INTERVAL
        if ready == self._ready and (recent or place == self._counted_for):
            return self._stale
        platform, today = self.observer.platform, self.settings.today()
        found, done = [], []
        for revision in ready:
            stale = revisions.stale_dates(platform, revision, today)
            if stale:
                found.append(revisions.problem_of(platform, revision, stale, today))
            else:
                done.append(revision)
        self.observer.revised.drop(done)
        self._ready = [revision for revision in ready if revision not in done]
        self._counted, self._counted_for, self._stale = now, place, found
        return found

    def revision_text(self, revision: revisions.Revision) -> str:
        """The tick's word on revised days."""
        command = revisions.refresh_command(self.observer.platform, revision, self.settings.today())
        return (
            f"{revision.series}: rows of {revision.first} to {revision.last} were revised; forecasts after "
            f"{revision.first} that read them are stale: refresh them with `{command}`"
        )
