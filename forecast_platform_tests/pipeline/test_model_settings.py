"""A model under a name of its own: hyperparameters reach the fit, are part of what it is, and are refused if wrong."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from forecast_platform.models import registry
from forecast_platform.models.tags import ModelSpec, ModelTags
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.settings import Settings, SettingsError, build
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work.fits import load_model
from forecast_platform.work.platform import Platform
from forecast_platform.work.results import RefusedError
from forecast_platform_tests.models import kept_models
from forecast_platform_tests.worlds import days, settings_for

WINDOW = dt.date(2018, 1, 1)
SPAN = days("2018-01-03", "2018-01-05")
BIG = {"name": "big", "type": "xgboost", "params": {"rounds": 3, "max_depth": 1}}


def _platform(root: Path, model: object = BIG) -> Platform:
    return Platform.from_settings(settings_for(root, models=["naive", model]))


def test_hyperparameters_reach_the_fit_and_the_model_goes_by_its_own_name(small: Path) -> None:
    platform = _platform(small)
    assert train(platform, "Alpha", "big", [WINDOW]).written == {WINDOW}
    heads = load_model(platform, "Alpha", "big", "v1.0", WINDOW).fitted.state["heads"]
    trees = json.loads(heads["mean"]["trees"])["learner"]["gradient_booster"]["model"]["gbtree_model_param"]
    assert trees["num_trees"] == "3"
    assert forecast(platform, "Alpha", "big", SPAN).written == set(SPAN)
    rows = platform.warehouse.read(TRAINED_MODELS, ["model_name", "parameters"], {"model_name": "big"}).to_pylist()
    assert json.loads(json.loads(rows[0]["parameters"])["settings"])["params"] == {"max_depth": 1, "rounds": 3}


def test_other_hyperparameters_under_the_same_version_are_refused_until_it_is_overwritten_or_raised(
    small: Path,
) -> None:
    train(_platform(small), "Alpha", "big", [WINDOW])
    other = _platform(small, {**BIG, "params": {"rounds": 4}})
    told = train(other, "Alpha", "big", [WINDOW]).failed[WINDOW]
    assert '"rounds": 3' in told
    assert '"rounds": 4' in told
    assert "--overwrite" in told
    assert set(forecast(other, "Alpha", "big", SPAN).failed) == set(SPAN), "nor is it forecast with"
    assert train(other, "Alpha", "big", [WINDOW], version="v2.0").written == {WINDOW}
    assert train(other, "Alpha", "big", [WINDOW], overwrite=True).written == {WINDOW}
    assert forecast(other, "Alpha", "big", SPAN).written == set(SPAN)


def test_a_default_that_is_written_out_is_the_same_model(small: Path) -> None:
    plain, said = _platform(small, "xgboost"), {"name": "xgboost", "params": {"rounds": 40, "eta": 0.05}}
    train(plain, "Alpha", "xgboost", [WINDOW])
    assert train(_platform(small, said), "Alpha", "xgboost", [WINDOW]).skipped == {WINDOW}


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["nave"], "'nave' is unknown; known: naive"),
        (["nave"], "did you mean 'naive'?"),
        (["naive", "naive"], "'naive' is there twice"),
        ([{"name": "big", "type": "xgboost", "params": {"round": 1}}], "no hyperparameter 'round'"),
        ([{"name": "big", "type": "xgboost", "params": {"round": 1}}], "did you mean 'rounds'?"),
        (
            [{"name": "big", "type": "xgboost", "params": {"rounds": "many"}}],
            "rounds = 'many': a whole number such as 40",
        ),
        ([{"name": "big", "type": "xgboost", "params": {"eta": 7}}], "eta = 7.0: 0.001 to 1"),
        ([{"name": "big", "type": "xgboost", "parms": {}}], "no such key 'parms'"),
        ([{"name": "naive", "params": {"rounds": 1}}], "it takes none"),
        ([{"name": "pool", "type": "combine", "of": ["naive", "range_walk"]}], "not listed before it"),
        (["naive", {"name": "pool", "type": "combine", "of": ["naive"]}], "combine of naive alone: name two models or"),
        ([{"name": "pool", "type": "combine"}], "name them in `of`"),
        (["naive", {"name": "other", "type": "naive", "of": ["naive"]}], "is made of no other models"),
        (["naive", {"name": "p", "type": "combine", "of": ["naive"], "how": "magic"}], "how = 'magic': one of"),
        (
            ["naive", "random_walk", {"name": "p", "type": "combine", "of": ["naive", "random_walk"], "half_life": 50}],
            "half_life = 50 is not read where how is 'linear_pool': leave it out, or set `how: crps_weights or route`",
        ),
        (
            [{"name": "big", "type": "xgboost", "params": {"eta": float("nan")}}],
            "models: big: eta = nan: a finite number",
        ),
        ([{"name": "xgboost", "type": "naive"}], "is the name of a model itself"),
        ([{"name": "actuals", "type": "naive"}], "not actuals"),
        ([{"name": "A b", "type": "naive"}], "lower-case letters"),
        ([{"type": "naive"}], "a name, or a mapping"),
        ([], "a list of names"),
    ],
)
def test_a_wrong_model_is_refused_by_name_with_what_is_allowed(models: list[object], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        build(models=models)
    assert told in str(caught.value)


def test_models_are_read_from_a_variable_and_go_to_a_cluster_as_they_were_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = {"name": "pool", "type": "combine", "of": ["naive", "big"], "how": "linear_pool"}
    monkeypatch.setenv("FORECAST_PLATFORM_MODELS", json.dumps(["naive", BIG, pool]))
    settings = build()
    assert settings.models == ("naive", "big", "pool")
    sent = settings.model_dump(mode="json", include={"models"})
    monkeypatch.delenv("FORECAST_PLATFORM_MODELS")
    again = Settings(**sent)
    assert [again.model_spec(name) for name in again.models] == [settings.model_spec(name) for name in settings.models]
    spec = settings.model_spec("pool")
    assert ModelSpec.from_json(spec.to_json()) == spec


@pytest.mark.slow
def test_a_fit_that_takes_longer_than_the_model_s_time_limit_is_ended_and_fails_its_window(small: Path) -> None:
    slow = [{"name": "late", "type": "endless"}, {"name": "soon", "type": "endless", "params": {"seconds": 0.01}}]
    platform = Platform.from_settings(settings_for(small, models=slow, plugins=[kept_models.__name__]))
    told = train(platform, "Alpha", "late", [WINDOW]).failed[WINDOW]
    assert told == "the fit took over 5 s, the model's time limit, and was ended"
    assert train(platform, "Alpha", "soon", [WINDOW]).written == {WINDOW}


def test_a_model_whose_library_is_missing_is_refused_by_name_with_the_command(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "big", [WINDOW])
    tags = ModelTags(extra="prophet", requires=("no_such_library",))
    monkeypatch.setattr(registry.model_class("xgboost"), "tags", tags)
    mend = r"model 'big' needs no_such_library: install it with `python -m pip install 'forecast-platform\[prophet\]'`"
    with pytest.raises(RefusedError, match=mend):
        train(platform, "Alpha", "big", [WINDOW], overwrite=True)
    with pytest.raises(RefusedError, match=mend):
        forecast(platform, "Alpha", "big", SPAN)
    assert build(models=["naive", BIG]).models == ("naive", "big"), "the settings, and with them the graph, load"
