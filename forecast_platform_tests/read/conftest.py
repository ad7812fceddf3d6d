"""A platform with forecasts of a fortnight, made once for the tests that only read."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.publish import forecast_runs
from forecast_platform.read import Reader
from forecast_platform.settings import Settings
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, settings_for

SPAN = days("2018-01-02", "2018-01-12")
"""Forecast dates of Alpha and Beta; the last is a Friday, made with Thursday's close. The first three are complete."""

SERIES = [
    {"name": "Alpha", "regions": ["North"], "multiplier": 375, "currency": "USD", "unit": "US cents/lb"},
    {"name": "Beta", "regions": ["North"], "multiplier": 1120.0, "currency": "usd"},
]


@pytest.fixture(scope="session")
def forecast_root(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("read") / "platform"
    shutil.copytree(trained_template, root)
    platform = Platform.from_settings(settings_for(root))
    for model in platform.settings.models:
        for series in platform.settings.series_names:
            forecast(platform, series, model, SPAN)
    forecast_runs(platform, SPAN[:3])
    return root


def at(settings: Settings, moment: str) -> Settings:
    """These settings at a moment, such as 2018-01-12 08:00, of the default zone."""
    from zoneinfo import ZoneInfo

    now = dt.datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("America/Los_Angeles"))
    return settings.with_clock(lambda: now)


@pytest.fixture
def reader(forecast_root: Path) -> Reader:
    """A reader on the morning of the last forecast date, when it is due."""
    return Reader(at(settings_for(forecast_root, series=SERIES), "2018-01-12 08:05"))
