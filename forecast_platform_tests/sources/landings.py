"""Landing folders of a few lines, and what is said of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forecast_platform.settings import SeriesSettings
from forecast_platform.sources.base import RawData
from forecast_platform.sources.landing import LandingSource

TODAY = dt.date(2020, 6, 1)
PLAIN = "date,close\n2018-01-02,150.10\n2018-01-03,151.40\n2018-01-04,150.85\n2018-01-05,152.20\n2018-01-08,151.95\n"


def one(name: str = "Coffee", **settings: object) -> SeriesSettings:
    return SeriesSettings(name=name, **{"regions": (), **settings})


def write(folder: Path, **files: str) -> Path:
    """Files by name, `market__coffee_csv` being market/coffee.csv."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_csv", ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def closes(days: Sequence[object], values: Sequence[float]) -> str:
    rows = (f"{str(day)[:10]},{value:.6g}\n" for day, value in zip(days, values, strict=True))
    return "date,close\n" + "".join(rows)


def walk(n: int, start: float = 120.0, seed: int = 3) -> np.ndarray:
    return np.round(start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.012, n))), 3)


def read(folder: Path, *series: SeriesSettings, today: dt.date = TODAY, **source: object) -> RawData:
    return LandingSource(folder, lambda: today, **source).read(series or [one()])  # type: ignore[arg-type]


def reasons(raw: RawData) -> str:
    return "\n".join(map(str, raw.rejections))
