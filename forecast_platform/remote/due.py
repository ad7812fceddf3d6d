"""What an action has to make: which versions of the models, and which dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from forecast_platform.work.coverage import coverage, expected_dates
from forecast_platform.work.platform import Platform


@dataclass(frozen=True)
class ForecastWork:
    """Forecasts of one series, model and version that are to be there; what is unchanged is not made again."""

    series: str
    model: str
    version: str
    dates: list[dt.date]

    def with_missed(self, platform: Platform) -> ForecastWork:
        """Before its dates those of the last `catch_up_days` days that have no forecast: a run that failed, or was
        never started, is made up for by the next. Days of windows without a model were not missed."""
        from forecast_platform.work.fits import trained_windows

        [known] = coverage(platform, self.series, [self.model], self.version)
        trained = trained_windows(platform, self.series, self.model, self.version)
        begin = self.dates[0]
        back = [begin - dt.timedelta(days=days) for days in range(platform.settings.catch_up_days - 1, 0, -1)]
        missed = [
            day
            for day in back
            if any(first <= day <= last for first, last in known.gaps) and platform.window_start(day) in trained
        ]
        return replace(self, dates=missed + self.dates)


def pairs_of(
    platform: Platform, models: Sequence[str], version: str | None, *, scheduled: bool
) -> list[tuple[str, str]]:
    """Models and versions: of the version that is asked for; else of the configured one, or, for what a schedule runs,
    of every one that the readers follow or may go back to, as with Dagster's schedules."""
    from forecast_platform.pipeline.champions import versions_to_run

    if version is None and scheduled:
        return [pair for pair in versions_to_run(platform) if pair[0] in models]
    return [(model, version or platform.settings.model_version) for model in models]


def dates_of(platform: Platform, series: str, first: dt.date, last: dt.date | None) -> list[dt.date]:
    """First to last, which is the newest that the series' data allow where it is None; none after a series' end."""
    last = min(last or expected_dates(platform, series)[-1], platform.settings.end_of(series) or dt.date.max)
    return [first + dt.timedelta(days=offset) for offset in range((last - first).days + 1)]
