"""Promotion and rollback write what the reader follows, and refuse what would leave it empty."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from forecast_platform.cli import main as cli
from forecast_platform.pipeline import champions
from forecast_platform.pipeline.champions import ChampionError, Duel
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.read.tables import FIRST_CHOICE
from forecast_platform.warehouse.schemas import FORECAST_METADATA, POINT_FORECASTS, UNIFIED_DATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import MODELS, settings_for

NEWEST = dt.date(2018, 3, 30)
"""The day after the newest close."""


def _platform(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **changes))


@pytest.fixture
def ready(small: Path) -> Platform:
    """Both models have the newest date in v1.0, random_walk also in v1.1."""
    platform = _platform(small)
    for model in MODELS:
        assert forecast(platform, "Alpha", model, [NEWEST]).written
    train(platform, "Alpha", "random_walk", [dt.date(2018, 1, 1)], version="v1.1")
    assert forecast(platform, "Alpha", "random_walk", [NEWEST], version="v1.1").written
    return platform


def _followed(platform: Platform) -> tuple[str, str]:
    return Reader(platform.settings, platform.warehouse).champion("Alpha")


def test_the_reader_follows_promotions_and_rollbacks_one_back_each(ready: Platform) -> None:
    assert _followed(ready) == champions.champion(ready, "Alpha") == ("naive", "v1.0")
    first = champions.promote(ready, "Alpha", "random_walk", "v1.0", "lower CRPS", by="ann")
    assert (first.by, first.why) == ("ann", "lower CRPS")
    champions.promote(ready, "Alpha", "random_walk", "v1.1", "lower still")
    champions.promote(ready, "Alpha", "naive", "v1.0", "a mistake")
    assert _followed(ready) == ("naive", "v1.0")
    back = champions.rollback(ready, "Alpha", "it was one")
    assert back.why == "rollback from naive v1.0: it was one"
    assert _followed(ready) == ("random_walk", "v1.1")
    champions.rollback(ready, "Alpha")
    assert _followed(ready) == champions.champion(ready, "Alpha") == ("random_walk", "v1.0")
    with pytest.raises(ChampionError, match=r"has no champion before .*the first ever promoted.*forecast-platform"):
        champions.rollback(ready, "Alpha")
    # A promotion after rollbacks goes on from where they led.
    champions.promote(ready, "Alpha", "naive", "v1.0", "again")
    champions.rollback(ready, "Alpha")
    assert _followed(ready) == ("random_walk", "v1.0")
    assert len(champions.decisions(ready, "Alpha")) == 7
    assert champions.decisions(ready, "Beta") == []
    assert Reader(ready.settings, ready.warehouse).latest("Alpha", on=NEWEST).model == "random_walk"


def test_a_promotion_that_would_leave_the_reader_empty_is_refused(ready: Platform) -> None:
    with pytest.raises(ChampionError, match=r"naive v1.1 has no forecast of Alpha for 2018-03-30.*infer .*--date"):
        champions.promote(ready, "Alpha", "naive", "v1.1", "hope")
    with pytest.raises(ChampionError, match="model 'xgboost' is not configured"):
        champions.promote(ready, "Alpha", "xgboost", "v1.0", "hope")
    with pytest.raises(ChampionError, match="needs a reason"):
        champions.promote(ready, "Alpha", "naive", "v1.0", " ")
    with pytest.raises(ChampionError, match="how rollbacks are told"):
        champions.promote(ready, "Alpha", "naive", "v1.0", "rollback from somewhere")
    assert champions.decisions(ready, "Alpha") == []
    champions.promote(ready, "Alpha", "naive", "v1.1", "forced", force=True)
    with pytest.raises(ChampionError, match="is the champion of Alpha already"):
        champions.promote(ready, "Alpha", "naive", "v1.1", "again", force=True)


def test_a_rollback_to_a_champion_without_todays_forecast_is_refused(ready: Platform) -> None:
    champions.promote(ready, "Alpha", "naive", "v0.9", "long ago", force=True)
    champions.promote(ready, "Alpha", "random_walk", "v1.0", "better")
    with pytest.raises(ChampionError, match=r"naive v0.9 has no forecast"):
        champions.rollback(ready, "Alpha")
    assert champions.rollback(ready, "Alpha", force=True).version == "v0.9"


def test_the_daily_run_covers_configured_active_champion_and_what_a_rollback_needs(ready: Platform) -> None:
    assert champions.versions_to_run(ready) == [("naive", "v1.0"), ("random_walk", "v1.0")]
    champions.promote(ready, "Alpha", "naive", "v0.8", "one", force=True)
    champions.promote(ready, "Alpha", "naive", "v0.9", "two", force=True)
    champions.promote(ready, "Alpha", "random_walk", "v1.1", "three")
    assert champions.versions_to_run(ready)[2:] == [("naive", "v0.9"), ("random_walk", "v1.1")]
    assert champions.versions_to_run(ready, ["Beta"]) == [("naive", "v1.0"), ("random_walk", "v1.0")]
    champions.rollback(ready, "Alpha", force=True)
    assert champions.versions_to_run(ready)[2:] == [("naive", "v0.8"), ("naive", "v0.9")]
    active = _platform(ready.settings.warehouse.parent, active_versions=("v2.0",))
    assert ("random_walk", "v2.0") in champions.versions_to_run(active)


def test_the_mlflow_alias_follows_and_its_failure_is_a_note(ready: Platform) -> None:
    from forecast_platform.pipeline.tracking import Tracker

    client = Tracker(ready.settings).client
    assert champions.mirror(ready, champions.promote(ready, "Alpha", "random_walk", "v1.0", "better")) is None
    held = client.get_model_version_by_alias("Alpha-random_walk", "champion")
    assert (held.tags["model_version"], held.tags["window"]) == ("v1.0", "2018-01-01")
    assert champions.mirror(ready, champions.promote(ready, "Alpha", "naive", "v1.0", "back")) is None
    assert client.get_model_version_by_alias("Alpha-naive", "champion").tags["window"] == "2018-01-01"
    assert "champion" not in client.get_registered_model("Alpha-random_walk").aliases
    untracked = champions.promote(ready, "Alpha", "naive", "v3.0", "no fit", force=True)
    assert "no tracked fit of naive v3.0" in (champions.mirror(ready, untracked) or "")
    unreachable = _platform(ready.settings.warehouse.parent, mlflow_tracking_uri="sqlite:////proc/none/mlflow.db")
    note = champions.mirror(unreachable, champions.decisions(ready, "Alpha")[0])
    assert note is not None
    assert "was not moved" in note


def _scores(gain: float, n: int = 400) -> pd.DataFrame:
    days = pd.bdate_range("2018-01-01", periods=n)
    rng = np.random.default_rng(4)
    base = 2 + rng.random(n)
    frames = []
    for version, loss in (("v1.0", base), ("v1.1", base * (1 - gain) + rng.normal(0, 0.02, n))):
        frames.append(
            pd.DataFrame(
                {
                    "commodity": "Alpha",
                    "model_name": "random_walk",
                    "model_version": version,
                    "forecast_date": days,
                    "last_observed_date": days - pd.offsets.BDay(1),
                    "crps_14d": loss,
                    "coverage_80_14d": 0.8,
                    "actuals_available": 14,
                    "model_success": True,
                    "has_data_leakage": False,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_a_duel_says_which_is_better_by_how_much_and_how_sure() -> None:
    a, b = ("random_walk", "v1.0"), ("random_walk", "v1.1")
    won = champions.duel(_scores(0.05), a, b)
    assert won.n_dates == 400
    assert won.gain == pytest.approx(0.05, abs=0.005)
    assert champions.decisive(won)
    assert won.verdict("A", "B").startswith("B is better than A by")
    assert "a clear difference" in won.verdict("A", "B")
    lost = champions.duel(_scores(0.05), b, a)
    assert lost.verdict("B", "A").startswith("B is better than A")
    assert not champions.decisive(lost)
    close = champions.duel(_scores(0.0), a, b)
    assert "not enough to tell them apart" in close.verdict("A", "B")
    assert not champions.decisive(close)
    assert not champions.decisive(champions.duel(_scores(0.05, 40), a, b))
    # Only dates that both have count, and a Saturday's forecast rests on the same close as Monday's.
    fewer = _scores(0.05)
    fewer = fewer.drop(fewer.index[-100:])
    assert champions.duel(fewer, a, b).n_dates == 300
    same_close = _scores(0.05)
    same_close["last_observed_date"] = same_close["last_observed_date"].where(
        same_close["forecast_date"].dt.dayofweek != 1, same_close["forecast_date"] - pd.Timedelta(days=4)
    )
    assert champions.duel(same_close, a, b).n_dates == 320
    assert champions.duel(fewer, a, ("naive", "v1.0")).n_dates == 0


def _write_scores(platform: Platform, rows: pd.DataFrame) -> None:
    import pyarrow as pa

    from forecast_platform.warehouse.schemas import FORECAST_METADATA

    rows = rows.assign(commodity="Alpha", model_id="x")
    schema = FORECAST_METADATA.arrow_schema()
    for name in schema.names:
        if name not in rows:
            rows[name] = None
    table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
    where = {"commodity": "Alpha", "model_name": sorted(set(rows["model_name"])), "model_version": ["v1.0", "v1.1"]}
    platform.warehouse.replace(FORECAST_METADATA, table, where)


def test_nothing_is_promoted_by_itself_unless_the_setting_says_so(ready: Platform) -> None:
    _write_scores(ready, _scores(0.05))
    champions.promote(ready, "Alpha", "random_walk", "v1.0", "start")
    assert champions.auto_promote(ready, "Alpha") is None
    willing = _platform(ready.settings.warehouse.parent, auto_promote=True, active_versions=("v1.1",))
    chosen = champions.auto_promote(willing, "Alpha")
    assert chosen is not None
    assert (chosen.model, chosen.version) == ("random_walk", "v1.1")
    assert chosen.why.startswith("auto_promote: random_walk v1.1 is better than random_walk v1.0 by")
    assert champions.auto_promote(willing, "Alpha") is None


@pytest.mark.parametrize(("factor", "promoted"), [(0.9, False), (1.1, True)])
def test_one_that_is_worse_than_naive_is_never_promoted_by_itself(
    ready: Platform, factor: float, promoted: bool
) -> None:
    both = _scores(0.05)
    naive = both[both["model_version"] == "v1.1"].assign(model_name="naive", model_version="v1.0")
    naive["crps_14d"] *= factor
    _write_scores(ready, pd.concat([both, naive]))
    champions.promote(ready, "Alpha", "random_walk", "v1.0", "start")
    willing = _platform(ready.settings.warehouse.parent, auto_promote=True, active_versions=("v1.1",))
    chosen = champions.auto_promote(willing, "Alpha")
    # Where naive is better than both it may itself be chosen; the challenger that is worse than it never.
    assert (chosen is not None and chosen.model == "random_walk") == promoted


def test_of_several_challengers_each_must_be_surer() -> None:
    just = Duel(100, 2.0, 1.9, 0.04, 0.8, 0.8)
    assert champions.decisive(just)
    assert not champions.decisive(just, 2)
    assert champions.decisive(replace(just, p_value=0.024), 2)
    assert not champions.decisive(replace(just, p_value=float("nan")))


def test_the_same_forecasts_are_told_to_be_the_same() -> None:
    assert Duel(100, 2.0, 2.0, 1.0, 0.8, 0.8).verdict("A", "B") == "A and B are the same"


def test_promote_and_rollback_from_a_shell(shell, ready: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell("promote", "--commodity", "alpha", "--model", "random_walk", "--why", "lower CRPS") == cli.OK
    shown = capsys.readouterr().out
    assert "Alpha: the champion is random_walk v1.0 (before: naive v1.0)" in shown
    assert "lower CRPS" in shown
    assert "MLflow's alias champion of Alpha-random_walk follows" in shown
    assert not ready.settings.reports.exists()
    assert shell("daily-page") == cli.OK
    page = ready.settings.reports / "daily.html"
    assert "random_walk v1.1, champion" not in page.read_text(encoding="utf-8")
    assert shell("rollback", "--commodity", "Alpha") == cli.WRONG
    assert "nothing to roll back to" in capsys.readouterr().err
    arguments = ("--commodity", "Alpha", "--model", "random_walk", "--model-version-tag", "v1.1", "--why", "newer")
    assert shell("promote", *arguments) == cli.OK
    # A page that is there does not go on naming the one before.
    assert "random_walk v1.1, champion" in page.read_text(encoding="utf-8")
    assert shell("rollback", "--commodity", "Alpha", "--why", "worse") == cli.OK
    assert "random_walk v1.1, champion" not in page.read_text(encoding="utf-8")
    assert "rollback from random_walk v1.1: worse" in capsys.readouterr().out
    assert _followed(ready) == ("random_walk", "v1.0")
    assert shell("promote", "--commodity", "Gamma", "--model", "naive", "--why", "x") == cli.WRONG
    assert "series 'Gamma' is not configured" in capsys.readouterr().err


def test_compare_from_a_shell(shell, ready: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    from forecast_platform.pipeline.scoring import score

    assert shell("compare", "v1.0", "v1.1", "--commodity", "Alpha") == cli.FAILED
    assert "nothing to compare" in capsys.readouterr().out
    days = [dt.date(2018, 1, 2) + dt.timedelta(days=n) for n in range(60)]
    for version in ("v1.0", "v1.1"):
        forecast(ready, "Alpha", "random_walk", days, version=version)
        score(ready, "Alpha", "random_walk", [dt.date(2018, 1, 1)], version=version)
    assert shell("compare", "v1.0", "v1.1", "--commodity", "Alpha", "--models", "random_walk") == cli.OK
    assert "random_walk v1.0 and random_walk v1.1 are the same" in capsys.readouterr().out
    assert shell("compare", "v1.0", "v1.0") == cli.WRONG
    assert shell("compare", "v1.0", "v1.1", "--models", "oracle") == cli.WRONG


SCORED = (dt.date(2017, 9, 1), dt.date(2018, 3, 30))


def _with_scores(
    root: Path,
    crps: dict[str, float],
    *,
    factors: dict[str, np.ndarray] | None = None,
    begin: dict[str, int] | None = None,
    **changes: object,
) -> Platform:
    """A platform whose forecasts of the newest date are there, with made-up CRPS of every date before it: by model a
    level, factors on it by date, and how many of the first dates it lacks."""
    platform = _platform(root, **changes)
    days = [SCORED[0] + dt.timedelta(days=n) for n in range((SCORED[1] - SCORED[0]).days)]
    wave = 1 + 0.1 * np.sin(np.arange(len(days)))
    for model, level in crps.items():
        first = (begin or {}).get(model, 0)
        scale = wave * (factors or {}).get(model, np.ones(len(days)))
        rows = [
            {
                "commodity": "Alpha",
                "model_name": model,
                "model_version": "v1.0",
                "forecast_date": day,
                "crps_14d": level * factor,
                "coverage_80_14d": 0.8,
                "coverage_95_14d": 0.95,
                "actuals_available": 14,
                "has_data_leakage": False,
                "model_success": True,
                "last_observed_date": day - dt.timedelta(days=1),
            }
            for day, factor in zip(days[first:], scale[first:], strict=True)
        ]
        table = pa.Table.from_pylist(rows, schema=FORECAST_METADATA.arrow_schema())
        platform.warehouse.replace(FORECAST_METADATA, table, {"commodity": "Alpha", "model_name": model})
    return platform


def test_the_first_champion_is_the_model_with_the_best_score_and_the_reason_is_kept(ready: Platform) -> None:
    platform = _with_scores(ready.settings.warehouse.parent, {"naive": 1.0, "random_walk": 0.97})
    chosen = champions.choose_first(platform, "Alpha")
    assert chosen is not None
    assert (chosen.model, chosen.version) == _followed(platform) == ("random_walk", "v1.0")
    assert "nobody having promoted one: random_walk has the best CRPS of naive, random_walk to 2018-03-29" in chosen.why
    assert "3.0 % better than naive" in chosen.why
    # Never again, however the scores turn.
    again = _with_scores(ready.settings.warehouse.parent, {"naive": 0.5, "random_walk": 0.97})
    assert champions.choose_first(again, "Alpha") is None
    assert _followed(again) == ("random_walk", "v1.0")


def test_a_model_that_is_worse_than_naive_is_not_chosen(ready: Platform) -> None:
    platform = _with_scores(ready.settings.warehouse.parent, {"naive": 1.0, "random_walk": 1.01})
    chosen = champions.choose_first(platform, "Alpha")
    assert chosen is not None
    assert chosen.model == "naive"
    assert "none of naive, random_walk is better than naive" in chosen.why


def test_candidates_are_compared_on_the_dates_that_all_of_them_have(ready: Platform) -> None:
    # On its own dates, naive's easiest, the newcomer looks best; on these dates the other one is better still.
    factors = {"random_walk": np.where(np.arange(210) < 100, 1.0, 0.8), "xgboost": np.ones(210)}
    crps = {"naive": 1.0, "random_walk": 1.0, "xgboost": 0.85}
    models = ("naive", "random_walk", "xgboost")
    root = ready.settings.warehouse.parent
    platform = _with_scores(root, crps, factors=factors, begin={"xgboost": 110}, models=models)
    chosen = champions.choose_first(platform, "Alpha")
    assert chosen is not None
    assert chosen.model == "random_walk"
    assert f"over {210 - 110} dates that all of them have" in chosen.why
    assert "20.0 % better than naive" in chosen.why


def test_a_model_of_too_few_dates_is_no_candidate_and_takes_none_from_the_others(ready: Platform) -> None:
    models = ("naive", "random_walk", "xgboost")
    platform = _with_scores(
        ready.settings.warehouse.parent,
        {"naive": 1.0, "random_walk": 0.97, "xgboost": 0.5},
        begin={"xgboost": 210 - champions.DECISIVE_DATES + 1},
        models=models,
    )
    chosen = champions.choose_first(platform, "Alpha")
    assert chosen is not None
    assert chosen.model == "random_walk"
    assert "of naive, random_walk to" in chosen.why
    assert "over 210 dates" in chosen.why
    assert chosen.why.endswith("; not compared, with fewer than 60 scored last closes: xgboost")


def test_dear_days_count_no_more_than_cheap_ones(ready: Platform) -> None:
    """Half the days at ten times the price and the CRPS: worse on these, better by more on the others."""
    root = ready.settings.warehouse.parent
    dear = np.where(np.arange(210) < 105, 10.0, 1.0)
    factors = {"naive": dear, "random_walk": dear * np.where(dear > 1, 1.02, 0.95)}
    platform = _with_scores(root, {"naive": 1.0, "random_walk": 1.0}, factors=factors)
    prices = dt.date(2017, 9, 1) + dt.timedelta(days=104)
    rows = platform.warehouse.read(UNIFIED_DATA, where={"commodity": "Alpha"}).to_pandas()
    rows.loc[pd.to_datetime(rows["date"]).dt.date < prices, "close"] *= 10
    table = pa.Table.from_pandas(rows, schema=UNIFIED_DATA.arrow_schema(), preserve_index=False)
    platform.warehouse.replace(UNIFIED_DATA, table, {"commodity": "Alpha"})
    chosen = champions.choose_first(platform, "Alpha")
    assert chosen is not None
    assert chosen.model == "random_walk"
    assert "1.6 % better than naive" in chosen.why


def test_the_first_champion_is_chosen_before_anything_is_promoted_by_itself(ready: Platform) -> None:
    root = ready.settings.warehouse.parent
    platform = _with_scores(root, {"naive": 1.0, "random_walk": 0.97}, auto_promote=True)
    [made] = champions.review(platform, "Alpha")
    assert made.why.startswith(FIRST_CHOICE)
    assert champions.review(platform, "Alpha") == []


def test_someone_s_decision_is_left_alone(ready: Platform) -> None:
    platform = _with_scores(ready.settings.warehouse.parent, {"naive": 1.0, "random_walk": 0.9})
    champions.promote(platform, "Alpha", "naive", "v1.0", "we know it")
    assert champions.choose_first(platform, "Alpha") is None
    assert _followed(platform) == ("naive", "v1.0")


def test_nothing_is_chosen_of_one_model_nor_without_the_newest_forecast(ready: Platform) -> None:
    root = ready.settings.warehouse.parent
    assert champions.choose_first(_with_scores(root, {"naive": 1.0}), "Alpha") is None
    platform = _with_scores(root, {"naive": 1.0, "random_walk": 0.97})
    where = {"commodity": "Alpha", "model_name": "random_walk", "model_version": "v1.0"}
    platform.warehouse.replace(POINT_FORECASTS, POINT_FORECASTS.arrow_schema().empty_table(), where)
    assert champions.choose_first(platform, "Alpha") is None
    assert not champions.decisions(platform, "Alpha")
