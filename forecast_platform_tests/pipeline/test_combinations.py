"""A pool is made of its members' stored paths, follows them when they change, and fails by name where one lacks."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.models.combine import assignment
from forecast_platform.pipeline.champions import promote, versions_to_run
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.pipeline.inference import forecast
from forecast_platform.pipeline.planning import backfill_plan
from forecast_platform.pipeline.training import train
from forecast_platform.read import Reader
from forecast_platform.warehouse.base import keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.work.forecast_chunk import forecast_chunk
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import days, revise, settings_for

SPAN = days("2017-12-27", "2018-01-05")
WINDOWS = [dt.date(2017, 7, 1), dt.date(2018, 1, 1)]
POOL = {"name": "pool", "type": "combine", "of": ["naive", "random_walk"], "how": "linear_pool"}
MEMBERS = ("naive", "random_walk")


def _platform(root: Path, pool: dict[str, object] | None = None, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, models=[*MEMBERS, pool or POOL], **changes))


@pytest.fixture(scope="module")
def _pooled(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pooled") / "platform"
    shutil.copytree(trained_template, root)
    platform = _platform(root)
    assert train(platform, "Alpha", "pool", WINDOWS).written == set(WINDOWS)
    for member in MEMBERS:
        forecast(platform, "Alpha", member, SPAN)
    return root


@pytest.fixture
def pooled(_pooled: Path, small: Path) -> Platform:
    """A platform whose pool is trained and whose members have forecast the span."""
    shutil.rmtree(small)
    shutil.copytree(_pooled, small)
    return _platform(small)


def _paths(platform: Platform, model: str) -> dict[dt.date, np.ndarray]:
    return Reader(platform.settings, platform.warehouse).paths("Alpha", model)


def test_each_path_of_the_pool_is_that_path_of_a_member_in_equal_shares(pooled: Platform) -> None:
    outcome = forecast(pooled, "Alpha", "pool", SPAN)
    assert outcome.written == set(SPAN), outcome.failed
    members = np.stack([np.stack([_paths(pooled, name)[day] for day in SPAN]) for name in MEMBERS])
    pool = np.stack([_paths(pooled, "pool")[day] for day in SPAN])
    chosen = assignment(2, 200)
    assert np.bincount(chosen).tolist() == [100, 100]
    assert np.array_equal(pool, members[chosen, :, np.arange(200)].swapaxes(0, 1))
    assert forecast(pooled, "Alpha", "pool", SPAN).skipped == set(SPAN)


def test_what_identifies_a_member_s_forecast_is_one_row_a_date_of_what_the_warehouse_hands_over(
    pooled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[str, int] = {"read": 0, "batches": 0}
    read, batches = pooled.warehouse.read, pooled.warehouse.batches

    def counted(table, columns=None, where=None):
        found = read(table, columns, where)
        rows["read"] += found.num_rows if table is DISTRIBUTIONS and "model_id" in (columns or ()) else 0
        return found

    def parts(table, columns, where):
        for batch in batches(table, columns, where):
            rows["batches"] += batch.num_rows
            yield batch

    monkeypatch.setattr(pooled.warehouse, "read", counted)
    monkeypatch.setattr(pooled.warehouse, "batches", parts)
    assert forecast(pooled, "Alpha", "pool", SPAN).written == set(SPAN)
    # Where a warehouse is remote, each row goes over a network; the plan looks, and the chunks may.
    assert 0 < rows["read"] <= 3 * 2 * len(SPAN)
    assert rows["batches"] == 2 * 200 * len(SPAN), "the paths"


@pytest.mark.parametrize("by", ["path_id", "day_1"])
def test_the_pool_has_the_same_bits_in_whatever_order_its_members_lie_in_their_files(pooled: Platform, by: str) -> None:
    forecast(pooled, "Alpha", "pool", SPAN)
    expected = _paths(pooled, "pool")
    where = keys_of("Alpha", "naive", "v1.0", SPAN, by_month=True)
    rows = pooled.warehouse.read(DISTRIBUTIONS, where=where)
    pooled.warehouse.replace(DISTRIBUTIONS, rows.sort_by([(by, "descending")]), where)
    assert forecast(pooled, "Alpha", "pool", SPAN, overwrite=True).written == set(SPAN)
    assert all(np.array_equal(expected[day], paths) for day, paths in _paths(pooled, "pool").items())


def test_the_pool_has_the_same_bits_date_by_date(pooled: Platform) -> None:
    forecast(pooled, "Alpha", "pool", SPAN)
    whole = _paths(pooled, "pool")
    for day in reversed(SPAN):
        forecast(pooled, "Alpha", "pool", [day], overwrite=True)
    found = _paths(pooled, "pool")
    assert all(np.array_equal(found[day], whole[day]) for day in SPAN)


@pytest.mark.parametrize(("n_members", "n_paths"), [(2, 2000), (3, 2000), (7, 2000), (5, 3)])
def test_the_assignment_is_stratified_and_fewer_paths_are_the_first_of_more(n_members: int, n_paths: int) -> None:
    chosen = assignment(n_members, n_paths)
    assert chosen.shape == (n_paths,)
    counts = np.bincount(chosen, minlength=n_members)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(assignment(n_members, n_paths // 2), chosen[: n_paths // 2])
    if n_paths == 2000:
        # Every k-th path is a pool too: no member is alone at its own places.
        thinned = np.bincount(chosen[::n_members], minlength=n_members)
        assert thinned.min() > 0.7 * thinned.mean()


def test_a_member_that_is_made_anew_makes_the_pool_stale_for_those_dates(pooled: Platform) -> None:
    forecast(pooled, "Alpha", "pool", SPAN)
    forecast(pooled, "Alpha", "naive", SPAN[3:5], overwrite=True)
    assert {day for chunk in plan(pooled, "Alpha", "pool", "v1.0", SPAN).chunks for day in chunk.dates} == set(
        SPAN[3:5]
    )
    assert forecast(pooled, "Alpha", "pool", SPAN).written == set(SPAN[3:5])
    assert forecast(pooled, "Alpha", "pool", SPAN).skipped == set(SPAN)


def test_a_member_with_another_fit_gives_the_pool_another_input(pooled: Platform, small: Path) -> None:
    forecast(pooled, "Alpha", "pool", SPAN)
    before = _paths(pooled, "pool")
    other = _platform(small, seed=5)
    for member in MEMBERS:
        forecast(other, "Alpha", member, SPAN)
    assert forecast(other, "Alpha", "pool", SPAN).written == set(SPAN)
    after = _paths(other, "pool")
    assert not any(np.array_equal(before[day], after[day]) for day in SPAN[:2])


def test_a_missing_member_fails_the_date_by_name_with_the_command_that_makes_it(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pool", WINDOWS)
    forecast(platform, "Alpha", "naive", SPAN)
    forecast(platform, "Alpha", "random_walk", SPAN[1:])
    outcome = forecast(platform, "Alpha", "pool", SPAN)
    assert outcome.written == set(SPAN[1:])
    assert set(outcome.failed) == {SPAN[0]}
    told = outcome.failed[SPAN[0]]
    assert "no forecast of random_walk v1.0 for Alpha on 2017-12-27, which pool is made of" in told
    assert "--models random_walk --start-date 2017-12-27" in told
    assert "missing: skip" in told


def test_a_backfill_s_plan_counts_a_pool_s_dates_where_its_members_are_of_the_same_request(small: Path) -> None:
    platform = _platform(small)
    train(platform, "Alpha", "pool", WINDOWS)
    together = backfill_plan(platform, ["Alpha"], [*MEMBERS, "pool"], SPAN, version="v1.0").models[-1]
    assert (together.waiting, together.failed) == (len(SPAN), {})
    alone = backfill_plan(platform, ["Alpha"], ["pool"], SPAN, version="v1.0").models[-1]
    assert (alone.waiting, set(alone.failed)) == (0, set(SPAN))


def test_with_missing_skip_a_date_is_pooled_from_the_members_that_are_there_and_again_once_all_are(
    small: Path,
) -> None:
    platform = _platform(small, {**POOL, "missing": "skip"})
    train(platform, "Alpha", "pool", WINDOWS)
    none = forecast(platform, "Alpha", "pool", SPAN[:2]).failed
    assert set(none) == set(SPAN[:2])
    [told] = set(none.values())
    assert "no forecast of naive v1.0 for Alpha on 2017-12-27 to 2017-12-28" in told
    assert "--start-date 2017-12-27 --end-date 2017-12-28" in told
    forecast(platform, "Alpha", "naive", SPAN)
    assert forecast(platform, "Alpha", "pool", SPAN).written == set(SPAN)
    assert np.array_equal(_paths(platform, "pool")[SPAN[0]], _paths(platform, "naive")[SPAN[0]])
    forecast(platform, "Alpha", "random_walk", SPAN[:1])
    assert forecast(platform, "Alpha", "pool", SPAN).written == {SPAN[0]}


def test_members_with_another_number_of_paths_are_refused_by_name(pooled: Platform, small: Path) -> None:
    more = _platform(small, n_paths=300)
    outcome = forecast(more, "Alpha", "pool", SPAN[:1])
    assert "naive v1.0 of Alpha has 200 paths on 2017-12-27, n_paths is 300" in outcome.failed[SPAN[0]]


def test_a_member_that_is_made_anew_between_plan_and_read_is_the_one_that_the_pool_is_made_of(
    pooled: Platform, small: Path
) -> None:
    chunks = plan(pooled, "Alpha", "pool", "v1.0", SPAN).chunks
    before = _paths(pooled, "naive")
    revise(small, pooled)
    for member in MEMBERS:
        forecast(pooled, "Alpha", member, SPAN)
    results = [forecast_chunk(pooled, chunk) for chunk in chunks]
    assert [result.failed for result in results] == [{}] * len(chunks)
    chosen, naive, pool = assignment(2, 200), _paths(pooled, "naive"), _paths(pooled, "pool")
    assert all(np.array_equal(pool[day][chosen == 0], naive[day][chosen == 0]) for day in SPAN)
    assert not np.array_equal(before[SPAN[8]], naive[SPAN[8]])
    assert plan(pooled, "Alpha", "pool", "v1.0", SPAN).skipped == set(SPAN), "its hash is of what it was made of"


def test_a_member_that_cannot_be_read_whole_fails_by_name_and_is_skipped_where_that_is_allowed(
    pooled: Platform, small: Path
) -> None:
    forecast(_platform(small, n_paths=300), "Alpha", "naive", SPAN[2:4], overwrite=True)
    outcome = forecast(pooled, "Alpha", "pool", SPAN)
    assert set(outcome.failed) == set(SPAN[2:4])
    assert "naive v1.0 of Alpha has 300 paths on 2017-12-29, n_paths is 200" in outcome.failed[SPAN[2]]
    skipping = _platform(small, {**POOL, "name": "lenient", "missing": "skip"})
    train(skipping, "Alpha", "lenient", WINDOWS)
    assert forecast(skipping, "Alpha", "lenient", SPAN).written == set(SPAN)
    assert np.array_equal(_paths(skipping, "lenient")[SPAN[2]], _paths(skipping, "random_walk")[SPAN[2]])


def test_a_whole_month_of_a_pool_has_the_bits_of_its_days(pooled: Platform) -> None:
    month = days("2018-01-01", "2018-01-31")
    for member in MEMBERS:
        forecast(pooled, "Alpha", member, month)
    forecast(pooled, "Alpha", "pool", month[4:9])
    some = _paths(pooled, "pool")
    assert forecast(pooled, "Alpha", "pool", month, overwrite=True).written == set(month)
    whole = _paths(pooled, "pool")
    assert all(np.array_equal(whole[day], some[day]) for day in month[4:9])


def test_a_pool_of_pools_is_made_in_order(pooled: Platform, small: Path) -> None:
    second = {"name": "both", "type": "combine", "of": ["naive", "pool"]}
    platform = Platform.from_settings(settings_for(small, models=[*MEMBERS, POOL, second]))
    train(platform, "Alpha", "both", WINDOWS)
    forecast(platform, "Alpha", "pool", SPAN)
    assert forecast(platform, "Alpha", "both", SPAN).written == set(SPAN)


def test_the_members_of_a_champion_run_in_its_version_and_before_it(pooled: Platform) -> None:
    promote(pooled, "Alpha", "pool", "v0.9", "it was better", force=True)
    pairs = versions_to_run(pooled)
    assert {("naive", "v0.9"), ("random_walk", "v0.9"), ("pool", "v0.9")} <= set(pairs)
    assert pairs.index(("random_walk", "v0.9")) < pairs.index(("pool", "v0.9"))
    assert pairs[0] == ("naive", "v1.0")


WEIGHTED = {"name": "pool", "type": "combine", "of": list(MEMBERS), "how": "crps_weights", "rate": 50.0, "shrink": 0.0}


@pytest.fixture
def weighted(small: Path) -> Platform:
    """A platform whose weighted pool is trained and whose members have forecast the span."""
    platform = _platform(small, WEIGHTED)
    train(platform, "Alpha", "pool", WINDOWS)
    for member in MEMBERS:
        forecast(platform, "Alpha", member, SPAN)
    return platform


def test_weights_come_from_the_members_stored_forecasts_and_the_closes_before_each_date(weighted: Platform) -> None:
    assert forecast(weighted, "Alpha", "pool", SPAN).written == set(SPAN)
    pool, naive, walk = (_paths(weighted, name) for name in ("pool", *MEMBERS))
    shares = _shares_of_naive(weighted)
    assert shares[0] == pytest.approx(0.5, abs=0.01), "nothing is known on the first date"
    assert max(abs(share - 0.5) for share in shares[5:]) > 0.1, "these scores are believed at once"
    for day in SPAN:
        of_naive = (pool[day] == naive[day]).all(axis=1)
        assert np.array_equal(pool[day][~of_naive], walk[day][~of_naive])
    forecast(weighted, "Alpha", "pool", SPAN[4:7], overwrite=True)
    again = _paths(weighted, "pool")
    assert all(np.array_equal(again[day], pool[day]) for day in SPAN), "date by date, the same bits"


def test_a_member_s_earlier_forecast_made_otherwise_makes_the_weighted_pool_stale(
    weighted: Platform, small: Path
) -> None:
    forecast(weighted, "Alpha", "pool", SPAN)
    other = _platform(small, WEIGHTED, seed=5)
    forecast(other, "Alpha", "naive", SPAN[1:2])
    planned = plan(weighted, "Alpha", "pool", "v1.0", SPAN)
    assert set(planned.failed) == {SPAN[1]}, "of another seed: it is made anew first"
    stale = {day for chunk in planned.chunks for day in chunk.dates}
    # Those on which one of its targets (from a session on) is known.
    assert stale >= set(SPAN[3:])
    assert SPAN[0] not in stale


def test_closes_on_and_after_a_date_have_no_part_in_its_weights(
    weighted: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast(weighted, "Alpha", "pool", SPAN)
    before = _paths(weighted, "pool")
    read = weighted.series_table("Alpha")
    close = read.columns["close"].copy()
    close[read.dates >= np.datetime64(SPAN[5])] *= 1.2
    changed = replace(read, columns={**read.columns, "close": close})
    shares = _shares_of_naive(weighted)
    monkeypatch.setattr(weighted, "series_table", lambda name: changed)
    for model in (*MEMBERS, "pool"):
        assert forecast(weighted, "Alpha", model, SPAN, overwrite=True).written == set(SPAN)
    after = _paths(weighted, "pool")
    assert all(np.array_equal(after[day], before[day]) for day in SPAN[:6])
    assert _shares_of_naive(weighted)[6:] != shares[6:]


def _shares_of_naive(platform: Platform) -> list[float]:
    pool, naive = (_paths(platform, name) for name in ("pool", "naive"))
    return [float((pool[day] == naive[day]).all(axis=1).mean()) for day in SPAN]


@pytest.mark.parametrize("how", ["linear_pool", "quantile_average"])
def test_series_stay_as_joint_as_their_members_are(small: Path, how: str) -> None:
    platform = _platform(small, {**POOL, "how": how})
    days = SPAN[:3]
    for series in ("Alpha", "Beta"):
        train(platform, series, "pool", WINDOWS)
        for model in (*MEMBERS, "pool"):
            assert not forecast(platform, series, model, days).failed
    reader = Reader(platform.settings, platform.warehouse)
    found = {
        model: [
            np.corrcoef(*(reader.paths(series, model)[day][:, -1] for series in ("Alpha", "Beta")))[0, 1]
            for day in days
        ]
        for model in (*MEMBERS, "pool")
    }
    assert min(found["naive"]) > 0.4
    assert np.allclose(found["pool"], (np.array(found["naive"]) + found["random_walk"]) / 2, atol=0.12)


def test_a_quantile_average_has_the_mean_of_its_members_quantiles(pooled: Platform, small: Path) -> None:
    platform = _platform(small, {**POOL, "name": "mean", "how": "quantile_average"})
    train(platform, "Alpha", "mean", WINDOWS)
    assert forecast(platform, "Alpha", "mean", SPAN).written == set(SPAN)
    made, *members = ([_paths(platform, name)[day] for day in SPAN] for name in ("mean", *MEMBERS))
    sorted_members = np.sort(np.array(members, np.float64), axis=2)
    assert np.allclose(np.sort(np.array(made), axis=1), sorted_members.mean(axis=0), rtol=1e-6)
