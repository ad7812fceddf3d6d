"""How long two million rows of weather take to read and to check; the target is 10 s.

    python benchmarks/weather.py [--rows 2000000]

A file of daily rows of many regions as a country's whole network of stations gives it, read as `ingest` and `doctor`
read it: parsed, each value judged by what is possible, joined. Prints processor time too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from forecast_platform.settings import build
from forecast_platform.sources.choose import source_for
from forecast_platform_tests.worlds import write_landing

TARGET = 10.0


def main() -> None:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        landing = write_landing(Path(folder) / "landing")
        days = pd.date_range("2008-01-01", "2018-03-29")
        regions = -(-options.rows // len(days))
        rng = np.random.default_rng(3)
        frame = pd.DataFrame(
            {
                "date": np.tile(days, regions),
                "region": np.repeat([f"Station {n}" for n in range(regions)], len(days)),
                "temp_mean_c": np.round(15 + 8 * rng.standard_normal(regions * len(days)), 1),
                "precipitation_mm": np.round(rng.gamma(0.5, 4.0, regions * len(days)), 1),
            }
        )[: options.rows]
        frame.to_csv(landing / "weather.csv", index=False)
        series = [{"name": "Alpha", "regions": ["Station 0", "Station 1"]}, {"name": "Beta", "regions": []}]
        settings = build(source="landing", landing=landing, warehouse=Path(folder) / "warehouse", series=series)
        began, spent = time.perf_counter(), time.process_time()
        found = source_for(settings).read(settings.series)
        wall, processor = time.perf_counter() - began, time.process_time() - spent
    if found.weather is None or len(found.weather) != options.rows:
        sys.exit(f"{0 if found.weather is None else len(found.weather):,} of {options.rows:,} rows were read")
    print(f"{options.rows:,} rows of weather, {regions} regions: {wall:.1f} s, {processor:.1f} s of processor time "
          f"(target {TARGET:g} s)")  # fmt: skip
    sys.exit(0 if processor <= TARGET else 1)


if __name__ == "__main__":
    main()
