"""The reader: right rows by date, newest on or before a date and never a stale one unasked, incomplete runs, risk."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.pipeline.champions import promote
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.ingest import ingest
from forecast_platform.pipeline.publish import forecast_runs
from forecast_platform.read import NoForecastError, Reader, StaleForecastError, StaleForecastWarning
from forecast_platform.read.freshness import freshness, require_fresh
from forecast_platform.settings import SettingsError
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, POINT_FORECASTS, Table
from forecast_platform.work.platform import Platform
from forecast_platform_tests.read.conftest import SERIES, SPAN, at
from forecast_platform_tests.worlds import LAST as WHOLE
from forecast_platform_tests.worlds import days, ingest_all, settings_for

LAST = SPAN[-1]


def test_paths_come_by_date_ascending_and_by_series(reader: Reader) -> None:
    found = reader.paths("Alpha", "naive", "2018-01-03", "2018-01-05")
    assert list(found) == days("2018-01-03", "2018-01-05")
    assert all(paths.shape == (200, 14) for paths in found.values())
    other = reader.paths("Beta", "naive", "2018-01-03")
    assert not np.array_equal(other["2018-01-03"], found["2018-01-03"])


def test_latest_is_the_newest_on_or_before_the_date(reader: Reader) -> None:
    assert reader.latest("Alpha", "naive").forecast_date == LAST
    found = reader.latest("Alpha", "naive", on="2018-01-06")
    assert found.forecast_date == dt.date(2018, 1, 6)
    assert found.data_cutoff_date == dt.date(2018, 1, 5)
    assert found.training_cutoff_date == dt.date(2017, 12, 31)
    with pytest.raises(NoForecastError, match="there are 11, 2018-01-02 to 2018-01-12: see `forecast-platform cov"):
        reader.latest("Alpha", "naive", on="2018-01-01")


@pytest.mark.parametrize(
    ("moment", "behind", "due"),
    [
        ("2018-01-12 07:59", 0, None),  # yesterday's forecast is due until the daily run
        ("2018-01-13 09:00", 1, "2018-01-12"),  # Saturday's would have Friday's close
        ("2018-01-15 09:00", 1, "2018-01-12"),  # a holiday: Monday's knows no more than Saturday's
        ("2018-01-17 07:00", 1, "2018-01-12"),
        ("2018-01-17 08:00", 2, "2018-01-16"),
    ],
)
def test_a_forecast_without_the_newest_session_due_is_refused_unless_asked_for(
    reader: Reader, moment: str, behind: int, due: str | None
) -> None:
    late = Reader(at(reader.settings, moment), reader.warehouse)
    if due is None:
        assert late.latest("Alpha", "naive").sessions_behind == 0
        return
    lacking = rf"for 2018-01-12, made with the close of 2018-01-11: {behind} sessions? behind {due}, the newest due"
    with pytest.raises(StaleForecastError, match=f"{lacking}; make newer ones .*max_age={behind}"):
        late.latest("Alpha", "naive")
    with pytest.raises(StaleForecastError, match=lacking):
        late.risk("Alpha", "naive")
    with pytest.warns(StaleForecastWarning, match=lacking):
        warned = late.latest("Alpha", "naive", strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", StaleForecastWarning)
        allowed = late.latest("Alpha", "naive", max_age=behind)
        any_age = late.latest("Alpha", "naive", max_age=None)
    assert warned.sessions_behind == allowed.sessions_behind == any_age.sessions_behind == behind
    assert f"STALE: {behind} session" in str(allowed)


def test_a_stale_champion_that_is_not_configured_any_more_is_told_as_such(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    forecast(platform, "Alpha", "random_walk", [LAST])
    promote(platform, "Alpha", "random_walk", "v1.0", "it is better", force=True)
    mine = settings_for(small, models=("naive",), series=SERIES)
    assert Reader(at(mine, "2018-01-12 08:05")).latest("Alpha").model == "random_walk"
    late = Reader(at(mine, "2018-01-17 09:00"))
    told = r"Alpha by random_walk v1.0 \(not among the configured models: configure it, or promote another\) is for"
    with pytest.raises(StaleForecastError, match=told):
        late.latest("Alpha")
    with pytest.raises(StaleForecastError, match=told):
        late.portfolio({"Alpha": 1}).risk()


def test_a_series_that_has_ended_is_fresh_to_its_end(reader: Reader) -> None:
    ended = reader.settings.model_copy(update={"end_date": LAST})
    assert Reader(at(ended, "2026-11-25 12:00"), reader.warehouse).latest("Alpha", "naive").sessions_behind == 0
    later = reader.settings.model_copy(update={"end_date": dt.date(2018, 1, 17)})
    with pytest.raises(StaleForecastError, match="2 sessions behind 2018-01-16"):
        Reader(at(later, "2026-11-25 12:00"), reader.warehouse).latest("Alpha", "naive")
    with pytest.raises(StaleForecastError, match="set `end_date: 2018-01-12` of the series"):
        Reader(at(reader.settings, "2026-11-25 12:00"), reader.warehouse).latest("Alpha", "naive")


def test_the_end_that_an_error_names_is_that_of_the_newest_close(reader: Reader) -> None:
    settings, observed = at(reader.settings, "2018-01-17 09:00"), dt.date(2018, 1, 11)
    [series, *_] = settings.series
    found = freshness(settings, series, observed)
    # Made on a Sunday, without Friday's close: an end on that Sunday would have it due.
    made = dt.date(2018, 1, 14)
    with pytest.raises(StaleForecastError) as told:
        require_fresh(settings, found, "Alpha", made, observed, strict=True, max_age=0)
    [end] = re.findall(r"`end_date: (\S+)`", str(told.value))
    ended = settings.model_copy(update={"end_date": dt.date.fromisoformat(end)})
    assert freshness(ended, series, observed).behind == 0


def test_one_series_ends_while_the_others_go_on(reader: Reader) -> None:
    alpha, *others = reader.settings.series
    ended = alpha.model_copy(update={"end_date": LAST})
    settings = reader.settings.model_copy(update={"series": (ended, *others)})
    later = Reader(at(settings, "2026-11-25 12:00"), reader.warehouse)
    assert later.latest("Alpha", "naive").sessions_behind == 0
    with pytest.raises(StaleForecastError, match="Beta"):
        later.latest("Beta", "naive")


def test_a_past_day_is_judged_by_what_was_due_then(reader: Reader) -> None:
    late = Reader(at(reader.settings, "2026-11-25 12:00"), reader.warehouse)
    assert late.latest("Alpha", "naive", on=np.datetime64("2018-01-09")).sessions_behind == 0
    with pytest.raises(StaleForecastError, match="1 session behind 2018-01-12"):
        late.latest("Alpha", "naive", on="2018-01-16")
    long_after = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
    assert reader.latest("Alpha", "naive", as_of=long_after, max_age=None).sessions_behind > 1000
    with pytest.raises(ValueError, match="max_age = -1: sessions"):
        late.latest("Alpha", "naive", max_age=-1)


def test_names_are_taken_in_any_case_and_unknown_ones_name_the_nearest(reader: Reader) -> None:
    assert reader.latest("alpha", "NAIVE").series == "Alpha"
    assert list(reader.paths("BETA", "naive", LAST)) == [LAST]
    for wrong, told in (
        (lambda: reader.paths("Cocoa", "naive"), "'Cocoa' is not configured; known: Alpha, Beta"),
        (lambda: reader.latest("alpah"), "series 'alpah' is not configured, perhaps Alpha"),
        (lambda: reader.paths("Alpha", "naiv"), "model 'naiv' is not configured and has no forecast .*, perhaps naive"),
        (lambda: reader.points("Alpha", "xgbost"), "model 'xgbost' .* of Alpha; known: naive, random_walk"),
    ):
        with pytest.raises(SettingsError, match=told):
            wrong()


def test_what_is_not_there_is_an_error_that_says_what_is(reader: Reader) -> None:
    there = "there are 11, 2018-01-02 to 2018-01-12"
    for wrong, told in (
        (lambda: reader.points("Alpha", "naive", "2019-01-01"), f"Alpha by naive v1.0 for 2019-01-01; {there}"),
        (lambda: reader.paths("Alpha", "naive", "2019-01-01", "2019-02-01"), f"from 2019-01-01 to 2019-02-01; {there}"),
        (lambda: reader.paths("Alpha", "naive", version="v9"), "v9; Alpha has forecasts by naive v1.0, random_walk v1"),
        (lambda: reader.actuals("Alpha"), "no actuals of Alpha"),
    ):
        with pytest.raises(NoForecastError, match=told):
            wrong()


@pytest.mark.parametrize(
    "day",
    [
        "2018-01-05",
        dt.date(2018, 1, 5),
        dt.datetime(2018, 1, 5, 12, tzinfo=dt.timezone.utc),
        np.datetime64("2018-01-05"),
        np.datetime64("2018-01-05T12:00:00", "ns"),
        pd.Timestamp("2018-01-05"),
    ],
)
def test_a_day_may_be_given_in_any_form(reader: Reader, day: Any) -> None:
    found = reader.paths("Alpha", "naive", day)
    assert list(found) == [dt.date(2018, 1, 5)]
    assert found[day].shape == (200, 14)
    assert day in found
    assert found.get(day) is found[day]
    assert "2018-01-06" not in found
    assert found.get("2018-01-06", "none") == "none"
    assert reader.latest("Alpha", "naive", on=day).forecast_date == dt.date(2018, 1, 5)
    assert len(reader.points("Alpha", "naive", day)) == 14


@pytest.mark.parametrize("day", ["5.1.2018", 20180105, pd.NaT, np.datetime64("NaT")])
def test_what_is_no_day_is_told_with_what_is(reader: Reader, day: Any) -> None:
    with pytest.raises(ValueError, match=r'start = .*: a date is a text such as "2018-03-01", a datetime.date or a nu'):
        reader.points("Alpha", "naive", day)
    with pytest.raises(ValueError, match=r"as_of = .*: .*time zone"):
        reader.paths("Alpha", "naive", LAST, as_of="2018-01-05 12:00")
    found = reader.paths("Alpha", "naive", LAST)
    for look in (found.get, found.__contains__, found.__getitem__):
        with pytest.raises(ValueError, match=r"date = .*: a date is a text such as"):
            look(day)


def test_require_complete_leaves_out_dates_whose_run_is_not_complete(reader: Reader) -> None:
    assert list(reader.paths("Alpha", "naive", require_complete=True)) == SPAN[:3]
    assert set(reader.points("Alpha", "naive", require_complete=True).forecast_date.dt.date) == set(SPAN[:3])
    assert reader.latest("Alpha", "naive", require_complete=True, max_age=None).forecast_date == SPAN[2]
    with pytest.raises(StaleForecastError, match="for 2018-01-04"):
        reader.risk("Alpha", "naive", require_complete=True)
    with pytest.raises(NoForecastError, match=r"no complete forecast of Alpha by naive v1.0 for 2018-01-09; there are"):
        reader.paths("Alpha", "naive", "2018-01-09", require_complete=True)


def test_forecast_runs_are_partial_until_every_model_and_series_is_there(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    day = dt.date(2018, 1, 2)
    forecast(platform, "Alpha", "naive", [day])
    assert forecast_runs(platform, [day]) == {day: "partial"}
    for series in ("Alpha", "Beta"):
        for model in ("naive", "random_walk"):
            forecast(platform, series, model, [day])
    assert forecast_runs(platform, [day]) == {day: "complete"}
    assert forecast_runs(platform, [dt.date(2018, 1, 3)]) == {}


def test_point_forecasts_come_as_a_sorted_frame_with_what_they_were_made_of(reader: Reader) -> None:
    frame = reader.points("Alpha", "naive", "2018-01-03", "2018-01-04")
    assert len(frame) == 28
    assert frame.day_ahead.tolist() == list(range(1, 15)) * 2
    assert not [name for name, kind in frame.dtypes.items() if str(kind) == "object"]
    for name in ("forecast_date", "target_date", "data_cutoff_date", "last_observed_date"):
        assert np.issubdtype(frame[name].dtype, np.datetime64), name
    second = frame[frame.forecast_date == "2018-01-04"].iloc[0]
    assert second.last_observed_date == pd.Timestamp("2018-01-03")
    assert second.last_close == reader.last_close("Alpha", "2018-01-03")
    assert (second.model_name, second.staleness_days) == ("naive", 0)


def test_every_result_carries_what_it_was_made_of_and_converts(reader: Reader) -> None:
    latest, close = reader.latest("Alpha", "naive"), reader.last_close("Alpha", "2018-01-11")
    assert (latest.last_close, latest.last_observed_date, latest.staleness_days) == (close, dt.date(2018, 1, 11), 0)
    risk, many = reader.risk("Alpha", "naive"), reader.paths("Alpha", "naive")
    odds = reader.odds("Alpha", 100.0, "naive", SPAN[0], SPAN[3])
    wide = reader.quantiles("Alpha", [0.05, 0.5], "naive")
    assert risk.forecast.last_close == close
    assert many.facts.to_pylist()[-1] | {"last_close": close, "staleness_days": 0} == many.facts.to_pylist()[-1]
    risks = reader.risk("Alpha", "naive", SPAN[0], SPAN[3])
    for found, rows in ((latest, 14), (risk, 2), (many, 11 * 200), (odds, 4 * 14), (wide, 14), (risks, 4 * 2)):
        frame = found.to_pandas()
        assert len(frame) == found.to_arrow().num_rows == rows
        assert not [name for name, kind in frame.dtypes.items() if str(kind) == "object"]
        assert found.to_polars().shape == frame.shape
        assert "Alpha by naive v1.0" in str(found)
        assert ", in US cents/lb" in str(found).partition("\n\n")[0]
    assert f"last close {close:,.2f} US cents/lb on 2018-01-11, no session due is lacking" in str(risk)
    assert wide.to_pandas()["q0.05"].to_numpy() == pytest.approx(latest.quantile(0.05))
    assert odds.above.shape == (4, 14)
    assert np.array_equal(odds.above[3], reader.latest("Alpha", "naive", on=SPAN[3]).probability_above(100.0))


def test_a_champion_that_nobody_chose_is_called_the_default(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    for model in platform.settings.models:
        forecast(platform, "Alpha", model, [LAST])
    reader = Reader(platform.settings, platform.warehouse)
    assert reader.champion("Alpha") == ("naive", "v1.0")
    assert not reader.promoted("Alpha")
    assert "Alpha by naive v1.0 (default, nobody promoted one)" in str(reader.latest("Alpha", on=LAST))
    promote(platform, "Alpha", "random_walk", "v1.0", "it is better", force=True)
    assert reader.promoted("Alpha")
    assert "Alpha by random_walk v1.0 (champion)" in str(reader.latest("Alpha", on=LAST))


def test_what_had_been_published_is_that_of_the_champion_of_then(small: Path) -> None:
    """The one of today was chosen by scores that nobody knew then."""
    made = dt.datetime(2018, 1, 9, 17, tzinfo=dt.timezone.utc)
    promoted, day = made + dt.timedelta(hours=2), made.date()
    platform = Platform.from_settings(settings_for(small).with_clock(lambda: made))
    for model in platform.settings.models:
        forecast(platform, "Alpha", model, [day])
    later = Platform.from_settings(settings_for(small).with_clock(lambda: promoted))
    promote(later, "Alpha", "random_walk", "v1.0", "it is better", force=True)
    reader = Reader(later.settings, later.warehouse)
    for moment, model, chosen in (
        (made, "naive", "default, nobody promoted one"),
        (promoted, "random_walk", "champion"),
    ):
        found = reader.latest("Alpha", as_of=moment)
        assert (found.model, found.chosen) == (model, chosen)
        paths = reader.paths("Alpha", start=day, as_of=moment)
        assert (paths.model, paths.chosen) == (model, chosen)
        assert np.array_equal(paths[day], found.paths)
    assert reader.latest("Alpha").model == "random_walk"


def test_what_is_read_while_a_forecast_is_made_anew_is_of_one_of_the_two(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of yesterday's close, then of the one that came late: never paths of the one with the close of the other."""
    day, late = dt.date(2018, 1, 12), small / "landing" / "market" / "alpha.csv"
    whole = late.read_text()
    late.write_text("".join(line for line in whole.splitlines(True) if line < "2018-01-11" or line[0] == "d"))
    shutil.rmtree(small / "warehouse" / "commodity" / "silver")
    platform = Platform.from_settings(settings_for(small, series=SERIES))
    ingest(platform, platform.settings.series_names, platform.settings.history_start, WHOLE)
    for series in ("Alpha", "Beta"):
        assert forecast(platform, series, "naive", [day]).written == {day}
    earlier = dt.date(2018, 1, 10)
    late.write_text(whole)
    ingest_all(platform)
    warehouse = Platform.from_settings(platform.settings).warehouse
    made: list[set[dt.date]] = []

    def read(self: DeltaWarehouse, table: Table, *args: Any, **more: Any) -> pa.Table:
        found = original(self, table, *args, **more)
        if self is warehouse and table.name in (DISTRIBUTIONS.name, POINT_FORECASTS.name) and not made:
            made.append(set())
            made.append(forecast(platform, "Alpha", "naive", [day]).written)
        return found

    original = DeltaWarehouse.read
    reader = Reader(platform.settings, warehouse)
    before = reader.paths("Alpha", "naive", day)
    points = reader.points("Alpha", "naive", day)
    sizes = reader.portfolio({"Alpha": 1, "Beta": 1}, "naive").risk(on=day, max_age=None)
    assert sizes.last_observed[0, 0] == np.datetime64(earlier)
    saved = small.with_name("saved")
    shutil.copytree(small / "warehouse", saved)
    for ask in ("paths", "points", "portfolio"):
        shutil.rmtree(small / "warehouse")
        shutil.copytree(saved, small / "warehouse")
        made.clear()
        with monkeypatch.context() as patch:
            patch.setattr(DeltaWarehouse, "read", read)
            if ask == "paths":
                found = reader.paths("Alpha", "naive", day)
                facts = found.facts.to_pylist()[0]
                assert np.array_equal(found[day], before[day])
                assert (facts["last_observed_date"], facts["last_close"]) == (
                    earlier,
                    before.facts["last_close"][0].as_py(),
                )
            elif ask == "points":
                frame = reader.points("Alpha", "naive", day)
                assert frame.forecast_mean.equals(points.forecast_mean)
                assert frame.last_close.isna().all(), "of the paths that they are of nothing is known any longer"
            else:
                risk = reader.portfolio({"Alpha": 1, "Beta": 1}, "naive").risk(start=day)
                assert risk.last_observed[0, 0] == np.datetime64(earlier)
                assert np.array_equal(risk.profits, sizes.profits)
        assert made[1] == {day}, ask
        assert reader.latest("Alpha", "naive", on=day).last_observed_date == dt.date(2018, 1, 11)


