"""Is a forecast fit to be published? What fails here is never written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Bools, Floats

EXPLODING = 25.0
"""How many times the last close (in absolute value) a path may move before the forecast is called exploding.

Wide on purpose: crude oil moved by four times its last close in a session in April 2020, and no path is clipped."""

OTHER_PRICES = 0.15
"""How far beyond all of a forecast's paths, in relation to the price, the close lies that they cannot have begun at."""


def other_prices(last_close: Floats, low: Floats, high: Floats) -> Bools:
    """Whether forecasts whose paths run from `low` to `high` cannot have begun at `last_close`: their series has been
    ingested anew in another unit, or with another history, since. All [n], in the price's unit; false where nan."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    gap = np.maximum(low - last_close, last_close - high)
    return np.asarray(gap > OTHER_PRICES * np.maximum(np.maximum(np.abs(low), np.abs(high)), np.abs(last_close)))


def other_prices_by_bands(last_close: Floats, lower: Floats, upper: Floats) -> Bools:
    """`other_prices` where of the paths only their 95 % bands are known, `lower` and `upper` [n, horizon]: they are
    taken to run as far again beyond them on either side. last_close: [n]; to [n]."""
    low, high = lower.min(axis=-1), upper.max(axis=-1)
    return other_prices(last_close, low - (high - low), high + (high - low))


def invalid_paths(paths: NDArray[np.float32], last_close: Floats, trading: Bools) -> dict[int, str]:
    """The origins that must not be published, by position, with the reason.

    paths float32 [n_origins, n_paths, horizon] and last_close [n_origins], in the price's unit; trading bool
    [n_origins, horizon], whether the exchange trades on the target day. A forecast must be finite, must not explode,
    must hold the last close until the exchange first trades, and its paths must differ once it has.
    """
    bad: dict[int, str] = {}
    by_day = np.moveaxis(paths, 2, 1)  # [n_origins, horizon, n_paths]
    low, high = by_day.min(axis=2), by_day.max(axis=2)  # NaN where any path is NaN
    finite = np.isfinite(low) & np.isfinite(high)
    scale = np.maximum(np.abs(last_close), 1.0)[:, None]
    far = np.maximum(np.abs(high - last_close[:, None]), np.abs(low - last_close[:, None]))
    held = np.cumsum(trading, axis=1) == 0
    start = last_close.astype(np.float32)[:, None]
    moved = held & ((low != start) | (high != start))
    flat = trading.any(axis=1) & (low[:, -1] == high[:, -1])
    for row in range(len(paths)):
        if not finite[row].all():
            bad[row] = f"not finite on day_{int(np.argmin(finite[row])) + 1}: the model produced NaN or infinity"
        elif (far[row] > EXPLODING * scale[row]).any():
            bad[row] = (
                f"exploding: a path reaches {low[row].min():.6g} to {high[row].max():.6g} from a last close of "
                f"{last_close[row]:.6g}; look at the fitted model, train it again or drop it"
            )
        elif moved[row].any():
            bad[row] = f"paths do not start from the last close {last_close[row]:.6g} while the exchange is shut"
        elif flat[row]:
            bad[row] = "all paths are the same: the model has no uncertainty"
    return bad
