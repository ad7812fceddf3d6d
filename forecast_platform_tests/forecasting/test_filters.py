"""The recursive filter has the bits of scipy's, which takes most of a second to import."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from forecast_platform.forecasting.filters import linear_filter


@pytest.mark.parametrize(("p", "q"), [(p, q) for p in range(5) for q in range(5)])
def test_the_bits_are_scipy_s(p: int, q: int) -> None:
    rng = np.random.default_rng(10 * p + q)
    for scale in (1e-3, 1.0, 1e4):
        a, b = [1.0, *rng.normal(0, 0.3, p)], [*rng.normal(0, 1.0, q + 1)]
        x = scale * rng.standard_t(3, int(rng.integers(1, 300)))
        x[rng.integers(len(x))] = 0.0
        np.testing.assert_array_equal(linear_filter(b, a, x), lfilter(b, a, x))


def test_the_delays_before_the_first_value_are_taken() -> None:
    x = np.random.default_rng(1).normal(size=200)
    expected, _ = lfilter([0.1], [1.0, -0.9], x, zi=[0.9 * 3.0])
    found = linear_filter([0.1], [1.0, -0.9], x, [0.9 * 3.0])
    np.testing.assert_array_equal(found, expected)
    # Exponential smoothing from 3.0 on.
    assert found[0] == pytest.approx(0.9 * 3.0 + 0.1 * x[0])