def test_actuals_are_the_closes_and_nan_while_unknown(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small))
    write_actuals(platform, "Alpha", days("2018-03-20", "2018-03-28"))
    found = Reader(platform.settings, platform.warehouse).actuals("Alpha", "2018-03-26")[dt.date(2018, 3, 26)]
    _, closes, _ = platform.closes("Alpha", dt.date(2018, 3, 26), dt.date(2018, 4, 1))
    assert len(closes) == 4
    assert np.array_equal(found[:4], closes.astype(np.float32))
    assert np.isnan(found[4:]).all()
    every = Reader(platform.settings, platform.warehouse).actuals("Alpha")
    assert "2018-03-26" in every
    assert np.array_equal(every["2018-03-26"], found, equal_nan=True)


def test_risk_of_a_short_position_is_that_of_rising_prices(reader: Reader) -> None:
    found = reader.latest("Alpha", "naive")
    short = reader.risk("Alpha", "naive", levels=(0.95,), day_ahead=10, position=-1.0)[0.95]
    assert short["var"] == pytest.approx(float(np.quantile(found.paths[:, 9].astype(float) - found.last_close, 0.95)))
    assert short["cvar"] > short["var"]


def test_risk_over_dates_is_that_of_each_date_alone(reader: Reader) -> None:
    many = reader.risk("Alpha", "naive", "2018-01-02", "2018-01-12", levels=(0.95, 0.99), day_ahead=7, position=-3.0)
    assert many.dates.tolist() == SPAN
    for place, day in enumerate(SPAN):
        one = reader.risk("Alpha", "naive", on=day, day_ahead=7, position=-3.0)
        for level in (0.95, 0.99):
            assert many[level]["var"][place] == pytest.approx(one[level]["var"])
            assert many[level]["cvar"][place] == pytest.approx(one[level]["cvar"])
    frame = many.to_pandas()
    assert frame["forecast_date"].tolist() == [pd.Timestamp(day) for day in SPAN for _ in range(2)]
    assert frame["var"].iloc[3] == many[0.99]["var"][1]
    assert "3 units short, held to day 7" in str(many)
    with pytest.raises(ValueError, match="give `on` for one date, or `start` and `end` for many"):
        reader.risk("Alpha", "naive", SPAN[0], on=SPAN[1])


def test_the_package_says_that_it_is_typed() -> None:
    import forecast_platform

    assert (Path(forecast_platform.__file__).parent / "py.typed").is_file()
