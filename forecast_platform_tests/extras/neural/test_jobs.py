"""Training jobs with NeuralForecast: a network over all series, quantiles in order, the same bits again."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.extra
pytest.importorskip("neuralforecast")

from forecast_platform.training_jobs.backtest import ask_of, train, whole, windows_of  # noqa: E402
from forecast_platform.training_jobs.config import JobError  # noqa: E402
from forecast_platform.training_jobs.modes.neuralforecast import Neural  # noqa: E402
from forecast_platform.training_jobs.progress import Progress  # noqa: E402
from forecast_platform.training_jobs.training import check  # noqa: E402
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly  # noqa: E402


def test_a_network_is_judged_on_the_same_windows_and_its_quantiles_do_not_cross() -> None:
    panel, config = panel_of(asked(weekly(4, 90), training_mode="neuralforecast", backtest_windows=1))
    found, notes = train(panel, config, [Neural("NHITS", 60)], windows_of(panel, config), Progress())
    assert notes == []
    network = next(one for one in found if one.name == "NHITS")
    assert network.forecast is not None
    assert (np.diff(network.forecast.quantiles, axis=2) >= 0).all()
    assert np.abs(network.forecast.points[:, 0] - [panel.series(k)[-1] for k in range(4)]).max() < 40


def test_the_same_data_give_the_same_forecast() -> None:
    panel, config = panel_of(asked(weekly(2, 60), training_mode="neuralforecast"))
    first, second = (
        Neural("NHITS", 20).predict(whole(panel), ask_of(panel, config), lambda done: None) for _ in range(2)
    )
    assert not first.failed
    assert (first.quantiles == second.quantiles).all()


def test_a_network_that_is_none_is_refused() -> None:
    panel, config = panel_of(asked(training_mode="neuralforecast", models=["Perceptron"]))
    with pytest.raises(JobError, match="models: 'Perceptron' is no model of mode neuralforecast"):
        check(panel, config)
