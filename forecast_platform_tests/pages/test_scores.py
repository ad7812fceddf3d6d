"""The leaderboard's numbers equal a slow computation, on the same dates for both sides, each last close once."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from forecast_platform.forecasting.metrics import diebold_mariano
from forecast_platform.pages.scores import COLUMNS, by_horizon, leaderboard


def _slow(metadata: pd.DataFrame, model: str, suffix: str, days: int) -> dict[str, float]:
    """Row by row in plain Python."""
    known_to = max(
        row.forecast_date + dt.timedelta(days=int(row.actuals_available) - 1)
        for row in metadata.itertuples()
        if row.actuals_available
    )

    def usable(name: str) -> dict[dt.date, dict]:
        return {
            row["forecast_date"]: row
            for row in metadata.to_dict("records")
            if row["model_name"] == name
            and row["model_success"]
            and not row["has_data_leakage"]
            and not np.isnan(row[f"crps_{suffix}"])
            and row["forecast_date"] + dt.timedelta(days=days - 1) <= known_to
        }

    mine, naive = usable(model), usable("naive")
    newest: dict[dt.date, dt.date] = {}
    for date in sorted(set(mine) & set(naive)):
        newest[mine[date]["last_observed_date"]] = date
    dates = sorted(newest.values())
    pick = {name: np.array([mine[date][f"{name}_{suffix}"] for date in dates]) for name in ("crps", "mae", "rmse")}
    other = np.array([naive[date][f"crps_{suffix}"] for date in dates])
    return {
        "n_dates": len(dates),
        "crps": pick["crps"].mean(),
        "skill": 1 - pick["crps"].mean() / other.mean(),
        "dm_p": diebold_mariano(pick["crps"], other, {1: 1, 7: 5, 14: 10}[days]).p_value,
        "mae": pick["mae"].mean(),
        "rmse": np.sqrt((pick["rmse"] ** 2).mean()),
        "coverage_80": np.mean([mine[date][f"coverage_80_{suffix}"] for date in dates]),
        "direction": np.nanmean([mine[date]["dir_day0"] for date in dates]),
    }


@pytest.mark.parametrize(("suffix", "days"), [("1d", 1), ("7d", 7), ("14d", 14)])
def test_leaderboard_equals_a_slow_computation(metadata: pd.DataFrame, suffix: str, days: int) -> None:
    metadata = metadata.drop(metadata.index[130:150]).sample(frac=1, random_state=0)
    board = leaderboard(metadata, suffix).set_index("model_name")
    for model in ("sharp", "wild"):
        for name, expected in _slow(metadata, model, suffix, days).items():
            assert board.loc[model, name] == pytest.approx(expected, rel=1e-12)


def test_better_models_rank_higher_and_naive_is_its_own_reference(metadata: pd.DataFrame) -> None:
    board = leaderboard(metadata)
    assert list(board.columns) == list(COLUMNS)
    assert board["model_name"].tolist() == ["sharp", "naive", "wild"]
    naive = board.iloc[1]
    assert naive["skill"] == 0
    assert np.isnan(naive["dm_p"])
    assert board.iloc[2]["dm_p"] < 0.05


def test_forecasts_whose_span_is_still_open_do_not_count(metadata: pd.DataFrame) -> None:
    closed = metadata[metadata["actuals_available"] == 14]
    pd.testing.assert_frame_equal(leaderboard(metadata), leaderboard(closed))


def test_one_unknown_close_does_not_exclude_the_forecasts_around_it(metadata: pd.DataFrame) -> None:
    before = leaderboard(metadata)["n_dates"].max()
    metadata.loc[metadata["forecast_date"] == dt.date(2020, 2, 3), "actuals_available"] = 13
    assert leaderboard(metadata)["n_dates"].max() == before


def test_failed_and_leaked_forecasts_never_count(metadata: pd.DataFrame) -> None:
    day = dt.date(2020, 2, 3)
    hit = (metadata["model_name"] == "sharp") & (metadata["forecast_date"] == day)
    without = leaderboard(metadata[~hit])
    for column, value in (("model_success", False), ("has_data_leakage", True)):
        changed = metadata.copy()
        changed.loc[hit, column] = value
        changed.loc[hit, "crps_14d"] = 1e9
        pd.testing.assert_frame_equal(leaderboard(changed), without)


def test_weekend_forecasts_add_nothing_to_mondays(metadata: pd.DataFrame) -> None:
    weekend = pd.to_datetime(metadata["forecast_date"]).dt.dayofweek >= 5
    changed = metadata.copy()
    changed.loc[weekend, "crps_14d"] *= 100
    # Monday 2020-04-13 is the last whose 14 days are known, so no weekend stands in for an open Monday.
    closed = changed["forecast_date"] <= dt.date(2020, 4, 13)
    pd.testing.assert_frame_equal(leaderboard(changed[closed]), leaderboard(metadata[closed]))


def test_a_version_without_a_naive_model_is_compared_with_the_fullest_one(metadata: pd.DataFrame) -> None:
    other = metadata[metadata["model_name"] == "sharp"].assign(model_version="v2.0")
    board = leaderboard(pd.concat([metadata, other])).set_index(["model_name", "model_version"])
    assert board.loc[("sharp", "v2.0"), "skill"] == board.loc[("sharp", "v1.0"), "skill"]


def test_without_a_naive_model_crps_ranks(metadata: pd.DataFrame) -> None:
    board = leaderboard(metadata[metadata["model_name"] != "naive"])
    assert board["model_name"].tolist() == ["sharp", "wild"]
    assert board["skill"].isna().all()


def test_by_horizon_holds_each_span_of_each_model_best_first(metadata: pd.DataFrame) -> None:
    spans = by_horizon(metadata)
    assert spans["horizon"].tolist() == ["1d", "7d", "14d"] * 3
    assert spans["model_name"].tolist() == ["sharp"] * 3 + ["naive"] * 3 + ["wild"] * 3
    last = spans[spans["horizon"] == "14d"].drop(columns="horizon").reset_index(drop=True)
    pd.testing.assert_frame_equal(last, leaderboard(metadata))


def test_nothing_scored_gives_an_empty_board(metadata: pd.DataFrame) -> None:
    assert leaderboard(metadata[:0]).empty
    assert by_horizon(metadata[:0]).empty


def test_several_series_at_once_are_refused(metadata: pd.DataFrame) -> None:
    metadata.loc[0, "commodity"] = "Sugar"
    with pytest.raises(ValueError, match="Coffee, Sugar"):
        leaderboard(metadata)


def test_unknown_horizons_are_named(metadata: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="3d"):
        leaderboard(metadata, "3d")
