"""What the tasks of one run need to find out once, over the same rows and folds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from forecast_platform.ensembles.bundles import Fitted
from forecast_platform.ensembles.encoding import Encoder
from forecast_platform.ensembles.nearby import Near
from forecast_platform.ensembles.ratios import Ratio
from forecast_platform.ensembles.routing import Router

_MOST_HELD = 64 * 2**20
"""Bytes of predictions that a run remembers; what is more is read from the store again."""


@dataclass
class Memory:
    """What one run has found out.

    routers: by the splits' name and the route task, one a split. crosses: the pairs of columns that interact, and what
    near rows say, by split. ratios: of columns that are alike, by split. fits: by place, without their models. scores:
    by what was asked, the predictions' hash and that of the rows.
    """

    routers: dict[str, dict[str, list[Router]]] = field(default_factory=lambda: {"folds": {}})
    crosses: dict[Any, tuple[list[tuple[str, str]], list[Near]]] = field(default_factory=dict)
    ratios: dict[Any, list[Ratio]] = field(default_factory=dict)
    fits: dict[str, Fitted] = field(default_factory=dict)
    scores: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    held: int = 0
    """Bytes of the fits' predictions."""

    def remembered(self, place: str, found: Fitted) -> Fitted:
        """The fit of a place, which is remembered without its models where there is room for it."""
        if place not in self.fits and self.held + found.valid.nbytes <= _MOST_HELD:
            self.held += found.valid.nbytes
            self.fits[place] = replace(found, encoder=Encoder({}), learners={})
        return found
