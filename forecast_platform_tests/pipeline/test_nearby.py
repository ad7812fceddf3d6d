"""A nearby series with bars and a roll rule through the tables: what models read, what makes forecasts stale."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.models import registry
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.fits import load_model
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, ingest_all, settings_for, with_bars, write_landing

WINDOW = dt.date(2018, 1, 1)
SPAN = days("2018-01-08", "2018-01-24")
NEARBY = {"series": [{"name": "Alpha", "roll_rule": "wti", "regions": []}]}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alpha with bars and a second contract, trained for one window."""
    root = tmp_path_factory.mktemp("nearby")
    write_landing(root / "landing")
    with_bars(root / "landing" / "market" / "alpha.csv")
    platform = Platform.from_settings(settings_for(root, **NEARBY))
    ingest_all(platform)
    for model in ("naive", "random_walk"):
        assert not train(platform, "Alpha", model, [WINDOW]).failed
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A copy of this test's own."""
    shutil.copytree(template, tmp_path / "platform")
    return tmp_path / "platform"


def platform_of(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **{**NEARBY, **changes}))


def paths(platform: Platform, model: str) -> dict[dt.date, np.ndarray]:
    return Reader(platform.settings, platform.warehouse).paths("Alpha", model)


def change(root: Path, column: str, day: str, factor: float) -> None:
    file = root / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file, float_precision="round_trip")
    frame.loc[frame.date == day, column] *= factor
    frame.to_csv(file, index=False)
    ingest_all(platform_of(root))


def test_a_history_has_what_its_model_reads_and_no_bar_that_was_carried_over(root: Path) -> None:
    table = platform_of(root).series_table("Alpha")
    span = np.datetime64("2016-01-01"), np.datetime64("2018-01-01")
    bare = table.history(*span, (), registry.get("naive").reads)
    assert (bare.high, bare.low, bare.close_2, bare.schedule) == (None, None, None, None)
    full = table.history(*span, (), registry.get("random_walk").reads)
    for name in ("high", "low", "close_2"):
        own = full.own_values[name]
        assert np.isfinite(own[full.observed]).mean() > 0.9, name
        assert np.isnan(own[~full.observed]).all(), name
    assert full.schedule is not None
    assert full.rolls is not None
    assert np.isin(full.dates[full.rolls], full.schedule.dates).all()
    assert full.rolls.sum() == 24


def test_a_fit_remembers_what_it_reads(root: Path) -> None:
    platform = platform_of(root)
    stored = load_model(platform, "Alpha", "random_walk", "v1.0", WINDOW)
    assert stored.reads == ("range", "rolls", "second_contract")
    assert stored.fitted.state["rolls"] is True
    assert stored.fitted.state["range_ratio"] > 0
    assert load_model(platform, "Alpha", "naive", "v1.0", WINDOW).reads == ()


def test_a_revised_bar_makes_stale_what_read_it_and_nothing_else(root: Path) -> None:
    platform = platform_of(root)
    for model in ("naive", "random_walk"):
        assert forecast(platform, "Alpha", model, SPAN).written == set(SPAN)
    change(root, "high", "2018-01-16", 1.02)
    again = {model: forecast(platform_of(root), "Alpha", model, SPAN) for model in ("naive", "random_walk")}
    assert again["naive"].skipped == set(SPAN)
    assert again["random_walk"].written == {day for day in SPAN if day > dt.date(2018, 1, 16)}


def test_no_bar_and_no_second_close_on_or_after_the_forecast_date_is_read(root: Path) -> None:
    platform = platform_of(root)
    forecast(platform, "Alpha", "random_walk", SPAN)
    before = paths(platform, "random_walk")
    for column in ("high", "close_2"):
        change(root, column, "2018-01-16", 1.03)
    after_change = platform_of(root)
    forecast(after_change, "Alpha", "random_walk", SPAN, overwrite=True)
    after = paths(after_change, "random_walk")
    same = {day: np.array_equal(before[day], after[day]) for day in SPAN}
    assert all(same[day] for day in SPAN if day <= dt.date(2018, 1, 16))
    assert not any(same[day] for day in SPAN if dt.date(2018, 1, 17) <= day <= dt.date(2018, 1, 19))


def test_a_file_s_stale_narrow_and_wrong_bars_count_as_none_to_the_bit(root: Path) -> None:
    """From the file to the paths: as if these cells were blank."""
    file = root / "landing" / "market" / "alpha.csv"
    good = pd.read_csv(file, float_precision="round_trip")
    bars = ["high", "low"]
    at = [row for row in range(400, len(good)) if good.loc[row - 3 : row, bars].notna().all(axis=None)]
    stale, repeated, narrow, crossed, above, below = (at[kind::97] for kind in range(0, 90, 15))
    bad = good.copy()
    bad.loc[stale, bars] = good.loc[[row - 1 for row in stale], bars].to_numpy()
    # Three sessions on end have the bar of the one before them.
    for row in repeated:
        bad.loc[row - 2 : row, bars] = good.loc[row - 3, bars].to_numpy(float)
    bad.loc[narrow, "high"] = bad.loc[narrow, "low"]
    bad.loc[crossed, bars] = bad.loc[crossed, bars[::-1]].to_numpy()
    bad.loc[above, "high"] = 1.3 * bad.loc[above, "close"]
    bad.loc[below, "low"] = 0.7 * bad.loc[below, "close"]
    blank = good.copy()
    spoilt = {*stale, *repeated, *(row - 1 for row in repeated), *(row - 2 for row in repeated)}
    blank.loc[sorted({*spoilt, *narrow, *crossed, *above, *below}), bars] = np.nan
    assert (pd.to_datetime(good.date.loc[sorted(spoilt)]) >= "2018-01-01").any()
    found = []
    for frame in (bad, blank, good):
        frame.to_csv(file, index=False)
        platform = platform_of(root)
        ingest_all(platform)
        assert train(platform, "Alpha", "random_walk", [WINDOW], overwrite=True).written
        forecast(platform, "Alpha", "random_walk", SPAN, overwrite=True)
        found.append(paths(platform, "random_walk"))
    assert all(np.array_equal(found[0][day], found[1][day]) for day in SPAN)
    assert not any(np.array_equal(found[0][day], found[2][day]) for day in SPAN)


