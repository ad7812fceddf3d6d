"""How much is possible: naive with the volatility that was realised, of one series and over many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import ONE_DAY, History
from forecast_platform.forecasting.horizon import suffix, suffixes
from forecast_platform.forecasting.pooling import Losses, pooled_skill
from forecast_platform.pages.pooled import COLUMNS
from forecast_platform.pages.scores import REFERENCE, ModelKey, counted, overlap, scored
from forecast_platform.work.platform import Platform, SeriesTable

if TYPE_CHECKING:
    import pandas as pd

NAMES = {"target days left out": False, "target days in": True}
"""What a volatility is called by whether the target days are part of it."""

Spans = Mapping[str, Mapping[str, Losses]]
"""By name of the oracle, and by the suffix of a span, its losses beside naive's."""


def oracle_losses(platform: Platform, series: str, metadata: pd.DataFrame) -> Spans:
    """The oracles of a series on naive's scored dates of the configured version; without a date where it has none.

    metadata: the series' forecast_metadata rows.
    """
    from forecast_platform.forecasting.oracle import oracle_crps

    naive, key = {}, ModelKey(REFERENCE, platform.settings.model_version)
    for name in suffixes(platform.horizon):
        rows = scored(metadata, name).get(key) if len(metadata) else None
        if rows is not None:
            rows = rows[counted(rows)]
            naive[name] = rows["forecast_date"].to_numpy("datetime64[D]"), rows[f"crps_{name}"].to_numpy(np.float64)
    if not naive:
        return {}
    history = _history(platform.series_table(series))
    origins = np.unique(np.concatenate([days for days, _ in naive.values()]))
    origins = origins[origins > history.observed_dates[0]]
    level = history.observed_close[history.known_sessions(origins) - 1] if len(origins) else np.empty(0)
    found: dict[str, dict[str, Losses]] = {}
    for label, inside in NAMES.items():
        scores = oracle_crps(history, origins, platform.horizon, targets_in=inside)
        losses = dict(zip(suffixes(platform.horizon), scores, strict=True))
        for name, (days, reference) in naive.items():
            there = np.isin(days, origins)
            place = np.searchsorted(origins, days[there])
            own = Losses(days[there], losses[name][place], reference[there], level[place])
            found.setdefault(label, {})[name] = own
    return found


def of_series(spans: Spans, days: int) -> dict[str, tuple[float, float, int]]:
    """By name CRPS over the horizon of `days`, skill against naive, and dates; what has none is left out."""
    found = {}
    for label, each in spans.items():
        own = each.get(suffix(days))
        both = np.isfinite(own.loss) & np.isfinite(own.reference) if own is not None else np.zeros(0, bool)
        if own is not None and both.any() and own.reference[both].mean() > 0:
            mean = float(own.loss[both].mean())
            found[label] = (mean, 1 - mean / float(own.reference[both].mean()), int(both.sum()))
    return found


def over_series(each: Iterable[Spans], days: int) -> pd.DataFrame:
    """One row an oracle and span over several series, as `pooled.pooled_board`'s: COLUMNS."""
    import pandas as pd

    rows, found = [], list(each)
    for label in NAMES:
        for name in suffixes(days):
            pool = [spans[label][name] for spans in found if name in spans.get(label, {})]
            result = pooled_skill(pool, overlap(name))
            if result.n_dates:
                counts = (result.n_series, result.n_dates)
                rows.append((f"oracle: {label}", "", name, *counts, *result[:4]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _history(table: SeriesTable) -> History:
    """All of a series' days, from after the last hole in them."""
    holes = np.flatnonzero(np.diff(table.dates) != ONE_DAY)
    first = table.dates[holes[-1] + 1] if len(holes) else table.dates[0]
    return table.history(first, table.dates[-1] + ONE_DAY, (), ("rolls", "second_contract"))
