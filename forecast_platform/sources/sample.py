"""The packaged sample: daily WTI crude with S&P 500 and VIX, real public data that come with the `arch` package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from forecast_platform.sources.base import RawData, Rejection, requirements
from forecast_platform.sources.validate import glitches

if TYPE_CHECKING:
    from forecast_platform.settings import SeriesSettings

STEM = "wti"
_MARKET, _MACRO, _WEATHER = "sample/wti", "sample/macro", "sample/weather"


class SampleSource:
    """WTI from 1986-01-02 to 2019-01-03 (holidays have no close); S&P 500 to 2018-12-31; VIX from 2014-01-03."""

    def read(self, series: Sequence[SeriesSettings]) -> RawData:
        """The sample's observed values; a series other than WTI is rejected."""
        import pandas as pd
        from arch.data import sp500, vix, wti

        close = wti.load()["DCOILWTICO"].dropna()
        market = pd.DataFrame({"date": pd.DatetimeIndex(close.index), "close": close.to_numpy("float64")})
        macro = pd.DataFrame({"sp500": sp500.load()["Close"], "vix": vix.load()["vix"]}).dropna(how="all")
        macro = macro.astype("float64").rename_axis("date").reset_index()
        raw = RawData(market={}, macro=macro)
        for one in series:
            if one.stem.lower() == STEM:
                raw.market[one.name] = market.copy()
            else:
                reason = f"the sample holds WTI only, not {one.name}: set `source` to landing, or drop the series"
                raw.rejections.append(Rejection(_MARKET, None, reason, (one.name,)))
        requirements(series, raw, _MACRO, _WEATHER)
        raw.suspects = glitches(_MARKET, market, ["close"]) + glitches(_MACRO, macro, ["sp500"])
        return raw

    def fingerprint(self, series: Sequence[SeriesSettings]) -> dict[str, str]:
        """The version of the package that holds the data."""
        return {"arch": version("arch")}
