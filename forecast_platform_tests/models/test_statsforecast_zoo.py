"""statsforecast's models by name: each of the library's is there or refused with why, fitted once and carried on."""

from __future__ import annotations

import inspect
import json
from functools import cache

import numpy as np
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.library_state import packed, unpacked
from forecast_platform.models.statsforecast_zoo import LIBRARY, UNFIT, VARIANCES
from forecast_platform.settings import SettingsError, build
from forecast_platform.testing import CHECKS, Subject
from forecast_platform.testing.checks import N_PATHS, ORIGINS, SEED, WINDOW, synthetic
from forecast_platform_tests.histories import nearby_history

EXAMINED = ("MSTL", "AutoCES", "GARCH")
"""One of each kind: a trend within a season, a state of its own, a variance."""

SLOW = pytest.mark.slow


@cache
def subject(name: str) -> Subject:
    return Subject(registry.model_class(f"statsforecast:{name}")())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", [pytest.param("MSTL", marks=SLOW), "AutoCES", pytest.param("GARCH", marks=SLOW)])
def test_the_library_s_models_keep_the_contract(name: str, check: str) -> None:
    CHECKS[check](subject(name))


def test_every_model_that_the_library_can_carry_on_is_there_or_refused_with_why() -> None:
    import statsforecast.models as library

    carried = {name for name in library.__all__ if hasattr(getattr(library, name), "forward")}
    assert {*LIBRARY, *UNFIT} == carried
    for name, declared in LIBRARY.items():
        takes = {"order" if key in ("p", "d", "q") and name == "ARIMA" else key for key in declared}
        assert takes <= set(inspect.signature(getattr(library, name).__init__).parameters), name
    assert {*VARIANCES} <= set(library.__all__)


@pytest.mark.parametrize("name", sorted(set(LIBRARY) - set(EXAMINED)))
def test_each_is_kept_and_carried_on_without_its_future(name: str) -> None:
    one = subject(name)
    origins = ORIGINS[8:11]
    paths = one.paths(synthetic(), origins)
    assert np.isfinite(paths).all()
    back = one.load(one.stored(one.fitted))
    assert np.array_equal(one.paths(synthetic().before(origins[-1]), origins, fitted=back), paths)


def test_the_mean_of_the_paths_is_the_library_s_forecast() -> None:
    one = subject("Holt")
    origin = np.array(["2018-02-06"], "datetime64[D]")
    fitted = one.fitted
    many = fitted.simulate(synthetic(), origin, 14, 4000, Shocks(SEED, fitted.n_slots))
    y = fitted.transform.forward(synthetic().before(origin[0]).observed_close)
    wanted = fitted.library.forward(y=y, h=10)["mean"]
    found = fitted.transform.forward(many[0].astype(np.float64)).mean(axis=0)
    error = fitted.transform.forward(many[0].astype(np.float64)).std(axis=0)[-1] / np.sqrt(4000)
    assert found[0] == pytest.approx(wanted[0], abs=3 * error)
    assert found[-1] == pytest.approx(wanted[9], abs=4 * error)


def test_rolls_are_no_news_to_the_library_and_their_moves_are_the_framework_s() -> None:
    history = nearby_history(mean=3.0)
    model = registry.model_class("statsforecast:AutoETS")()
    fitted = model.fit(history.before(WINDOW.end), WINDOW)
    paths = fitted.simulate(history, ORIGINS[:30], 14, N_PATHS, Shocks(SEED, fitted.n_slots))
    assert np.isfinite(paths).all()
    assert fitted.state["rolls"]


def test_a_name_of_one_s_own_and_a_known_model_are_asked_for() -> None:
    listed = [{"name": "weekly", "type": "statsforecast:MSTL", "params": {"season_length": 21}}, "naive"]
    settings = build(models=listed)
    spec = settings.model_spec("weekly")
    assert (spec.type, json.loads(spec.params)) == ("statsforecast:MSTL", {"season_length": 21})
    assert registry.model_of(spec).params["season_length"] == 21
    wrong = {
        "statsforecast": "say which of its models, such as `type: statsforecast:MSTL`",
        "statsforecast:MFLES": "the library has no `forward` for it",
        "statsforecast:ZeroModel": "it forecasts no prices",
        "statsforecast:mstl": "or no such model",
        "prophecy:MSTL": "is unknown; known: ",
    }
    for kind, told in wrong.items():
        with pytest.raises(SettingsError, match=told):
            build(models=["naive", {"name": "mine", "type": kind}])
    with pytest.raises(SettingsError, match="lower-case letters"):
        build(models=["statsforecast:MSTL"])
    with pytest.raises(SettingsError, match=r"no hyperparameter 'season'.*did you mean 'season_length'"):
        build(models=[{"name": "mine", "type": "statsforecast:MSTL", "params": {"season": 5}}])


def test_what_is_kept_makes_no_object_of_another_module() -> None:
    import statsforecast.models as library

    text = packed(library.Naive().fit(np.arange(9.0)), library)
    assert unpacked(text, library).forward(y=np.arange(9.0), h=1)["mean"][0] == 8.0
    with pytest.raises(ValueError, match="has no class system"):
        unpacked({"__object__": "system", "fields": {"__map__": []}}, library)
    with pytest.raises(TypeError, match=r"model\[0\] is a builtins.object"):
        packed([object()], library)
