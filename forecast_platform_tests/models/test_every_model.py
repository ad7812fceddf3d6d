"""What every registered model must do, asked through the contract only."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.forecasting.history import ONE_DAY, History
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Paths, TrainingWindow
from forecast_platform_tests.histories import changed_from, history_from_csv, random_history

N_PATHS = 40
SEED = 7
WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
ORIGINS = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-03-15"))


@cache
def history() -> History:
    """Returns with momentum, so that a mean is there to be learned, and covariates."""
    return random_history(seed=3, momentum=0.3, covariates=True, name="Synthetic")


@cache
def fitted(name: str) -> FittedModel:
    return registry.get(name).fit(history().before(WINDOW.end), WINDOW)


def simulate(model: FittedModel, seen: History, origins: np.ndarray, n_paths: int = N_PATHS) -> Paths:
    return model.simulate(seen, origins, 14, n_paths, Shocks(SEED, model.n_slots))


@pytest.fixture(params=registry.names())
def name(request: pytest.FixtureRequest) -> str:
    module = registry.entry(request.param).module
    if find_spec(module) is None:
        pytest.skip(f"{module} does not exist yet")
    return str(request.param)


def test_paths_are_finite_float32_of_the_contract_s_shape(name: str) -> None:
    paths = simulate(fitted(name), history(), ORIGINS)
    assert paths.shape == (len(ORIGINS), N_PATHS, 14)
    assert paths.dtype == np.float32
    assert np.isfinite(paths).all()


def test_an_origin_s_bits_do_not_depend_on_chunks_order_or_storage(name: str) -> None:
    model = fitted(name)
    whole = simulate(model, history(), ORIGINS)
    chunks = [simulate(model, history(), part) for part in np.array_split(ORIGINS, [1, 4, 40])]
    assert np.array_equal(np.concatenate(chunks), whole)
    order = np.random.default_rng(0).permutation(len(ORIGINS))
    assert np.array_equal(simulate(model, history(), ORIGINS[order]), whole[order])
    stored = registry.get(name).load(model.to_json(), WINDOW)
    assert stored.to_json() == model.to_json()
    assert np.array_equal(simulate(stored, history(), ORIGINS), whole)


def test_fewer_paths_are_the_first_of_more_paths(name: str) -> None:
    more = simulate(fitted(name), history(), ORIGINS[:5], 3 * N_PATHS)
    assert np.array_equal(simulate(fitted(name), history(), ORIGINS[:5]), more[:, :N_PATHS])


@pytest.mark.parametrize("horizon", [7, 20, 60])
def test_a_longer_horizon_keeps_the_first_days_bits(name: str, horizon: int) -> None:
    model, origins = fitted(name), ORIGINS[:12]
    made = model.simulate(history(), origins, horizon, N_PATHS, Shocks(SEED, model.n_slots))
    assert made.shape == (len(origins), N_PATHS, horizon)
    shared = min(horizon, 14)
    assert np.array_equal(made[:, :, :shared], simulate(model, history(), origins)[:, :, :shared])
    if horizon > 14:
        spread = made.astype(np.float64).std(axis=1).mean(axis=0)
        assert 1.05 * spread[13] < spread[-1] < 4 * spread[13]


def test_forecast_never_reads_data_on_or_after_the_forecast_date(name: str) -> None:
    day = np.datetime64("2018-02-07")
    before = simulate(fitted(name), history(), ORIGINS)
    after = simulate(fitted(name), changed_from(history(), day), ORIGINS)
    early = day >= ORIGINS
    assert np.array_equal(after[early], before[early])
    assert not (after[~early] == before[~early]).all(axis=(1, 2)).any()
    short = simulate(fitted(name), history().before(day), ORIGINS[early])
    assert np.array_equal(short, before[early])


def test_fit_never_reads_data_on_or_after_the_window_s_end(name: str) -> None:
    again = registry.get(name).fit(changed_from(history(), WINDOW.end).before(WINDOW.end), WINDOW)
    assert again.to_json() == fitted(name).to_json()


def test_dates_with_different_data_have_different_forecasts(name: str) -> None:
    weekdays = ORIGINS[np.is_busday(ORIGINS)]
    paths = simulate(fitted(name), history(), weekdays)
    assert not (paths[1:] == paths[:-1]).all(axis=(1, 2)).any()


def test_days_on_which_the_exchange_is_shut_hold_the_close_before_them(name: str) -> None:
    saturday = np.datetime64("2018-02-03")
    paths = simulate(fitted(name), history(), np.array([saturday]))[0]
    last = np.float32(history().close[np.searchsorted(history().dates, saturday) - 1])
    assert (paths[:, :2] == last).all()
    assert (paths[:, 2] != last).any()
    assert np.array_equal(paths[:, 7], paths[:, 6])
    assert np.array_equal(paths[:, 8], paths[:, 6])


def test_spread_grows_with_trading_days_only(name: str) -> None:
    monday = ORIGINS[np.is_busday(ORIGINS, "1000000")]
    paths = simulate(fitted(name), history(), monday, 1000).astype(np.float64)
    spread = paths.std(axis=1).mean(axis=0)
    assert (np.diff(spread[:5]) > 0).all()
    assert spread[5] == spread[4]
    assert 1.8 < spread[11] / spread[0] < 6.0


def test_mean_of_the_paths_stays_near_the_last_close(name: str) -> None:
    paths = simulate(fitted(name), history(), ORIGINS, 1000).astype(np.float64)
    last = history().close[np.searchsorted(history().dates, ORIGINS) - 1]
    distance = np.abs(paths.mean(axis=1) - last[:, None]) / paths.std(axis=1).clip(0.005 * last[:, None])
    assert distance.max() < 1.5


@pytest.mark.parametrize("start", ["2020-01-01", "2020-07-01", "2021-01-01"])
def test_negative_price_passes_through_fit_and_forecast(name: str, start: str, eia: Path) -> None:
    end = np.datetime64(start)
    window = TrainingWindow(end - np.timedelta64(3 * 365, "D"), end)
    oil = history_from_csv(eia / "wti_spot_daily.csv", str(window.start), "2021-02-01", name="WTI")
    model = registry.get(name).fit(oil.before(end), window)
    # The crash itself is forecast from by the window before it; the later ones hold it in their residual pool.
    first = np.datetime64("2020-04-16") if start == "2020-01-01" else end
    origins = first + np.arange(14) * ONE_DAY
    paths = simulate(model, oil, origins, 200)
    assert np.isfinite(paths).all()
    last = oil.close[np.searchsorted(oil.dates, origins) - 1]
    assert np.abs(np.median(paths[:, :, -1], axis=1) - last).max() < 30.0
    assert np.quantile(np.abs(paths), 0.99) < 1000.0
    if start == "2020-01-01":
        held = paths[origins == np.datetime64("2020-04-21"), :, 0]
        assert held.min() < 0, "from a close of -36.98 the next close may be negative too: nothing clips it"


def test_too_short_a_history_names_the_series(name: str) -> None:
    window = TrainingWindow(WINDOW.end - np.timedelta64(30, "D"), WINDOW.end)
    with pytest.raises(ValueError, match="Synthetic"):
        registry.get(name).fit(history().since(window.start).before(window.end), window)


def test_a_constant_price_names_the_series(name: str) -> None:
    training = history().before(WINDOW.end)
    with pytest.raises(ValueError, match="Synthetic"):
        registry.get(name).fit(replace(training, close=np.full(len(training), 5.0)), WINDOW)


def test_shocks_of_another_window_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n_slots"):
        fitted(name).simulate(history(), ORIGINS[:1], 14, 10, Shocks(SEED, 17))


def test_training_metrics_are_finite_numbers(name: str) -> None:
    figures = fitted(name).training_metrics()
    assert figures
    assert all(np.isfinite(value) for value in figures.values())
