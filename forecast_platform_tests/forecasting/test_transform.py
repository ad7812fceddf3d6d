from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.forecasting.transform import AsinhTransform


def test_inverse_undoes_forward_for_every_sign() -> None:
    closes = np.array([-36.98, -1e-9, 0.0, 0.01, 20.0, 3000.0])
    transform = AsinhTransform(25.0)
    assert transform.inverse(transform.forward(closes)) == pytest.approx(closes, rel=1e-14)


def test_steps_are_relative_for_large_prices_and_absolute_near_zero() -> None:
    transform = AsinhTransform(1.0)
    assert np.diff(transform.forward(np.array([1e4, 1.1e4])))[0] == pytest.approx(np.log(1.1), rel=1e-6)
    assert np.diff(transform.forward(np.array([-0.001, 0.001])))[0] == pytest.approx(0.002, rel=1e-5)


def test_scale_follows_the_price_and_is_blind_to_sign() -> None:
    closes = np.array([40.0, 50.0, 60.0])
    assert AsinhTransform.fit(10 * closes).scale == 10 * AsinhTransform.fit(closes).scale
    assert AsinhTransform.fit(-closes) == AsinhTransform.fit(closes)


def test_rebound_from_a_negative_price_is_a_bounded_step() -> None:
    """WTI, April 2020: as a residual the step must not multiply later prices by orders of magnitude."""
    closes = np.concatenate([np.full(1000, 55.0), [18.31, -36.98, 8.91]])
    transform = AsinhTransform.fit(closes)
    assert np.exp(np.abs(np.diff(transform.forward(closes)))).max() < 10


def test_series_of_zeros_has_no_scale() -> None:
    with pytest.raises(ValueError, match="zeros"):
        AsinhTransform.fit(np.zeros(10))
