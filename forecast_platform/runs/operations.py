"""What the commands do, in order: bring data up to date, find what is missing, run the jobs, say what came of it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from forecast_platform.runs.launch import Finished, Launcher, progress_bar
from forecast_platform.settings import Settings, SettingsError
from forecast_platform.settings.parts import did_you_mean
from forecast_platform.settings.root import PREFIX
from forecast_platform.warehouse.base import require_horizon
from forecast_platform.work.coverage import ENDED, last_allowed
from forecast_platform.work.platform import LATER, OVERWRITE_TAG, SIGNAL_TAG, VERSION_TAG, Platform

Say = Callable[[str], None]


class UsageError(ValueError):
    """The request cannot be carried out as given; nothing was done."""


@dataclass
class Operations:
    """The commands over one platform. Each returns whether everything asked for is there now.

    Those that run jobs raise KeyboardInterrupt where a run was cancelled.
    """

    settings: Settings
    say: Say
    version: str
    overwrite: bool = False
    finished: list[tuple[str, Finished, float]] = field(default_factory=list)

    @cached_property
    def launcher(self) -> Launcher:
        """What runs jobs; asked for first, it makes the instance's folder: what only reads needs none."""
        return Launcher(self.settings)

    @cached_property
    def platform(self) -> Platform:
        """The platform that is worked on."""
        return Platform.from_settings(self.settings)

    @property
    def tags(self) -> dict[str, str]:
        """What the runs are told beside their partitions."""
        return {VERSION_TAG: self.version, **({OVERWRITE_TAG: "true"} if self.overwrite else {})}

    def begin(self) -> None:
        """Close what a killed command left open.

        Raises UsageError where no step could be shipped to its compute, HorizonError where the tables hold forecasts
        of another number of days.
        """
        require_horizon(self.platform.warehouse)
        self._require_compute()
        for run_id in self.launcher.close_orphans():
            self.say(f"closed run {run_id[:8]}: the command that ran it was killed; what it wrote is kept")

    def _require_compute(self) -> None:
        if self.settings.compute != "databricks":
            return
        from forecast_platform.clients.databricks.connection import DatabricksError
        from forecast_platform.graph.launchers.step_config import check

        try:
            check(self.settings)
        except DatabricksError as error:
            raise UsageError(str(error)) from None

    def ingest(self, series: Sequence[str]) -> tuple[list[str], bool]:
        """Bring unified_data up to date where the source has newer or revised days.

        Returns the series to go on with, and whether all is well. A refused file leaves its series with the data it
        had; a series whose ingest failed, or whose data did not pass a blocking check, is left out. Raises SourceError
        as `pipeline.ingest.read_source`.
        """
        from forecast_platform.graph.keys import INGEST
        from forecast_platform.pipeline.ingest import catch_up
        from forecast_platform.pipeline.up_to_date import SourceMark

        mark = SourceMark(self.platform, series)
        if mark.is_up_to_date():
            return list(series), True
        stale, rejected = catch_up(self.platform, series)
        for text in rejected:
            self.say(f"refused by the source: {text}")
        failed: list[str] = []
        for names in self._alike(stale):
            first, last = stale[names[0]]
            if self._run(INGEST, [], first, last, names):
                continue
            # A run of several does not say which of them failed; what was good is skipped the second time.
            failed += [name for name in names if len(names) == 1 or not self._run(INGEST, [], first, last, [name])]
        for name in failed:
            self.say(f"{name} is left out of what follows: its data are not sound")
        good = not failed and not rejected
        if good:
            mark.keep()
        return [name for name in series if name not in failed], good

    def _alike(self, spans: Mapping[str, tuple[dt.date, dt.date]]) -> list[list[str]]:
        """The series of `spans` in groups that one run can take: neighbours in a group with the same span."""
        groups: list[list[str]] = []
        before: tuple[dt.date, dt.date] | None = None
        for one in self.settings.series_groups:
            before = None
            for name in one.series:
                span = spans.get(name)
                if span is not None and span == before:
                    groups[-1].append(name)
                elif span is not None:
                    groups.append([name])
                before = span
        return groups

    def train(self, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date]) -> bool:
        """Fit the models on these windows."""
        from forecast_platform.graph.keys import TRAIN

        good = True
        for name in series:
            if begun := self._not_over(name, windows):
                good &= self._run(TRAIN, models, min(begun), max(begun), [name])
        return good

    def _not_over(self, name: str, days: Sequence[dt.date]) -> list[dt.date]:
        """The days that are not after the series' end."""
        end = self.settings.end_of(name)
        return [day for day in days if end is None or day <= end]

    def missing(
        self, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date]
    ) -> dict[tuple[str, str], list[dt.date]]:
        """By series and model, the windows that have no fitted model."""
        from forecast_platform.work.fits import trained_owners

        owners = trained_owners(self.platform, windows)
        lacking = {
            (name, model): sorted(
                start
                for start in set(self._not_over(name, windows))
                if (name, model, self.version) not in owners[start]
            )
            for name in series
            for model in models
        }
        return {key: starts for key, starts in lacking.items() if starts}

    def forecast(
        self, series: Sequence[str], models: Sequence[str], first: dt.date, last: dt.date, *, together: bool = False
    ) -> bool:
        """Paths, point forecasts and actuals of first..last, of a series that has ended of the dates to its end; one
        run a series, or (`together`) one for each stretch of neighbours in a group."""
        from forecast_platform.graph.automation.requests import neighbours
        from forecast_platform.runs.unchanged import nothing_to_forecast

        ends: dict[dt.date, list[str]] = {}
        for name in series:
            until = min(last, self.settings.end_of(name) or last)
            if until < last:
                self.say(f"{name} has ended (end_date {until}): no later date is forecast")
            if until >= first:
                ends.setdefault(until, []).append(name)
        stretches: list[tuple[Sequence[str], dt.date]] = [([name], until) for until in ends for name in ends[until]]
        if together:
            stretches = [
                (found, until)
                for until, names in ends.items()
                for group in self.settings.series_groups
                for found in neighbours(group.series, names)
            ]
        # The signal of a date is of all series and models: each step would read what all of them have.
        later = {SIGNAL_TAG: LATER} if len(stretches) * len(models) > 1 else {}
        good, before = True, len(self.finished)
        try:
            for stretch, until in stretches:
                if not self.overwrite and nothing_to_forecast(
                    self.launcher.instance, self.platform, stretch, models, self.version, first, until
                ):
                    title = f"forecast {_listed(stretch)}"
                    self.say(f"{title}: {first} to {until}: nothing has changed, no run is needed")
                    continue
                good &= self._forecast(models, first, until, stretch, later)
        finally:
            if later:
                self._signal(first, last, [done for _, done, _ in self.finished[before:]])
        return good

    def _forecast(
        self, models: Sequence[str], first: dt.date, last: dt.date, series: Sequence[str], tags: Mapping[str, str]
    ) -> bool:
        """Run the forecasts; and those of models that are made of others by runs of their own, where a member's step
        failed: below it Dagster begins none, though a model may go on without the member, or all be there of some
        series."""
        from forecast_platform.graph.keys import FORECAST, keys_of

        good, left = True, list(models)
        while left:
            good &= self._run(FORECAST, left, first, last, series, tags)
            begun, keys = self.finished[-1][1].steps, keys_of(self.settings, series[0])
            waiting = [
                name
                for name in left
                if self.settings.model_spec(name).of and keys.step(f"forecasts_{name}") not in begun
            ]
            if not begun or waiting == left:  # nothing of it works: another run would do no better
                break
            left = waiting
        return good

    def _signal(self, first: dt.date, last: dt.date, runs: Sequence[Finished]) -> None:
        """Write the ready signal of first..last; where the runs wrote nothing, of those dates that are not complete,
        which a command that was killed may have left so."""
        from forecast_platform.pipeline.publish import forecast_runs, not_complete

        wrote = any(totals.get("keys_written") for done in runs for totals in done.totals.values())
        failed = any(not done.success for done in runs)
        dates = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
        forecast_runs(self.platform, dates if wrote or failed else not_complete(self.platform, dates))

    def score(self, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date]) -> bool:
        """Score the forecasts of these windows."""
        from forecast_platform.graph.keys import SCORE

        good = True
        for name in series:
            if begun := self._not_over(name, windows):
                good &= self._run(SCORE, models, min(begun), max(begun), [name])
        return good

    def windows(self, first: dt.date, last: dt.date) -> list[dt.date]:
        """Starts of the training windows that forecast first..last."""
        return self.platform.frequency.starts(first, last)

    def check_span(
        self, first: dt.date, last: dt.date, options: tuple[str, str] = ("--start-date", "--end-date")
    ) -> None:
        """Refuse a span that is empty or has no partitions; `options` gave its ends. Raises UsageError."""
        begins = self.settings.start_date
        ends = min(self.settings.today(), self.settings.end_date or dt.date.max)
        if last < first:
            raise UsageError(f"{options[1]} {last} lies before {options[0]} {first}")
        if first < begins:
            raise UsageError(
                f"{options[0]} {first} lies before {begins}, the first forecast date (setting start_date): ask for "
                "later dates, or set start_date earlier if the source has the history"
            )
        if last > ends:
            what = "end_date of this source" if self.settings.end_date else "today"
            ask = "an earlier date" if first == last else "earlier dates"
            raise UsageError(f"{options[1]} {last} lies after {ends}, {what}: ask for {ask}")

    def chosen_series(self, names: Sequence[str] | None, groups: Sequence[str] | None = None) -> list[str]:
        """Configured series by these names and those of these groups, in configured order; all where none is named, or
        `all`. Raises UsageError for a name that is neither."""
        everything = self.settings.series_names
        if (
            names is not None
            and [name.lower() for name in names] == ["all"]
            and "all" not in map(str.lower, everything)
        ):
            names = everything
        wanted = set() if names or groups else set(everything)
        try:
            wanted |= {self.settings.series_named(name).name for name in names or ()}
        except SettingsError as error:
            raise UsageError(str(error)) from error
        known = {group.name: group.series for group in self.settings.series_groups if group.name}
        for name in groups or ():
            if name not in known:
                what = did_you_mean(name, known) if known else "; the settings have no groups"
                raise UsageError(f"group {name!r} is not configured{what}")
            wanted |= set(known[name])
        return [name for name in everything if name in wanted]

    def chosen_models(self, names: Sequence[str] | None) -> list[str]:
        """Configured models by these names, in any case; all where none is named. Raises UsageError."""
        by_name = {name.lower(): name for name in self.settings.models}
        unknown = [name for name in names or () if name.lower() not in by_name]
        if unknown:
            raise UsageError(
                f"model {', '.join(map(repr, unknown))} is not configured; configured: "
                f"{', '.join(self.settings.models)}"
            )
        return list(dict.fromkeys(by_name[name.lower()] for name in names or self.settings.models))

    def models_in_use(self, names: Sequence[str] | None, series: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
        """Series by their models: those by these names; where none is named, those that were ever trained for the
        series in this version, for one that has none those of the others, and all where none was trained. Those that
        are left out are told."""
        from forecast_platform.warehouse.schemas import TRAINED_MODELS

        chosen = self.chosen_models(names)
        if names or not series:
            return {tuple(chosen): list(series)}
        where = {"commodity": list(series), "model_version": self.version}
        rows = self.platform.warehouse.read(TRAINED_MODELS, ["commodity", "model_name"], where)
        trained: dict[str, set[str]] = {}
        for owner, model in zip(rows["commodity"].to_pylist(), rows["model_name"].to_pylist(), strict=True):
            trained.setdefault(owner, set()).add(model)
        everything = set[str]().union(*trained.values())
        used: dict[tuple[str, ...], list[str]] = {}
        for one in series:
            own = trained.get(one, everything)
            used.setdefault(tuple(name for name in chosen if name in own) or tuple(chosen), []).append(one)
        for models, owners in used.items():
            if unused := [name for name in chosen if name not in models]:
                whose = "" if len(used) == 1 else f" for {_listed(owners)}"
                self.say(
                    f"not in use{whose}, since never trained: {', '.join(unused)} (name them with --models, or train "
                    "them)"
                )
        return used

    def newest_date(self, series: Sequence[str]) -> dt.date:
        """The date to forecast where none is named: today, or the end where all of the series have ended.

        Where the data ended over ENDED ago, the last date that they allow, and that is said. Data that are merely late
        change nothing: then no forecast can be made, which is an error.
        """
        ends = [self.settings.end_of(name) or dt.date.max for name in series]
        day = min(self.settings.today(), max(ends, default=dt.date.max))
        tables = [self.platform.series_table(name) for name in series]
        newest = max((table.last_observed for table in tables), default=day)
        if any(last_allowed(self.platform, name) >= day for name in series) or day - newest <= ENDED:
            return day
        allowed = newest + dt.timedelta(days=1)
        once = (
            f"; to say so once, set `end_date: {allowed}` of the series, or {PREFIX}END_DATE={allowed} where those of "
            "all have ended"
        )
        if max(ends, default=None) == allowed:
            once = ""
        self.say(f"data end on {newest}: this is the forecast of {allowed}, the last that is fresh{once}")
        return allowed

    def _run(
        self,
        job: str,
        models: Sequence[str],
        first: dt.date,
        last: dt.date,
        series: Sequence[str],
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Run one of the jobs over neighbouring series of a group."""
        from forecast_platform.graph.checks.forecasts import ON_TIME
        from forecast_platform.graph.keys import keys_of

        keys, title = keys_of(self.settings, series[0]), f"{job} {_listed(series)}"
        started = time.perf_counter()
        self.say(f"{title}: {first} to {last}" if first != last else f"{title}: {first}")
        with progress_bar(title):
            done = self.launcher.run(
                keys.job(job),
                keys.of_job(job, models),
                first,
                last,
                series,
                tags={**self.tags, **(tags or {})},
                # That dates outside this run's span are missing is told once, by coverage, and not for each model.
                untold={ON_TIME},
            )
        seconds = time.perf_counter() - started
        self.finished.append((title, done, seconds))
        for asset, totals in sorted(done.totals.items()):
            if "keys_written" in totals:
                self.say(
                    f"  {asset}: {totals['keys_written']} written, {totals['keys_skipped']} unchanged, "
                    f"{totals['keys_failed']} failed, {totals['rows_written']:,} rows, {totals['seconds']:.1f} s"
                )
            for remark in ("notes", "source_warnings"):
                for line in str(totals.get(remark, "")).splitlines():
                    self.say(f"    {line}")
        for message in done.messages:
            self.say(f"  {message}")
        if done.status == "CANCELED":
            raise KeyboardInterrupt
        self.say(f"  run {done.run_id[:8]} {done.status.lower()} in {seconds:.1f} s")
        return done.success


def _listed(series: Sequence[str]) -> str:
    """The names, of many the first and the last."""
    return ", ".join(series) if len(series) <= 4 else f"{len(series)} series, {series[0]} to {series[-1]}"
