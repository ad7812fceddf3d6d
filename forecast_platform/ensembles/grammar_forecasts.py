"""`source: forecasts`: which of the daily graph's forecasts a workflow routes and votes over."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from forecast_platform.ensembles.grammar_parts import Part, listed


class Forecasts(Part):
    """The daily graph's forecasts as a source: models are what is combined, outcomes known by now the target."""

    of: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """The models; all configured ones where none is named."""
    series: Annotated[list[str], BeforeValidator(listed)] = Field(default_factory=list)
    """The series; all configured ones where none is named."""
    start: dt.date | None = None
    end: dt.date | None = None
    """The first and the last forecast date; all where none is named."""


OUTCOME, ORIGIN = "actual", "forecast_date"
"""The target of forecasts, and the time that they are made at."""


def with_forecasts(values: Any) -> Any:
    """`source: forecasts`, and what goes without saying of it: the target, the order in time, metrics of numbers."""
    source = values.get("source") if isinstance(values, dict) else None
    if source == "forecasts":
        source = {"forecasts": {}}
    if not isinstance(source, dict) or "forecasts" not in source:
        return values
    source = {"target": OUTCOME, **source, "forecasts": source["forecasts"] or {}}
    metric = {"regression": ["rmse", "mae"]}
    implied: dict[str, Any] = {"fold_type": ["time_series"], "time_col": ORIGIN, "metric": metric}
    return {**implied, **values, "source": source}
