"""What an ingest leaves as it is stored: closes whose unit seems to have changed; what a refused macro file gave."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from forecast_platform.settings import SeriesSettings
    from forecast_platform.sources.unify import UnifiedFrame


def held(series: SeriesSettings, unified: UnifiedFrame, stored: pa.Table) -> str | None:
    """Why a revision of the whole series is not written before a person has confirmed it; None where it may be.

    unified, stored: rows of unified_data, a row a date. A source that changes its unit multiplies nearly all closes by
    one factor. What was fitted on the closes before it would then forecast in the wrong unit. A day from the stored
    data's last on in the series' `confirmed` says that the new level is meant.
    """
    from forecast_platform.sources.meaning import one_factor

    if stored.num_rows == 0:
        return None
    stored = stored.filter(stored["is_observed"]).sort_by("date")
    days, closes = stored["date"].to_numpy().astype("datetime64[D]"), stored["close"].to_numpy()
    frame = unified.frame[unified.frame["is_observed"]]
    new_days, new = frame["date"].to_numpy().astype("datetime64[D]"), frame["close"].to_numpy("float64")
    shared, old_at, new_at = np.intersect1d(days, new_days, return_indices=True)
    factor = one_factor(closes[old_at], new[new_at])
    if factor is None or any(np.datetime64(day, "D") >= days[-1] for day in series.confirmed):
        return None
    ratio = new[new_at] / closes[old_at]
    moved = int((np.abs(ratio / factor - 1) <= 0.01).sum())
    return (
        f"{series.name}: {moved:,} of {len(shared):,} closes are {factor:.4g} of what they were: the unit has changed; "
        f"mend the source, or if it is meant, add `confirmed: [{new_days[-1]}]` to the series and run "
        f"`forecast-platform infer --commodity {series.name}`, which names the command that trains each model again"
    )


def keep_macro(unified: UnifiedFrame, stored: pd.DataFrame) -> UnifiedFrame:
    """A frame made without a macro file, with the macro columns that are `stored` (rows of unified_data), carried
    forward over new days.

    A series that no covariate ties to a refused macro file goes on without it; what the file had given stays.
    """
    import pandas as pd

    from forecast_platform.sources.base import MARKET_COLUMNS
    from forecast_platform.sources.validate import is_macro_column

    present = set(unified.frame.columns)
    macro = [
        name for name in stored.columns if is_macro_column(name) and name not in present and stored[name].notna().any()
    ]
    if not macro:
        return unified
    held = stored.assign(date=pd.to_datetime(stored["date"])).set_index("date").sort_index()
    frame = unified.frame.set_index("date")
    known = held.reindex(frame.index)
    frame[macro] = known[macro].ffill()
    new_days = known["filled_columns"].isna()

    def filled(own: str, old: object, is_new: bool) -> str:
        market = [name for name in own.split(",") if name in MARKET_COLUMNS]
        rest = [name for name in own.split(",") if name and name not in MARKET_COLUMNS]
        kept = macro if is_new else [name for name in str(old).split(",") if name in macro]
        return ",".join([*market, *kept, *rest])

    columns = (frame["filled_columns"], known["filled_columns"], new_days)
    frame["filled_columns"] = [filled(*row) for row in zip(*columns, strict=True)]
    note = f"the macro file is refused: the values of {', '.join(macro)} are those known before, carried forward"
    return replace(unified, frame=frame.reset_index(), notes=[*unified.notes, note])
