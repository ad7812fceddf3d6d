"""Statistics come from the stored paths, equal numpy's own, and depend on nothing but those paths."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_platform.forecasting.summary import (
    Paths,
    Summary,
    quantile_of_sorted,
    sorted_paths,
    summarise,
    summarise_sorted,
)


def _paths(n_origins: int = 5, n_paths: int = 301, horizon: int = 14, seed: int = 0) -> Paths:
    noise = np.random.default_rng(seed).standard_normal((horizon, n_origins, n_paths))
    walk = 100 + 3 * noise.cumsum(axis=0)
    return np.moveaxis(walk.astype(np.float32), 0, 2)


def _fields(summary: Summary) -> dict[str, np.ndarray]:
    return {name: getattr(summary, name) for name in Summary.__dataclass_fields__}


def test_summary_equals_numpy_on_the_same_paths() -> None:
    paths = _paths()
    summary = summarise(paths)
    exact = paths.astype(np.float64)
    for name, level in {
        "median": 0.5,
        "lower_80": 0.1,
        "upper_80": 0.9,
        "lower_95": 0.025,
        "upper_95": 0.975,
    }.items():
        np.testing.assert_allclose(getattr(summary, name), np.quantile(exact, level, axis=1), rtol=1e-15)
    np.testing.assert_allclose(summary.mean, exact.mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(summary.std, exact.std(axis=1), rtol=1e-12)
    assert all(column.dtype == np.float64 and column.shape == (5, 14) for column in _fields(summary).values())


@given(
    arrays(np.float32, st.integers(1, 40), elements=st.floats(-1000, 1000, width=32)),
    st.floats(0, 1),
)
def test_quantile_of_sorted_equals_numpy_quantile(values: np.ndarray, level: float) -> None:
    expected = np.quantile(values.astype(np.float64), level)
    assert quantile_of_sorted(np.sort(values), level) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_result_does_not_depend_on_the_batch_the_memory_layout_or_the_order_of_paths() -> None:
    paths = _paths(n_origins=90)
    whole = _fields(summarise(paths))
    alone = _fields(summarise(paths[17:18]))
    copied = _fields(summarise(np.ascontiguousarray(paths)))
    shuffled = _fields(summarise(paths[:, np.random.default_rng(1).permutation(paths.shape[1])]))
    for name, column in whole.items():
        np.testing.assert_array_equal(column[17:18], alone[name])
        np.testing.assert_array_equal(column, copied[name])
        np.testing.assert_array_equal(column, shuffled[name])


def test_sorting_leaves_the_paths_as_they_are() -> None:
    for paths in (_paths(n_origins=1), np.ascontiguousarray(_paths()), _paths()):
        before = paths.copy()
        ordered = sorted_paths(paths)
        np.testing.assert_array_equal(paths, before)
        np.testing.assert_array_equal(ordered, np.sort(before, axis=1).transpose(0, 2, 1))
        np.testing.assert_array_equal(summarise_sorted(ordered).median, summarise(paths).median)


def test_bands_widen_with_the_spread_of_a_random_walk() -> None:
    summary = summarise(_paths(n_origins=50, n_paths=2000))
    lower, upper = summary.band(80)
    width = (upper - lower).mean(axis=0)
    np.testing.assert_allclose(width, 2 * 1.2815516 * 3 * np.sqrt(np.arange(1, 15)), rtol=0.03)
    assert (summary.lower_95 <= lower).all()
    assert (upper <= summary.upper_95).all()


def test_a_path_that_is_not_a_number_is_not_hidden() -> None:
    paths = np.ascontiguousarray(_paths())
    paths[2, 7, 3] = np.nan
    for column in _fields(summarise(paths)).values():
        assert np.isnan(column[2, 3])
        assert np.isfinite(column).sum() == column.size - 1


def test_negative_prices_are_summarised_like_any_other() -> None:
    paths = _paths()
    below, above = summarise(-paths), summarise(paths)
    np.testing.assert_allclose(below.lower_95, -above.upper_95, rtol=1e-12)
    np.testing.assert_allclose(below.mean, -above.mean, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 14), (3, 0, 14)])
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"paths have shape"):
        summarise(np.zeros(shape, np.float32))


def test_an_unknown_band_is_refused() -> None:
    with pytest.raises(ValueError, match="90"):
        summarise(_paths()).band(90)


def test_half_a_year_of_dates_takes_well_under_a_second() -> None:
    paths = _paths(n_origins=184, n_paths=2000)
    start = time.perf_counter()
    summarise(paths)
    assert time.perf_counter() - start < 1.0
