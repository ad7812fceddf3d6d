"""Every registered model keeps the contract, by the public test kit; and negative prices of the real world."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.forecasting.history import ONE_DAY
from forecast_platform.models import registry
from forecast_platform.models.base import TrainingWindow
from forecast_platform.testing import CHECKS, Subject
from forecast_platform_tests.histories import history_from_csv
from forecast_platform_tests.models import kept_models

OWN = [name for name in registry.names() if registry.entry(name).module.startswith("forecast_platform.models.")]
OUTSIDE = {model.name: model for model in (kept_models.InFiles, kept_models.Pickled)}


WAYS = ["combine:quantile_average", "combine:crps_weights", "combine:route"]
"""A model's other ways, by its hyperparameter `how`."""


@cache
def subject_of(name: str) -> Subject:
    name, _, how = name.partition(":")
    model = OUTSIDE.get(name) or registry.model_class(name)
    params = {"how": how} if how else {}
    return Subject(model(params, of=("first", "second", "third") if model.tags.combines else ()))


BASE = [name for name in OWN if registry.model_class(name).tags.extra is None]
"""Those of an extra are examined in its environment, forecast_platform_tests/extras."""


@pytest.fixture(params=[*BASE, *OUTSIDE, *WAYS])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("check", CHECKS)
def test_every_model_keeps_the_contract(name: str, check: str) -> None:
    CHECKS[check](subject_of(name))


@pytest.mark.parametrize("own", OWN)
def test_the_registry_says_of_a_model_what_its_class_says(own: str) -> None:
    entry, model = registry.entry(own), registry.model_class(own)
    assert (entry.default, model.name) == (model.tags.default, own)
    assert model.tags.extra is None or model.tags.requires, "by which module a missing extra is seen"


@pytest.mark.parametrize("start", ["2020-01-01", "2020-07-01", "2021-01-01"])
def test_negative_price_passes_through_fit_and_forecast(name: str, start: str, eia: Path) -> None:
    end = np.datetime64(start)
    window = TrainingWindow(end - np.timedelta64(3 * 365, "D"), end)
    oil = history_from_csv(eia / "wti_spot_daily.csv", str(window.start), "2021-02-01", name="WTI")
    subject = subject_of(name)
    if subject.tags.combines:
        pytest.skip("its members are asked")
    fitted = subject.fit(oil, window)
    # The crash itself is forecast from by the window before it; the later ones hold it in their residual pool.
    first = np.datetime64("2020-04-16") if start == "2020-01-01" else end
    origins = first + np.arange(14) * ONE_DAY
    paths = subject.paths(oil, origins, 200, fitted=fitted)
    assert np.isfinite(paths).all()
    last = oil.close[np.searchsorted(oil.dates, origins) - 1]
    assert np.abs(np.median(paths[:, :, -1], axis=1) - last).max() < 30.0
    assert np.quantile(np.abs(paths), 0.99) < 1000.0
    if start == "2020-01-01":
        held = paths[origins == np.datetime64("2020-04-21"), :, 0]
        assert held.min() < 0, "from a close of -36.98 the next close may be negative too: nothing clips it"
