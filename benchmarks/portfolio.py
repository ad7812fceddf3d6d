"""A portfolio's risk over five years of dates at once, against date by date: `python benchmarks/portfolio.py`."""

from __future__ import annotations

import argparse
import time

import numpy as np

from forecast_platform.forecasting.portfolio import leg_profits, portfolio_risk


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dates", type=int, default=1826)
    options.add_argument("--legs", type=int, default=2)
    asked = options.parse_args()
    rng = np.random.default_rng(1)
    last = rng.uniform(50, 150, (asked.legs, asked.dates))
    shape = (asked.legs, asked.dates, 2000, 1)
    paths = (last[..., None, None] * np.exp(0.03 * rng.standard_normal(shape))).astype(np.float32)
    sizes = np.where(np.arange(asked.legs) % 2, -1000.0, 375.0)

    def together() -> np.ndarray:
        return np.asarray(portfolio_risk(leg_profits(paths, last, sizes), 0.95).cvar)

    def one_by_one() -> np.ndarray:
        found = [
            portfolio_risk(leg_profits(paths[:, day], last[:, day], sizes), 0.95).cvar for day in range(asked.dates)
        ]
        return np.array(found)

    spent = {}
    for name, work in {"together": together, "date by date": one_by_one}.items():
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        spent[name] = time.process_time() - processor
        wall = time.perf_counter() - wall
        print(f"{name:<13}{wall:6.2f} s, processor {spent[name]:6.2f} s, mean cvar {result.mean():.4f}")
    print(f"{asked.dates} dates, {asked.legs} legs: ratio {spent['date by date'] / spent['together']:.1f}")


if __name__ == "__main__":
    main()
