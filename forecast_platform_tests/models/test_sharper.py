"""The day's range and the roll schedule in paths: known answers, and nothing changed where they are unknown."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from forecast_platform.forecasting.history import History
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.base import FittedModel, Paths, TrainingWindow
from forecast_platform.models.innovations import InnovationsFitted, InnovationsModel, trading_steps
from forecast_platform.testing.histories import changed_from
from forecast_platform_tests.histories import nearby_history

WINDOW = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
ORIGINS = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-03-15"))
CLASSES = {name: registry.model_class(name) for name in registry.names()}
SHARPER = [name for name, one in CLASSES.items() if issubclass(one, InnovationsModel) and one.tags.extra is None]


@cache
def history() -> History:
    return nearby_history(seed=3, mean=1.0, spread=1.0)


def bare(full: History) -> History:
    """The same closes with nothing that the options could use."""
    return replace(full, schedule=None, high=None, low=None, close_2=None)


@cache
def fitted(name: str) -> FittedModel:
    return registry.get(name).fit(history().before(WINDOW.end), WINDOW)


def simulate(model: FittedModel, seen: History, origins: np.ndarray = ORIGINS, n_paths: int = 40) -> Paths:
    return model.simulate(seen, origins, 14, n_paths, Shocks(7, model.n_slots))


@pytest.fixture(params=SHARPER)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_model_but_naive_is_of_the_framework() -> None:
    assert set(registry.default_names()) - set(SHARPER) == {"naive"}


def test_a_fit_says_what_it_uses_and_survives_storage(name: str) -> None:
    model = fitted(name)
    assert 0.1 < model.state["range_ratio"] < 1.0
    assert model.state["rolls"] is True
    again = registry.get(name).load(model.to_json(), WINDOW)
    assert np.array_equal(simulate(again, history()), simulate(model, history()))


def test_paths_do_not_depend_on_chunks_nor_read_what_lies_on_or_after_an_origin(name: str) -> None:
    model = fitted(name)
    whole = simulate(model, history())
    parts = [simulate(model, history(), part) for part in np.array_split(ORIGINS, [1, 9, 41])]
    assert np.array_equal(np.concatenate(parts), whole)
    for row in (0, 12, 40):
        changed = changed_from(history(), ORIGINS[row])
        assert np.array_equal(simulate(model, changed, ORIGINS[: row + 1]), whole[: row + 1])


def test_the_first_paths_do_not_depend_on_their_number(name: str) -> None:
    model = fitted(name)
    assert np.array_equal(simulate(model, history(), n_paths=9), simulate(model, history())[:, :9])


def test_without_the_data_a_fit_and_its_paths_are_those_of_closes_alone(name: str) -> None:
    full, plain = history(), bare(history())
    blind = replace(plain, high=full.low, low=full.low)
    two = [registry.get(name).fit(one.before(WINDOW.end), WINDOW) for one in (plain, blind)]
    assert two[0].to_json() == two[1].to_json()
    assert not {"range_ratio", "rolls"} & set(two[0].state)
    assert np.array_equal(simulate(two[0], plain), simulate(two[1], blind))


def test_bars_that_turn_stale_fall_back_to_closes_to_the_bit() -> None:
    model = fitted("random_walk")
    full = replace(history(), schedule=None)
    late = full.dates >= np.datetime64("2017-01-01")
    high, low = full.high, full.low
    assert high is not None
    assert low is not None
    nan, wrong = (np.where(late, other, high) for other in (np.nan, 2.0 * high))
    states = {key: value for key, value in model.state.items() if key != "rolls"}
    ranged = replace(model, state=states)
    paths = [simulate(ranged, replace(full, high=column)) for column in (nan, wrong)]
    assert np.array_equal(*paths)
    crossed = replace(full, high=np.where(late, low, high), low=np.where(late, high, low))
    assert np.array_equal(simulate(ranged, crossed), paths[0])
    assert not np.array_equal(simulate(ranged, full), paths[0])


def test_on_a_roll_step_y_moves_by_the_mean_and_a_wider_innovation_and_v_is_held() -> None:
    model = fitted("random_walk")
    assert isinstance(model, InnovationsFitted)
    full = history()
    assert full.schedule is not None
    day = full.schedule.dates[full.schedule.dates > np.datetime64("2018-01-10")][0]
    origin = np.array([day - np.timedelta64(1, "D")])
    known = full.known_sessions(origin)
    steps = np.flatnonzero(full.trading(origin, 14)[0])
    slots = Shocks(7, model.n_slots).slots(origin, 40, 14)[0]
    rolls = model.rolls_ahead(full, origin, known, trading_steps(full.trading(origin, 14)))
    assert rolls is not None
    filtered = model.filter(full)
    v = np.full(40, model.variances(full, filtered)[known[0]])
    y = model.transform.forward(full.observed_close[known - 1])
    paths = simulate(model, full, origin)[0]
    for step, column in enumerate(steps):
        z = model.state["residuals"][slots[column]]
        if rolls.rolled[0, step]:
            y = y + rolls.mean[0, step] + np.sqrt(rolls.kappa[0, step] * v) * z
        else:
            y, v = y + np.sqrt(v) * z, model.variance.step(v, np.sqrt(v) * z)
        assert paths[:, column] == pytest.approx(model.transform.inverse(y), rel=1e-6)
    assert rolls.rolled.sum() == 1


def test_a_roll_s_move_is_no_news_to_any_model(name: str) -> None:
    """Two paths' states after a roll differ by the move alone: what follows is as if it had not been."""
    model = fitted(name)
    assert isinstance(model, InnovationsFitted)
    full = history()
    filtered = model.filter(full)
    known = full.known_sessions(ORIGINS[:1])
    steps = trading_steps(full.trading(ORIGINS[:1], 14))
    state = model.start(filtered, known, full, ORIGINS[:1], steps)
    mean, _ = model.moments(state, 0)
    mean = np.broadcast_to(mean, (1, 1))
    means = []
    for move in (0.0, 0.3):
        after = model.after_roll(state, mean, np.full((1, 1), move))
        means.append(float(model.moments(after, 1)[0][0, 0]))
    assert means[1] - means[0] == pytest.approx(0.3, rel=1e-9)


