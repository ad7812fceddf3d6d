"""Leaderboards from forecast_metadata rows: pure functions, used by the report and by the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from forecast_platform.forecasting import horizon
from forecast_platform.forecasting.history import Bools, Dates
from forecast_platform.forecasting.metrics import diebold_mariano, pooled, skill, unique_origins

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "naive"
"""The model whose CRPS skill is measured against."""

COLUMNS = (
    "model_name", "model_version", "n_dates", "crps", "skill", "dm_p", "coverage_80", "coverage_95", "mae", "rmse",
    "mape", "direction",
)  # fmt: skip


class ModelKey(NamedTuple):
    """A model and its version tag."""

    name: str
    version: str


def horizon_of(metadata: pd.DataFrame) -> int:
    """Days that the forecasts of forecast_metadata rows cover, by its columns."""
    return horizon.of_columns(metadata.columns) or horizon.DEFAULT


def horizon_of_all(metadata: Mapping[str, pd.DataFrame]) -> int:
    """The same of several series' rows, which are one warehouse's."""
    return horizon_of(next(iter(metadata.values()))) if metadata else horizon.DEFAULT


def overlap(suffix: str) -> int:
    """Trading sessions of a span: how far the losses of neighbouring forecasts overlap."""
    return horizon.sessions(int(suffix.removesuffix("d")))


def leaderboard(metadata: pd.DataFrame, suffix: str | None = None) -> pd.DataFrame:
    """One row a model and version, best first: COLUMNS.

    metadata: forecast_metadata rows of one series. suffix: the span, `7d`; the whole horizon where None. Each model is
    compared with the naive model (of the same version tag where there is one) on the dates that both have, each last
    known close counted once; n_dates counts those.
    Only forecasts that succeeded, have no leak, and whose `suffix` span has ended count. skill is 1 - crps /
    naive's crps; dm_p the two-sided Diebold-Mariano p-value of the two CRPS series; coverage_80 and coverage_95
    (hit rates) and direction shares in 0..1; mape in per cent. A model's figures cover the dates it shares with the
    naive model, so models with fewer dates than others are ranked by skill, not by raw CRPS; without a naive model,
    by CRPS over each model's own dates.
    Raises ValueError where rows of several series are given.
    """
    import pandas as pd

    suffix = suffix or horizon.suffix(horizon_of(metadata))
    groups = scored(metadata, suffix)
    rows = []
    for key, own in groups.items():
        reference = _reference(key, groups)
        other = None if reference is None else groups[reference]
        if other is not None and reference != key:
            common = np.intersect1d(own["forecast_date"].to_numpy(), other["forecast_date"].to_numpy())
            own, other = (frame[frame["forecast_date"].isin(common)] for frame in (own, other))
        keep = counted(own)
        column = {
            name: pooled(own[f"{name}_{suffix}"].to_numpy(np.float64), keep)
            for name in ("crps", "coverage_80", "coverage_95", "mae", "mape")
        }
        row: dict[str, Any] = {
            "model_name": key.name,
            "model_version": key.version,
            "n_dates": int(keep.sum()),
            **column,
        }
        row["rmse"] = pooled(own[f"rmse_{suffix}"].to_numpy(np.float64), keep, "root_mean_square")
        row["direction"] = pooled(own["dir_day0"].to_numpy(np.float64), keep)
        row["skill"] = row["dm_p"] = np.nan
        if other is not None:
            mine, naive = (frame[f"crps_{suffix}"].to_numpy(np.float64)[keep] for frame in (own, other))
            row["skill"] = float(skill(row["crps"], float(naive.mean()) if len(naive) else np.nan))
            if reference != key:
                row["dm_p"] = diebold_mariano(mine, naive, overlap(suffix)).p_value
        rows.append(row)
    board = pd.DataFrame(rows, columns=list(COLUMNS))
    order = ["skill", "crps", "model_name", "model_version"]
    return board.sort_values(order, ascending=[False, True, True, True], na_position="last", ignore_index=True)


def by_horizon(metadata: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard's rows for each span, with a column `horizon` (1d, 7d, 14d); ranked by the last.

    Raises ValueError where rows of several series are given.
    """
    import pandas as pd

    boards = []
    for suffix in horizon.suffixes(horizon_of(metadata)):
        board = leaderboard(metadata, suffix)
        board.insert(2, "horizon", suffix)
        boards.append(board)
    rank = {(row.model_name, row.model_version): place for place, row in enumerate(boards[-1].itertuples())}
    whole = pd.concat(boards, ignore_index=True)
    # A stable sort keeps 1d before 7d before 14d within a model.
    place = [rank.get(key, len(rank)) for key in zip(whole["model_name"], whole["model_version"], strict=True)]
    return whole.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def scored(metadata: pd.DataFrame, suffix: str) -> dict[ModelKey, pd.DataFrame]:
    """Rows that count for the span `suffix`, by model and version, ascending by forecast date.

    A span has ended where its last day is known of any forecast: one hole in the actuals does not exclude the
    forecasts around it, while a forecast whose later, harder days are still open does not count yet. Raises ValueError
    for a span that the horizon does not have.
    """
    known_spans = horizon.suffixes(horizon_of(metadata))
    if suffix not in known_spans:
        raise ValueError(f"horizon {suffix!r}: one of {', '.join(known_spans)}")
    frame = normalised(metadata)
    days, known = frame["forecast_date"].to_numpy("datetime64[D]"), frame["actuals_available"].fillna(0).to_numpy(int)
    groups: dict[ModelKey, pd.DataFrame] = {}
    if not (known > 0).any():
        return groups
    known_to = (days + known - 1)[known > 0].max()
    ended = days + (int(suffix.removesuffix("d")) - 1) <= known_to
    good = succeeded(frame) & ended & frame[f"crps_{suffix}"].notna().to_numpy()
    for (name, version), rows in frame[good].groupby(["model_name", "model_version"], sort=True):
        groups[ModelKey(str(name), str(version))] = rows.sort_values("forecast_date", ignore_index=True)
    return groups


