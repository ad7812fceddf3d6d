"""Prices for people."""

from __future__ import annotations

import math

HOVER = ",.6~r"
"""The same for a chart's script: six digits that count (d3-format)."""


def price_text(value: float) -> str:
    """`167.30`, `2.3860` (natural gas, copper, currencies), `0.007210`; a dash for NaN. In the price's own unit.

    Two decimals, and where these are fewer than three digits that count, four or six: at 2.386 a hundredth is .4 %.
    """
    if math.isnan(value):
        return "–"
    size = abs(value)
    return f"{value:,.{2 if size >= 10 or size == 0 else 4 if size >= 0.1 else 6}f}"