def test_a_fit_with_a_schedule_refuses_a_history_without_one() -> None:
    with pytest.raises(ValueError, match=r"Nearby: the model was fitted with a roll schedule.*roll_rule"):
        simulate(fitted("random_walk"), replace(history(), schedule=None))


def gain(seed: int, mean: float, spread: float) -> float:
    """Share of CRPS that the schedule saves a random walk on the sessions after a roll, over 18 months."""
    full = nearby_history(seed, end="2019-08-01", mean=mean, spread=spread)
    full = replace(full, high=None, low=None, close_2=None)
    days = full.observed_dates
    origins = days[(days >= WINDOW.end) & (days < np.datetime64("2019-07-01"))]
    losses = []
    for seen in (replace(full, schedule=None), full):
        model = registry.get("random_walk").fit(seen.before(WINDOW.end), WINDOW)
        paths = np.sort(np.moveaxis(simulate(model, seen, origins, 300), 1, 2), axis=-1)
        at = np.searchsorted(seen.dates, origins)[:, None] + np.arange(14)
        level = seen.close[np.searchsorted(seen.dates, origins) - 1]
        losses.append(float((crps(paths, seen.close[at]) / level[:, None]).mean()))
    return 1.0 - losses[1] / losses[0]


def test_planted_roll_moves_are_a_gain_and_none_are_no_loss() -> None:
    assert np.mean([gain(seed, mean=2.5, spread=0.5) for seed in range(3)]) > 0.03
    assert abs(np.mean([gain(seed, mean=0.0, spread=0.0) for seed in range(3)])) < 0.004
