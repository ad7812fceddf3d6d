"""Conditional variance of innovations: one recursion, filtered over history and fed forward along paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecast_platform.forecasting.history import Floats

NEWS = 0.05
PERSISTENCE = 0.99
LIMIT = 9.0


@dataclass(frozen=True)
class ConditionalVariance:
    """v[k+1] = omega + alpha min(e[k]^2, limit v[k]) + beta v[k], with v[0] = level.

    GARCH(1,1) (Bollerslev, 1986) whose news is bounded, as in Muler and Yohai (2008): one price that passes through
    zero moves the variance by a factor and not by orders of magnitude, and a path that draws it cannot explode.
    """

    omega: float
    alpha: float
    beta: float
    limit: float
    level: float
    """Variance of the training window's innovations: where the recursion starts, and what it returns to."""

    @classmethod
    def fit(cls, innovations: Floats) -> ConditionalVariance:
        """Parameters for a training window's innovations [n]; those that are not finite are passed over.

        Raises ValueError where the innovations do not vary.
        """
        known = innovations[np.isfinite(innovations)]
        level = float(np.mean(known**2)) if len(known) else 0.0
        if not level > 0.0:
            raise ValueError(f"the {len(known)} innovations have variance {level}: the series does not move")
        return cls((1.0 - PERSISTENCE) * level, NEWS, PERSISTENCE - NEWS, LIMIT, level)

    def filter(self, innovations: Floats) -> Floats:
        """Variances, float64 [n + 1]: element k is the variance of innovation k, given the k before it.

        An innovation that is not finite (a roll day) counts as one of the size of its expectation.
        """
        variance = self.level
        variances = [variance]
        # Plain floats: a thousand steps of a bounded, hence nonlinear, recursion take well under a millisecond.
        for square in (innovations**2).tolist():
            news = min(square, self.limit * variance) if square == square else variance
            variance = self.omega + self.alpha * news + self.beta * variance
            variances.append(variance)
        return np.array(variances)

    def step(self, variance: Floats, innovation: Floats) -> Floats:
        """The variance that follows, elementwise."""
        news = np.minimum(innovation**2, self.limit * variance)
        news *= self.alpha
        news += self.beta * variance
        news += self.omega
        return news

    def to_state(self) -> dict[str, float]:
        """Parameters by name."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ConditionalVariance:
        """What `to_state` wrote."""
        return cls(**state)
