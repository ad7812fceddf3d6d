"""The scale that models work on: logarithmic for large prices, linear around zero, defined for negative ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecast_platform.forecasting.history import Floats

SCALE_FACTOR = 0.5
"""The transform's scale in units of the training window's median absolute close."""


@dataclass(frozen=True)
class AsinhTransform:
    """y = asinh(close / scale); the inverse is scale * sinh(y), for every real y (Burbidge, Magee and Robb, 1988).

    Closes and `scale` are in the price's unit, y has none. For |close| >> scale a step in y is a log return, for
    |close| << scale an absolute one in units of `scale`: no price needs a guard, and no path can be clipped. `scale`
    must stay of the order of the price: with a small one, a passage through zero is a huge step in y, which as a
    residual would multiply later prices by it.
    """

    scale: float

    @classmethod
    def fit(cls, closes: Floats) -> AsinhTransform:
        """The transform of a training window's closes [n], in the price's unit. Raises ValueError where more than half
        are zero."""
        typical = float(np.median(np.abs(closes)))
        if not typical > 0.0:
            raise ValueError(f"the median absolute close is {typical}: a series of zeros has no scale")
        return cls(SCALE_FACTOR * typical)

    def forward(self, close: Floats) -> Floats:
        """Closes [...] in the price's unit to the model's scale y, float64 [...]."""
        return np.arcsinh(close / self.scale)

    def inverse(self, y: Floats) -> Floats:
        """y [...] on the model's scale to closes, float64 [...], in the price's unit."""
        return self.scale * np.sinh(y)
