"""What combining forecasts gives on the panel, by method; and what it costs beside the cheapest member's backfill.

    python benchmarks/combinations.py --panel DIR [--members naive random_walk ...] [--start 2010-01-01]
        [--pool random_walk ...] [--end 2017-07-01] [--paths 500] [--workers 2] [--cost-only | --skill-only]

Skill: CRPS over the trading targets of 14 days against naive, pooled over the series as `evaluate --all` does, of each
member and each way of combining them, or of those that --pool names; the best of these is chosen in hindsight. Weights
and routes see what was known on each date. Cost: a year of one series, 2,000 paths, through a warehouse: each member's
backfill, reading and drawing the pool, and the pool's whole backfill. Nothing is tuned here.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.model_skill import windows
from benchmarks.sharper import SEED, SERIES, full_history
from forecast_platform.forecasting.horizon import DEFAULT
from forecast_platform.forecasting.metrics import crps
from forecast_platform.forecasting.pooling import Losses, pooled_skill
from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.forecasting.trailing import LEVELS, MemberScores, quantile_losses
from forecast_platform.models import registry
from forecast_platform.models.base import BasePaths
from forecast_platform.models.combine import Combine

STARTS = [dt.date(2015, 1, 1), dt.date(2015, 7, 1)]
SPAN = [dt.date(2015, 1, 1) + dt.timedelta(days=number) for number in range(365)]
MEMBERS = ("naive", "random_walk", "range_walk", "season_walk")
WAYS = {
    "linear_pool": {},
    "quantile_average": {"how": "quantile_average"},
    "crps_weights": {"how": "crps_weights"},
    "route": {"how": "route"},
    "route, one regime": {"how": "route", "routes": 1},
}


class Scored:
    """Losses by name [n_origins], and what they are compared with."""

    def __init__(self) -> None:
        self.origins, self.level, self.losses, self.inside = [], [], {}, {}

    def add(self, name, paths, truth, use) -> None:
        ordered = np.sort(np.moveaxis(paths, 1, 2), axis=-1)
        losses = np.full(use.shape, np.nan)
        losses[use] = crps(ordered[use].astype(np.float64), truth[use])
        self.losses.setdefault(name, []).append(np.nanmean(losses, axis=1))
        bands = np.quantile(ordered[use], [0.1, 0.9, 0.025, 0.975], axis=-1)
        held = [(bands[i] <= truth[use]) & (truth[use] <= bands[i + 1]) for i in (0, 2)]
        self.inside.setdefault(name, []).append([one.mean() for one in held])


def scored(job) -> Scored:
    """One series over all windows: members, and the pools of them."""
    panel, series, members, pool_of, start, end, n_paths = job
    history = full_history(panel, series)
    found, known = Scored(), []
    for window, use_end in windows(start, end):
        seen = history.since(window.start)
        dates = seen.observed_dates
        last = dates[-1] - np.timedelta64(DEFAULT - 1, "D")
        origins = dates[(dates >= window.end) & (dates < use_end) & (dates <= last)]
        fits = [registry.get(name).fit(seen.before(window.end), window) for name in members]
        shocks = Shocks(SEED, fits[0].n_slots)
        base = np.stack([fit.simulate(seen, origins, DEFAULT, n_paths, shocks) for fit in fits])
        at = np.searchsorted(seen.dates, origins)[:, None] + np.arange(DEFAULT)
        use = seen.observed[at] & seen.trading(origins, DEFAULT)
        truth = seen.close[at]
        quantiles = np.moveaxis(np.quantile(base, LEVELS, axis=2), 0, -1)
        quantiles = quantiles[[members.index(name) for name in pool_of]]
        known.append((origins, quantile_losses(quantiles, np.where(use, truth, np.nan))))
        scores = MemberScores(np.concatenate([one[0] for one in known]), np.concatenate([o[1] for o in known], axis=1))
        found.origins.append(origins)
        found.level.append(seen.observed_close[seen.known_sessions(origins) - 1])
        for name, paths in zip(members, base, strict=True):
            found.add(name, paths, truth, use)
        base = base[[members.index(name) for name in pool_of]]
        there = np.ones(base.shape[:2], bool)
        for name, params in WAYS.items():
            model = Combine(params, pool_of)
            weights = model.member_weights(scores, there, seen, origins, window) if model.scored_days else None
            pool = model.fit(seen.before(window.end), window)
            chosen = BasePaths(pool_of, base, there, weights)
            found.add(name, pool.simulate_from(chosen, seen, origins, DEFAULT, n_paths, shocks), truth, use)
    return found


def skill(options) -> None:
    # Skill is against naive, whether it is one of the pool or not.
    members = tuple(dict.fromkeys(["naive", *options.members]))
    pool_of = tuple(options.pool or options.members)
    if foreign := [name for name in pool_of if name not in members]:
        raise SystemExit(f"--pool names {foreign[0]}, which is no member: there are {', '.join(members)}")
    jobs = [
        (options.panel, series, members, pool_of, options.start, options.end, options.paths)
        for series in options.series
    ]
    began = time.perf_counter()
    with get_context("spawn").Pool(options.workers) as pool:
        results = pool.map(scored, jobs, chunksize=1)
    print(f"{len(jobs)} series, {options.start} to {options.end}, {options.paths} paths, pools of {', '.join(pool_of)}")
    print(f"{'':20}{'skill %':>9}{'95 % +-':>9}{'worst series':>14}{'80 %':>7}{'95 %':>7}")
    pooled = {}
    for name in (*members, *WAYS):
        each = [
            Losses(
                np.concatenate(one.origins),
                np.concatenate(one.losses[name]),
                np.concatenate(one.losses["naive"]),
                np.concatenate(one.level),
            )
            for one in results
        ]
        whole = pooled_skill(each, 10)
        worst = min(pooled_skill([one], 10).skill for one in each)
        inside = np.mean([np.mean(one.inside[name], axis=0) for one in results], axis=0)
        pooled[name] = whole.skill
        print(
            f"{name:20}{100 * whole.skill:9.3f}{100 * (whole.high - whole.low) / 2:9.3f}{100 * worst:14.2f}"
            f"{100 * inside[0]:7.1f}{100 * inside[1]:7.1f}"
        )
    own = [pooled[name] for name in pool_of]
    print(f"\nbest member in hindsight {100 * max(own):.3f}, members' mean {100 * np.mean(own):.3f}")
    for name in WAYS:
        print(
            f"{name:20} {100 * (pooled[name] - max(own)):+.3f} of the best, {100 * (pooled[name] - np.mean(own)):+.3f}"
        )
    print(f"{time.perf_counter() - began:.0f} s\n", flush=True)


def cost(options) -> None:
    """Each try in a warehouse of its own, as the first backfill of these dates finds it."""
    from forecast_platform.host.memory import collect_seldom
    from forecast_platform.pipeline.ingest import ingest
    from forecast_platform.pipeline.training import train
    from forecast_platform.work.platform import Platform

    collect_seldom()  # as every process of the product does
    folder = Path(tempfile.mkdtemp(prefix="combinations-"))
    (folder / "trained" / "landing" / "market").mkdir(parents=True)
    shutil.copy(options.panel / "market" / "sugar.csv", folder / "trained" / "landing" / "market" / "sugar.csv")
    settings = settings_of(folder / "trained")
    platform = Platform.from_settings(settings)
    ingest(platform, ["Sugar"], settings.history_start, dt.date(2017, 12, 29))
    for name in (*MEMBERS, "pool"):
        train(platform, "Sugar", name, STARTS)
    tries: dict[str, list[tuple[float, float]]] = {}
    for number in range(options.repeat):
        shutil.copytree(folder / "trained", folder / str(number))
        for name, seconds in once(Platform.from_settings(settings_of(folder / str(number)))):
            tries.setdefault(name, []).append(seconds)
        shutil.rmtree(folder / str(number))
    figures = {name: min(several) for name, several in tries.items()}
    cheapest = min(MEMBERS, key=lambda name: figures[name][0])
    print(f"{len(SPAN)} dates, 2,000 paths x 14 days; least of {options.repeat}")
    print(f"{'':22}{'processor s':>12}{'wall s':>9}{'of ' + cheapest:>20}")
    for name, (processor, wall) in figures.items():
        print(f"{name:22}{processor:12.2f}{wall:9.2f}{processor / figures[cheapest][0]:20.2f}", flush=True)
    shutil.rmtree(folder)


def settings_of(folder: Path):
    from forecast_platform.settings import build

    return build(
        source="landing",
        landing=folder / "landing",
        warehouse=folder / "warehouse",
        models=[*MEMBERS, {"name": "pool", "type": "combine", "of": list(MEMBERS)}],
        start_date=dt.date(2015, 1, 1),
        min_free_gb=0.0,
    )


def once(platform):
    """What was done, with its processor and wall seconds: a backfill of each member and of the pool; then, of the
    pool's alone, the plan, which looks up what the members' forecasts are, and what its chunks read and draw."""
    from forecast_platform.pipeline.forecast_plan import plan
    from forecast_platform.pipeline.inference import forecast
    from forecast_platform.work.chunks import simulate
    from forecast_platform.work.fits import load_model
    from forecast_platform.work.forecast_chunk import read_chunk_inputs

    settings = platform.settings
    clock = Clock()
    for name in (*MEMBERS, "pool"):
        outcome = forecast(platform, "Sugar", name, SPAN)
        yield name, clock.lap()
        assert outcome.written == set(SPAN), outcome.failed
    clock.lap()
    planned = plan(platform, "Sugar", "pool", settings.model_version, SPAN, overwrite=True)
    yield "pool: plan", clock.lap()
    for chunk in planned.chunks:
        stored = load_model(platform, "Sugar", "pool", settings.model_version, chunk.window_start)
        inputs = read_chunk_inputs(platform, stored, "Sugar", chunk.dates, base_paths=True, members=chunk.members)
        made = simulate(stored.fitted, inputs, platform.horizon, settings.n_paths, settings.seed)
        assert len(made.days) == len(chunk.dates), made.failed
    yield "pool: read and draw", clock.lap()


class Clock:
    """Processor and wall seconds since it was last looked at."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> tuple[float, float]:
        now = (time.process_time(), time.perf_counter())
        since = tuple(b - a for a, b in zip(getattr(self, "last", now), now, strict=True))
        self.last = now
        return since


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", type=Path, required=True)
    parser.add_argument("--series", nargs="+", default=SERIES)
    parser.add_argument("--members", nargs="+", default=MEMBERS)
    parser.add_argument("--pool", nargs="+", help="those that are combined (default: all members)")
    parser.add_argument("--start", default="2010-01-01")
    parser.add_argument("--end", default="2017-07-01", help="a day of the last window")
    parser.add_argument("--paths", type=int, default=500)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cost-only", action="store_true")
    parser.add_argument("--skill-only", action="store_true")
    options = parser.parse_args()
    if not options.cost_only:
        skill(options)
    if not options.skill_only:
        cost(options)


if __name__ == "__main__":
    main()
