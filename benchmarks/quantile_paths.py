"""How long five years of quantiles take to become joint paths: 1,826 dates, 2,000 paths, 14 steps.

    python benchmarks/quantile_paths.py [--repeat 3]

Prints wall and processor seconds, and how far the paths' quantiles are from those given, as a share of the 80 % width.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from forecast_platform.forecasting.quantile_paths import error_ranks, joint_paths
from forecast_platform.forecasting.shocks import Shocks, pool_dates
from forecast_platform.models.scaled_returns import LEVELS

N_ORIGINS, N_PATHS, N_STEPS = 1826, 2000, 14


def main() -> None:
    """Print the least of the repetitions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    pool = pool_dates(np.datetime64("2013-01-01"), np.datetime64("2018-01-01"))
    origins = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-01-01") + N_ORIGINS)
    moves = np.random.default_rng(1).standard_t(5, len(pool) + N_STEPS)
    errors = np.stack([np.cumsum(moves[k : k + N_STEPS]) for k in range(len(pool))])
    spread = np.sqrt(1.0 + np.arange(N_STEPS))[:, None] * np.quantile(moves, LEVELS)
    quantiles = (
        100.0
        + np.random.default_rng(2).normal(size=(N_ORIGINS, 1, 1))
        + np.broadcast_to(spread, (N_ORIGINS, *spread.shape))
    )
    tries = []
    for _ in range(options.repeat):
        wall, processor = time.perf_counter(), time.process_time()
        slots = Shocks(7, len(pool)).slots(origins, N_PATHS, 1)[:, 0]
        paths = joint_paths(quantiles, LEVELS, error_ranks(errors, pool, pool), slots)
        tries.append((time.process_time() - processor, time.perf_counter() - wall))
    found = np.moveaxis(np.quantile(paths[::20], LEVELS, axis=1), 0, -1)
    width = (quantiles[::20, :, -3] - quantiles[::20, :, 2])[..., None]
    off = np.abs(found - quantiles[::20]) / width
    print(
        f"{N_ORIGINS} dates x {N_PATHS} paths x {N_STEPS} steps: {min(tries)[1]:.2f} s wall, "
        f"{min(tries)[0]:.2f} s processor"
    )
    print(
        f"quantiles off by {off.mean():.2%} of the 80 % width in the mean, {off[..., 2:7].max():.2%} at most inside it"
    )


if __name__ == "__main__":
    main()
