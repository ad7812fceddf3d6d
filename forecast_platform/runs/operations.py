"""What the commands do, in order: bring data up to date, find what is missing, run the jobs, say what came of it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from forecast_platform.runs.launch import Finished, Launcher, progress_bar
from forecast_platform.settings import Settings, SettingsError
from forecast_platform.warehouse.base import require_horizon
from forecast_platform.work.platform import OVERWRITE_TAG, VERSION_TAG, Platform
from forecast_platform.work.results import ranges_text

Say = Callable[[str], None]


class UsageError(ValueError):
    """The request cannot be carried out as given; nothing was done."""


@dataclass
class Operations:
    """The commands over one platform. Each returns whether everything asked for is there now."""

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
        had; a series whose ingest failed, or whose data did not pass a blocking check, is left out.
        """
        from forecast_platform.graph.assets import ingest as asset
        from forecast_platform.graph.jobs import INGEST
        from forecast_platform.pipeline.ingest import catch_up

        stale, rejected = catch_up(self.platform, series)
        for text in rejected:
            self.say(f"refused by the source: {text}")
        failed: list[str] = []
        for names in self._alike(stale):
            first, last = stale[names[0]]
            if self._run(f"ingest {', '.join(names)}", INGEST, [asset.KEY], first, last, names):
                continue
            # A run of several does not say which of them failed; what was good is skipped the second time.
            failed += [
                name
                for name in names
                if len(names) == 1 or not self._run(f"ingest {name}", INGEST, [asset.KEY], first, last, [name])
            ]
        for name in failed:
            self.say(f"{name} is left out of what follows: its data are not sound")
        return [name for name in series if name not in failed], not failed and not rejected

    def _alike(self, spans: Mapping[str, tuple[dt.date, dt.date]]) -> list[list[str]]:
        """The series of `spans` in groups that one run can take: neighbours in configured order with the same span."""
        groups: list[list[str]] = []
        before: tuple[dt.date, dt.date] | None = None
        for name in self.settings.series_names:
            span = spans.get(name)
            if span is not None and span == before:
                groups[-1].append(name)
            elif span is not None:
                groups.append([name])
            before = span
        return groups

    def train(self, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date]) -> bool:
        """Fit the models on these windows."""
        from forecast_platform.graph.assets import train as asset
        from forecast_platform.graph.jobs import TRAIN

        good = True
        for name in series:
            keys = [asset.key(model) for model in models]
            good &= self._run(f"train {name}", TRAIN, keys, min(windows), max(windows), [name])
        return good

    def missing(
        self, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date]
    ) -> dict[tuple[str, str], list[dt.date]]:
        """By series and model, the windows that have no fitted model."""
        from forecast_platform.work.fits import trained_windows

        found = {}
        for name in series:
            for model in models:
                lacking = sorted(set(windows) - trained_windows(self.platform, name, model, self.version))
                if lacking:
                    found[name, model] = lacking
        return found

    def forecast(
        self, series: Sequence[str], models: Sequence[str], first: dt.date, last: dt.date, *, together: bool = False
    ) -> bool:
        """Paths, point forecasts and actuals of first..last; one run a series, or one for all (`together`)."""
        from forecast_platform.graph.assets import forecast as asset
        from forecast_platform.graph.jobs import FORECAST
        from forecast_platform.runs.unchanged import nothing_to_forecast

        keys = [key(model) for model in models for key in (asset.paths_key, asset.points_key)]
        good = True
        for group in [list(series)] if together else [[name] for name in series]:
            title = f"forecast {', '.join(group)}"
            if not self.overwrite and nothing_to_forecast(
                self.launcher.instance, self.platform, group, models, self.version, first, last
            ):
                self.say(f"{title}: {first} to {last}: nothing has changed, no run is needed")
                continue
            good &= self._run(title, FORECAST, [*keys, asset.ACTUALS_KEY], first, last, group)
        return good

    def score(self, series: Sequence[str], models: Sequence[str], windows: Sequence[dt.date]) -> bool:
        """Score the forecasts of these windows."""
        from forecast_platform.graph.assets import score as asset
        from forecast_platform.graph.jobs import SCORE

        keys = [asset.key(model) for model in models]
        good = True
        for name in series:
            good &= self._run(f"score {name}", SCORE, keys, min(windows), max(windows), [name])
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

    def chosen_series(self, names: Sequence[str] | None) -> list[str]:
        """Configured series by these names, in configured order; all where none is named."""
        try:
            wanted = {self.settings.series_named(name).name for name in names or self.settings.series_names}
        except SettingsError as error:
            raise UsageError(str(error)) from error
        return [name for name in self.settings.series_names if name in wanted]

    def chosen_models(self, names: Sequence[str] | None) -> list[str]:
        """Configured models by these names; all where none is named."""
        unknown = [name for name in names or () if name not in self.settings.models]
        if unknown:
            raise UsageError(
                f"model {', '.join(map(repr, unknown))} is not configured; configured: "
                f"{', '.join(self.settings.models)}"
            )
        return list(dict.fromkeys(names)) if names else list(self.settings.models)

    def _run(
        self, title: str, job: str, keys: Sequence[object], first: dt.date, last: dt.date, series: Sequence[str]
    ) -> bool:
        started = time.perf_counter()
        self.say(f"{title}: {first} to {last}" if first != last else f"{title}: {first}")
        with progress_bar(title):
            done = self.launcher.run(job, keys, first, last, series, tags=self.tags)  # type: ignore[arg-type]
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


def missing_text(missing: dict[tuple[str, str], list[dt.date]], settings: Settings, version: str) -> str:
    """Which windows have no model, and the commands that train them."""
    from forecast_platform.forecasting.windows import FREQUENCIES

    lines = []
    frequency = FREQUENCIES[settings.train_frequency]
    for (series, model), windows in missing.items():
        lines.append(f"no trained_models/{model} {version} for {series}, windows {ranges_text(windows, most=20)}")
    for series in dict.fromkeys(name for name, _ in missing):
        models = [model for name, model in missing if name == series]
        starts = sorted({start for (name, _), windows in missing.items() if name == series for start in windows})
        last = min(frequency.next_start(starts[-1]) - dt.timedelta(days=1), settings.end_date or settings.today())
        tag = "" if version == settings.model_version else f" --model-version-tag {version}"
        lines.append(
            f"train them with: forecast-platform train --commodity {series} --models {' '.join(models)} "
            f"--start-date {starts[0]} --end-date {last}{tag}"
        )
    lines.append("or run this command again with --train")
    return "\n".join(lines)
