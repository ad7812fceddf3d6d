"""The packaged sample: real values only."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from arch.data import sp500, vix, wti

from forecast_platform.settings import PublicationLag, SeriesSettings, build
from forecast_platform.sources import calendars
from forecast_platform.sources.base import RawData
from forecast_platform.sources.choose import source_for
from forecast_platform.sources.sample import SampleSource
from forecast_platform.sources.unify import last_complete_day, last_observed_close, unify

WTI = SeriesSettings(name="WTI", covariates=("sp500", "vix"), regions=())


@pytest.fixture(scope="module")
def raw() -> RawData:
    return SampleSource().read([WTI])


def test_sample_holds_exactly_the_published_values(raw: RawData) -> None:
    published = wti.load()["DCOILWTICO"].dropna()
    got = raw.market["WTI"].set_index("date")["close"]
    assert got.to_dict() == published.to_dict()
    assert raw.macro is not None
    macro = raw.macro.set_index("date")
    assert macro["sp500"].dropna().to_dict() == sp500.load()["Close"].dropna().to_dict()
    assert macro["vix"].dropna().to_dict() == vix.load()["vix"].dropna().to_dict()
    assert raw.rejections == []
    assert raw.warnings == []


def test_sample_unified_marks_as_observed_only_published_days(raw: RawData) -> None:
    unified = unify(raw, WTI, start=dt.date(2013, 1, 1), end=dt.date(2019, 1, 3), lags=PublicationLag())
    frame = unified.frame.set_index("date")
    published = wti.load()["DCOILWTICO"].dropna()
    assert frame.index[frame["is_observed"]].equals(published["2013":].index.rename("date"))
    assert frame.loc[:"2014-01-02", "vix"].isna().all()
    assert frame.loc["2014-01-03":, "vix"].notna().all()
    assert frame.loc["2013-01-01", "close"] == published["2012-12-31"]
    assert unified.filled_closes == 4


def test_new_york_stock_exchange_calendar_fits_the_samples_observed_days_best(raw: RawData) -> None:
    observed = raw.market["WTI"]["date"].to_numpy().astype("datetime64[D]")
    start, end = np.datetime64("2010-01-01"), np.datetime64("2018-12-31")
    observed = observed[(observed >= start) & (observed <= end)]
    mismatches = {code: len(np.setxor1d(calendars.sessions(code, start, end), observed)) for code in _CODES}
    assert min(mismatches, key=lambda code: mismatches[code]) == "XNYS"
    assert mismatches["XNYS"] == 7


_CODES = ("XNYS", "CMES", "IEPA", "us_futures", "24/5")


def test_sample_is_complete_until_its_last_close(raw: RawData) -> None:
    sessions = calendars.sessions("XNYS", dt.date(2018, 12, 1), dt.date(2019, 2, 1))
    assert last_complete_day(last_observed_close(raw, "WTI"), sessions, dt.date(2026, 1, 1)) == dt.date(2019, 1, 3)


def test_sample_has_no_other_series() -> None:
    raw = SampleSource().read([WTI, SeriesSettings(name="Coffee")])
    assert list(raw.market) == ["WTI"]
    assert "the sample holds WTI only, not Coffee" in str(raw.rejections_of("Coffee")[0])


def test_source_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_for(build())
    assert isinstance(source, SampleSource)
    assert set(source.fingerprint([WTI])) == {"arch"}
    assert isinstance(source.read([WTI]).market["WTI"], pd.DataFrame)