def normalised(metadata: pd.DataFrame) -> pd.DataFrame:
    """A copy with the columns forecast_date and last_observed_date as datetime64. Raises ValueError where there are
    several series."""
    if "commodity" in metadata and metadata["commodity"].nunique() > 1:
        names = ", ".join(sorted(metadata["commodity"].astype(str).unique()))
        raise ValueError(f"forecast_metadata of several series ({names}): give the rows of one")
    frame = metadata.copy()
    for name in ("forecast_date", "last_observed_date"):
        # pandas.to_datetime does the same to date objects, thirty times slower.
        frame[name] = frame[name].to_numpy("datetime64[D]").astype("datetime64[ns]")
    return frame


def succeeded(metadata: pd.DataFrame) -> Bools:
    """True where a forecast was written and has no leak, [n]; an unknown value counts as a failure."""
    good = metadata["model_success"].eq(True).fillna(False).to_numpy(bool)
    leaked = metadata["has_data_leakage"].eq(True).fillna(False).to_numpy(bool)
    return np.asarray(good & ~leaked)


def counted(rows: pd.DataFrame) -> Bools:
    """Which of one model's rows pooled figures count: the latest forecast of each last known close, [n]."""
    last: Dates = rows["last_observed_date"].to_numpy("datetime64[D]")
    return unique_origins(last, rows["forecast_date"].to_numpy("datetime64[D]"))


def _reference(key: ModelKey, groups: dict[ModelKey, pd.DataFrame]) -> ModelKey | None:
    """The naive model with the same version tag, otherwise the one with the most dates."""
    candidates = [other for other in groups if other.name == REFERENCE]
    if ModelKey(REFERENCE, key.version) in candidates or key.name == REFERENCE:
        return ModelKey(REFERENCE, key.version)
    return max(candidates, key=lambda other: (len(groups[other]), other.version), default=None)
