"""Portfolios over the tables: shared scenarios, legs against the whole, what is refused with which mend."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecast_platform.pipeline.inference import forecast
from forecast_platform.read import NoForecastError, PortfolioError, Reader, StaleForecastError
from forecast_platform.settings import Settings, SettingsError
from forecast_platform.work.platform import Platform
from forecast_platform_tests.read.conftest import SERIES, SPAN, at
from forecast_platform_tests.worlds import settings_for

POSITIONS = {"alpha": 10, "Beta": -50}


def test_figures_are_those_of_the_summed_paths(reader: Reader) -> None:
    found = reader.portfolio(POSITIONS, "naive").risk(levels=(0.95, 0.99), horizon=10)
    legs = []
    for series, size in (("Alpha", 10 * 375), ("Beta", -50 * 1120)):
        latest = reader.latest(series, "naive")
        legs.append(size * (latest.paths[:, 9].astype(np.float64) - latest.last_close))
    assert np.array_equal(found.profits[:, 0], legs)
    total = np.sum(legs, axis=0)
    cut = np.quantile(total, 1 - 0.95)
    assert found[0.95].var[0] == pytest.approx(-cut)
    assert found[0.95].cvar[0] == pytest.approx(-total[total <= cut].mean())
    assert found[0.95].contribution.sum() == pytest.approx(found[0.95].cvar[0])
    # The two series move together, so that the short one hedges the long one.
    assert found[0.95].contribution[0, 0] < 0 < found[0.95].diversification[0]
    assert found.quantiles([0.5])[0, 0] == pytest.approx(np.median(total))
    assert found.probability_of_loss(1000)[0] == (total < -1000).mean()


def test_it_prints_what_it_is_made_of_and_converts(reader: Reader) -> None:
    found = reader.portfolio(POSITIONS, {"Alpha": "naive", "beta": "random_walk"}).risk(levels=[0.95], horizon=10)
    text = str(found)
    close = reader.last_close("Alpha", "2018-01-11")
    assert "portfolio in USD, forecast of 2018-01-12, held to day 10 (2018-01-21), 200 shared scenarios" in text
    assert (
        f"long 10 Alpha by naive v1.0 (asked for), last close {close:,.2f} US cents/lb on 2018-01-11, no session "
        "due is lacking"
    ) in text
    assert "short 50 Beta by random_walk v1.0" in text
    frame = found.to_pandas()
    assert frame.leg.tolist() == ["Alpha", "Beta", "portfolio", "sum of legs"]
    assert frame.exposure[0] == pytest.approx(10 * 375 * close)
    net, gross = frame.exposure[2:]
    assert net == pytest.approx(frame.exposure[:2].sum())
    assert gross == pytest.approx(frame.exposure[:2].abs().sum())
    assert frame.cvar_contribution[:2].sum() == pytest.approx(frame.cvar[2])
    assert frame.cvar_share[:2].sum() == pytest.approx(1.0)
    # Each row says whose forecast, from which close, in which money.
    assert frame.model[:2].tolist() == ["naive", "random_walk"]
    assert frame.unit.isna().tolist() == [False, True, True, True]
    assert frame.last_observed_date[0] == pd.Timestamp("2018-01-11")
    assert set(frame.currency) == {"USD"}
    assert "last_observed_date" not in text, "the heading says it of each leg"
    assert not [name for name, kind in frame.dtypes.items() if str(kind) == "object"]
    assert found.to_polars().shape == found.to_arrow().shape == frame.shape


def test_many_dates_are_the_same_as_each_alone_and_what_a_leg_lacks_is_named(small: Path) -> None:
    platform = Platform.from_settings(settings_for(small, series=SERIES))
    forecast(platform, "Alpha", "naive", SPAN[:4])
    forecast(platform, "Beta", "naive", SPAN[1:4])
    portfolio = Reader(platform.settings, platform.warehouse).portfolio(POSITIONS, "naive")
    many = portfolio.risk(start=SPAN[0], end="2018-01-31")
    assert many.dates.tolist() == SPAN[1:4]
    assert many.left_out == {SPAN[0]: ["Beta"]}
    assert "left out, since a leg lacks them: 1 forecast dates" in str(many)
    for place, day in enumerate(SPAN[1:4]):
        alone = portfolio.risk(on=day, max_age=None)
        assert alone.dates.tolist() == [day]
        assert alone[0.99].cvar[0] == many[0.99].cvar[place]
        assert np.array_equal(alone[0.95].contribution[:, 0], many[0.95].contribution[:, place])
    with pytest.raises(NoForecastError, match="no forecast date from 2018-01-02 to 2018-01-02 that all of Alpha by"):
        portfolio.risk(start=SPAN[0])


def test_a_leg_that_is_stale_is_refused_as_in_latest(reader: Reader) -> None:
    late = Reader(at(reader.settings, "2018-01-17 09:00"), reader.warehouse).portfolio(POSITIONS, "naive")
    with pytest.raises(StaleForecastError, match=r"Alpha by naive v1.0 is for 2018-01-12.* 2 sessions behind"):
        late.risk()
    assert late.risk(max_age=2).behind == (2, 2)
    assert late.risk(require_complete=True, max_age=None).dates.tolist() == [SPAN[2]]


def _series(**changes: Any) -> list[dict[str, Any]]:
    alpha = {name: value for name, value in {**SERIES[0], **changes}.items() if value is not None}
    return [alpha, SERIES[1]]


@pytest.mark.parametrize(
    ("series", "positions", "told"),
    [
        (_series(multiplier=None), POSITIONS, r"Alpha has no multiplier: set .* YAML file, such as `multiplier: 375`"),
        (_series(multiplier=None, currency=None), POSITIONS, "Alpha has no multiplier and no currency: set"),
        (_series(currency="EUR"), POSITIONS, "Alpha in EUR, Beta in USD: a portfolio is in one currency"),
        (SERIES, {}, 'no position: name contracts by series, such as {"Coffee": 10'),
        (SERIES, {"Alpha": "ten"}, "Alpha: 'ten' contracts: a number, negative where short"),
        (SERIES, {"Alpha": 1, "alpha": 2}, "Alpha is named twice: add its contracts up"),
    ],
)
def test_positions_that_cannot_be_added_up_are_refused_with_the_mend(
    reader: Reader, forecast_root: Path, series: list[dict[str, Any]], positions: dict[str, Any], told: str
) -> None:
    settings: Settings = settings_for(forecast_root, series=series)
    with pytest.raises(PortfolioError, match=told):
        Reader(settings, reader.warehouse).portfolio(positions, "naive")


def test_a_wrong_horizon_level_series_or_pair_of_dates_is_refused(reader: Reader) -> None:
    portfolio = reader.portfolio(POSITIONS, "naive")
    for arguments, told in (
        ({"horizon": 15}, "horizon = 15: 1 to 14 days"),
        ({"levels": [95]}, "level = 95: a confidence level"),
        ({"on": SPAN[0], "start": SPAN[0]}, "give `on` for one date"),
    ):
        with pytest.raises(ValueError, match=told):
            portfolio.risk(**arguments)
    with pytest.raises(SettingsError, match="'Cofee' is not configured"):
        reader.portfolio({"Cofee": 1})


def test_legs_of_different_training_windows_share_no_scenario(small: Path) -> None:
    yearly = Platform.from_settings(settings_for(small, series=SERIES))
    forecast(yearly, "Alpha", "naive", SPAN[:1])
    forecast(yearly, "Beta", "naive", SPAN[:1])
    reader = Reader(yearly.settings, yearly.warehouse)
    rows = yearly.warehouse.read(_distributions(), where={"commodity": "Beta", "forecast_date": SPAN[0]})
    position = rows.column_names.index("training_cutoff_date")
    import pyarrow as pa

    other = pa.array([dt.date(2016, 12, 31)] * rows.num_rows, pa.date32())
    moved = rows.set_column(position, rows.schema.field(position), other)
    where = {"commodity": "Beta", "model_name": "naive", "forecast_date": SPAN[0]}
    yearly.warehouse.replace(_distributions(), moved, {**where, "forecast_month": "2018-01"})
    with pytest.raises(PortfolioError, match=r"Alpha by naive v1.0 was trained to 2017-12-31, Beta .* to 2016-12-31"):
        reader.portfolio(POSITIONS, "naive").risk(on=SPAN[0])


def _distributions() -> Any:
    from forecast_platform.warehouse.schemas import DISTRIBUTIONS

    return DISTRIBUTIONS
