"""The doctor compares a roll rule with the file: its contracts, or its moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.doctor.rolls import rolls
from forecast_platform.forecasting.rolls import CATALOGUE, RollRule
from forecast_platform.host.finding import Finding
from forecast_platform.settings import SeriesSettings
from forecast_platform.sources.base import RawData
from forecast_platform_tests.histories import nearby_history

OWN_RULE = RollRule("FGHJKMNQUVXZ", month=0, day=15, sessions=1)
OWN = {"months": "FGHJKMNQUVXZ", "month": 0, "day": 15}


def examined(series: SeriesSettings, *, spread: float, contracts: bool = False, shift: int = 0) -> list[Finding]:
    history = nearby_history(seed=5, start="2012-01-01", spread=spread)
    assert history.rolls is not None
    close = np.roll(history.observed_close, shift) if shift else history.observed_close
    frame = pd.DataFrame({"date": history.observed_dates.astype("datetime64[ns]"), "close": close})
    if contracts:
        frame["contract"] = 201201.0 + np.cumsum(history.rolls[history.observed_index])
    return list(rolls(RawData({series.name: frame}), series))


def test_a_rule_on_whose_days_prices_move_more_fits() -> None:
    [found] = examined(SeriesSettings(name="Alpha", roll_rule=OWN), spread=3.0)
    assert found.severity == "good"
    assert "prices move" in found.found
    assert "days as on others" in found.found


def test_a_rule_that_names_ordinary_days_does_not_fit() -> None:
    [found] = examined(SeriesSettings(name="Alpha", roll_rule=OWN), spread=0.0)
    assert found.severity == "warning"
    assert "the rule does not fit" in found.found
    assert "drop the rule where the series is adjusted for rolls" in found.mend


def test_where_prices_move_on_other_days_they_are_named() -> None:
    [found] = examined(SeriesSettings(name="Alpha", roll_rule=OWN), spread=4.0, shift=2)
    assert found.severity == "warning"
    assert "on the days 2 sessions after them" in found.found


def test_the_file_s_own_contracts_are_what_a_rule_is_held_against() -> None:
    [good] = examined(SeriesSettings(name="Alpha", roll_rule=OWN), spread=0.0, contracts=True)
    assert good.severity == "good"
    [bad] = examined(SeriesSettings(name="Alpha", roll_rule="sugar"), spread=0.0, contracts=True)
    assert bad.severity == "warning"
    assert "its rule names 0 of the" in bad.found


def without_a_rule(name: str, rule: RollRule, spread: float = 3.0) -> list[Finding]:
    history = nearby_history(seed=5, start="2012-01-01", spread=spread, rule=rule)
    frame = pd.DataFrame({"date": history.observed_dates.astype("datetime64[ns]"), "close": history.observed_close})
    return list(rolls(RawData({name: frame}), SeriesSettings(name=name)))


def test_a_series_without_a_rule_is_told_of_the_one_that_its_name_and_moves_call_for() -> None:
    for name in ("wti_futures", "WTI", "Crude_WTI_1"):
        [told] = without_a_rule(name, CATALOGUE["wti"])
        assert told.severity == "warning"
        assert "days of the exchange's schedule prices move" in told.found
        assert f"set `roll_rule: wti` of {name}" in told.mend


def test_a_series_of_another_name_is_told_of_a_rule_that_fits_beyond_doubt_and_asked_to_look_it_up() -> None:
    [told] = without_a_rule("Crude", CATALOGUE["wti"])
    assert "days of the schedule of wti prices move" in told.found
    assert "look up when its contracts roll: `roll_rule: wti` of Crude where it is that schedule" in told.mend
    # Its name calls for another rule than its moves do: the moves decide.
    [other] = without_a_rule("Coffee", CATALOGUE["sugar"])
    assert "the schedule of sugar" in other.found


def test_a_series_that_does_not_roll_is_told_of_none() -> None:
    assert without_a_rule("Alpha", OWN_RULE, spread=0.0) == []
    assert without_a_rule("Coffee", OWN_RULE, spread=0.0) == []


@pytest.mark.parametrize("name", ["coffee", "sugar", "corn", "soybeans"])
def test_the_catalogue_fits_real_files(panel: Path, name: str) -> None:
    frame = pd.read_csv(panel / "market" / f"{name}.csv", parse_dates=["date"])[["date", "close"]]
    frame = frame.astype({"date": "datetime64[ns]"})
    series = SeriesSettings(name=name.title(), roll_rule=name)
    [found] = rolls(RawData({series.name: frame}), series)
    assert found.severity == "good", found
    [told] = rolls(RawData({series.name: frame}), SeriesSettings(name=name.title()))
    assert f"set `roll_rule: {name}`" in told.mend


def test_a_real_series_that_no_rule_fits_is_told_of_none_and_wti_futures_of_its_own(panel: Path) -> None:
    found = {}
    for name in ("gold", "wti_futures"):
        frame = pd.read_csv(panel / "market" / f"{name}.csv", parse_dates=["date"])[["date", "close"]]
        frame = frame.astype({"date": "datetime64[ns]"})
        found[name] = list(rolls(RawData({name: frame}), SeriesSettings(name=name)))
    assert found["gold"] == []
    assert "set `roll_rule: wti` of wti_futures" in found["wti_futures"][0].mend
