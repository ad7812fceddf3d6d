"""A landing folder made by hand: two series, macro and weather, small enough to break in every way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from forecast_platform.settings import SeriesSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.landing import LandingSource

TODAY = dt.date(2020, 2, 1)

FILES = {
    "market/coffee.csv": "date,open,high,low,close,volume\n2020-01-02,1,2,1,100,5\n2020-01-03,,,,101,\n"
    "2020-01-06,1,2,1,102,5\n",
    "market/sugar.csv": "date,close\n2020-01-02,10\n2020-01-03,11\n2020-01-06,12\n",
    "macro.csv": "date,vix,usd_brl\n2020-01-02,15,4.1\n2020-01-03,16,\n",
    "weather.csv": "date,region,temp_max_c,precipitation_mm\n2020-01-02,Brazil,30,1\n2020-01-02,Vietnam,20,3\n"
    "2020-01-03,Brazil,32,0\n",
}

COFFEE = SeriesSettings(name="Coffee", covariates=("vix",))
SUGAR = SeriesSettings(name="Sugar", regions=())

Write = Callable[..., RawData]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The good folder."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def read(folder: Path) -> Write:
    """Overwrite one file with text or bytes (or remove it, with None), then read Coffee and Sugar."""

    def _read(name: str | None = None, content: str | bytes | None = None) -> RawData:
        if name is not None:
            path = folder / name
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return LandingSource(folder, lambda: TODAY).read([COFFEE, SUGAR])

    return _read