def test_a_fit_that_knew_no_repeated_bars_goes_on_as_it_was(root: Path) -> None:
    """Algorithm version 2 took each bar for the day's own."""
    platform = platform_of(root)
    fitted = load_model(platform, "Alpha", "random_walk", "v1.0", WINDOW).fitted
    before = replace(fitted, state={key: value for key, value in fitted.state.items() if key != "own_bars"})
    table = platform.series_table("Alpha")
    history = table.history(np.datetime64("2015-01-01"), np.datetime64("2018-02-01"), (), ("range",))
    assert history.high is not None
    assert history.low is not None
    high, low = history.high.copy(), history.low.copy()
    day, last = (int(np.searchsorted(history.dates, np.datetime64(text))) for text in ("2018-01-10", "2018-01-09"))
    high[day], low[day] = high[last], low[last]
    stale = replace(history, high=high, low=low)
    blank = replace(history, high=np.where(history.dates == history.dates[day], np.nan, high), low=low)
    v = {
        (name, bars): one.variances(seen, one.filter(seen))[-1]
        for name, one in (("now", fitted), ("before", before))
        for bars, seen in (("stale", stale), ("blank", blank))
    }
    assert v["now", "stale"] == v["now", "blank"] == v["before", "blank"] != v["before", "stale"]


def test_another_rule_makes_stale_the_dates_that_see_another_roll_ahead(root: Path) -> None:
    platform = platform_of(root)
    forecast(platform, "Alpha", "random_walk", SPAN)
    table = platform.series_table("Alpha")
    assert table.schedule is not None
    assert np.datetime64("2018-01-23") in table.schedule.dates
    # Rolls once a year, in November: none is ahead in January.
    moved = {"series": [{"name": "Alpha", "regions": [], "roll_rule": {"months": "Z", "month": -1, "day": 26}}]}
    again = forecast(platform_of(root, **moved), "Alpha", "random_walk", SPAN)
    sees = {day for day in SPAN if dt.date(2018, 1, 23) - dt.timedelta(days=14) < day <= dt.date(2018, 1, 23)}
    assert again.written == sees
    assert again.skipped == set(SPAN) - sees


def test_a_rule_that_is_gone_says_how_to_mend_it(root: Path) -> None:
    platform = platform_of(root, series=[{"name": "Alpha", "regions": []}])
    outcome = forecast(platform, "Alpha", "random_walk", SPAN[:2])
    assert set(outcome.failed) == set(SPAN[:2])
    assert "set roll_rule of the series as it was, or train the model again" in outcome.failed[SPAN[0]]


def test_windows_fitted_before_go_on_under_their_own_algorithm_version(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a warehouse made by an earlier release meets."""
    platform = platform_of(root)
    kind = type(registry.get("random_walk"))
    with monkeypatch.context() as before:
        before.setattr(kind, "algorithm_version", 1)
        before.setattr(kind, "reads", ())
        train(platform, "Alpha", "random_walk", [WINDOW], overwrite=True)
        forecast(platform, "Alpha", "random_walk", SPAN[:8])
    old = paths(platform, "random_walk")
    upgraded = platform_of(root)
    outcome = forecast(upgraded, "Alpha", "random_walk", SPAN)
    assert (outcome.skipped, outcome.written) == (set(SPAN[:8]), set(SPAN[8:]))
    rows = upgraded.warehouse.read(DISTRIBUTIONS, ["algorithm_version"], {"model_name": "random_walk", "path_id": 0})
    assert rows["algorithm_version"].unique().to_pylist() == [1]
    # Training says what to do, and with --overwrite it is done.
    refused = train(upgraded, "Alpha", "random_walk", [WINDOW])
    assert "v1.0 was made with algorithm version 1, the code is at 3" in refused.failed[WINDOW]
    assert "raise the version tag (--model-version-tag)" in refused.failed[WINDOW]
    assert train(upgraded, "Alpha", "random_walk", [WINDOW], overwrite=True).written == {WINDOW}
    anew = forecast(upgraded, "Alpha", "random_walk", SPAN)
    assert anew.written == set(SPAN)
    assert not np.array_equal(paths(upgraded, "random_walk")[SPAN[1]], old[SPAN[1]])


def test_without_bars_and_rule_the_new_algorithm_gives_the_old_one_s_bits(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {"series": [{"name": "Beta", "regions": []}]}
    platform = platform_of(root, **plain)
    ingest_all(platform)
    kind, found = type(registry.get("random_walk")), []
    for version in (1, 2):
        monkeypatch.setattr(kind, "algorithm_version", version)
        monkeypatch.setattr(kind, "reads", () if version == 1 else ("range", "rolls", "second_contract"))
        train(platform, "Beta", "random_walk", [WINDOW], overwrite=True)
        stored = load_model(platform, "Beta", "random_walk", "v1.0", WINDOW)
        forecast(platform, "Beta", "random_walk", SPAN, overwrite=True)
        found.append(
            (stored.fitted.to_json(), Reader(platform.settings, platform.warehouse).paths("Beta", "random_walk"))
        )
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(found[0][1][day], found[1][1][day]) for day in SPAN)
