"""The recursive filter behind exponential smoothing and ARMA innovations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecast_platform.forecasting.history import Floats


def linear_filter(b: Sequence[float], a: Sequence[float], x: Floats, state: Sequence[float] = ()) -> Floats:
    """y[k] = b[0] x[k] + b[1] x[k-1] + ... - a[1] y[k-1] - a[2] y[k-2] - ..., [n] for x [n]; a[0] is 1.

    state: the delays before the first value, zeros where empty. Direct form II transposed (Oppenheim and Schafer,
    2010), in the order and so to the bits of scipy.signal.lfilter, whose import takes most of a second of each command.
    """
    if len(a) == 1:
        return np.asarray(np.convolve(np.asarray(b, np.float64), x)[: len(x)])
    order = max(len(a), len(b)) - 1
    b, a = [*b, *[0.0] * (order + 1 - len(b))], [*a, *[0.0] * (order + 1 - len(a))]
    delays = list(state) or [0.0] * order
    y = []
    for value in x.tolist():
        out = delays[0] + b[0] * value
        for lag in range(1, order):
            delays[lag - 1] = delays[lag] + value * b[lag] - out * a[lag]
        delays[-1] = value * b[order] - out * a[order]
        y.append(out)
    return np.array(y)
