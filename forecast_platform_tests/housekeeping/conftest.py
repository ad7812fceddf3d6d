"""A small platform with a year-old feel: trained, forecast, scored, and with a Dagster instance of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from forecast_platform.pipeline import publish
from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.scoring import score
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import MODELS, SERIES, days, settings_for


@pytest.fixture(scope="session")
def _lived_in(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lived") / "platform"
    shutil.copytree(trained_template, root)
    platform = Platform.from_settings(settings_for(root))
    span = days("2018-02-20", "2018-03-31")
    for name in SERIES:
        for model in MODELS:
            # Day by day, as the daily run writes: small files, and many versions.
            for part in (span[:20], span[20:36], *([day] for day in span[36:])):
                assert not forecast(platform, name, model, part).failed
            score(platform, name, model, [span[0].replace(month=1, day=1)])
        write_actuals(platform, name, span)
    publish.forecast_runs(platform, span)
    return root


@pytest.fixture
def root(_lived_in: Path, tmp_path: Path) -> Path:
    """The root of a platform with forecasts of 40 dates, this test's own."""
    target = tmp_path / "platform"
    shutil.copytree(_lived_in, target)
    return target


@pytest.fixture
def platform(root: Path) -> Platform:
    """The platform in `root`; trained_models' paths follow no copy, for no model is large enough for a file."""
    return Platform.from_settings(settings_for(root))
