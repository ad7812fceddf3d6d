"""Comparisons over several series, and what the report says of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast_platform.forecasting.pooling import Losses
from forecast_platform.pages.leaderboard import write_report
from forecast_platform.pages.oracles import over_series
from forecast_platform.pages.pooled import PRICE, Calibration, OverAll, calibrations, pooled_board, pooled_duel
from forecast_platform.pages.scores import ModelKey


@pytest.fixture
def frames(metadata: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The same scores as of two series in two units."""
    cents = metadata.assign(**{PRICE: 100.0})
    spans = [column for column in metadata.columns if column.startswith("crps")]
    dollars = cents.assign(**{name: cents[name] / 50 for name in [*spans, PRICE]}, commodity="Sugar")
    return {"Coffee": cents, "Sugar": dollars}


def test_every_model_but_naive_is_compared_by_horizon_best_first(frames: dict[str, pd.DataFrame]) -> None:
    board = pooled_board(frames)
    assert board["model_name"].tolist() == ["sharp"] * 3 + ["wild"] * 3
    assert board["horizon"].tolist() == ["1d", "7d", "14d"] * 2
    assert (board["n_series"] == 2).all()
    assert ((board["low"] < board["skill"]) & (board["skill"] < board["high"])).all()
    alone = pooled_board({"Coffee": frames["Coffee"]})
    # The same series twice is no more evidence than once.
    assert np.allclose(board[["skill", "low", "high", "dm_p"]], alone[["skill", "low", "high", "dm_p"]])


def test_a_series_without_the_model_or_without_rows_is_left_out(frames: dict[str, pd.DataFrame]) -> None:
    frames["Gold"] = frames["Coffee"].iloc[:0]
    frames["Sugar"] = frames["Sugar"][frames["Sugar"]["model_name"] != "sharp"]
    board = pooled_board(frames).set_index(["model_name", "horizon"])
    assert board.loc[("sharp", "14d"), "n_series"] == 1
    assert board.loc[("wild", "14d"), "n_series"] == 2
    assert pooled_board({}).empty


def test_a_duel_is_of_the_second_against_the_first(frames: dict[str, pd.DataFrame]) -> None:
    better = pooled_duel(frames, ModelKey("wild", "v1.0"), ModelKey("sharp", "v1.0"))
    worse = pooled_duel(frames, ModelKey("sharp", "v1.0"), ModelKey("wild", "v1.0"))
    assert better.skill > 0.3
    assert worse.skill < 0
    assert better.n_series == 2
    assert pooled_duel(frames, ModelKey("sharp", "v1.0"), ModelKey("sharp", "v2.0")).n_dates == 0


def test_calibration_is_judged_by_forty_years_of_series_or_ten_of_one(frames: dict[str, pd.DataFrame]) -> None:
    found = {(one.model.name, one.series): one for one in calibrations(frames)}
    assert set(found) == {(m, s) for m in ("naive", "sharp", "wild") for s in (None, "Coffee", "Sugar")}
    wild = found["wild", None]
    assert not wild.judged
    assert "over 2 series" in wild.text
    assert "0.6 years together are too few to judge by (40 are needed)" in wild.text
    long = replace(wild, n_series=9, years=40.0)
    assert "over 9 series" in long.text
    assert "NOT calibrated (within 1.5 points is allowed)" in long.text
    single = found["sharp", "Coffee"]
    assert not single.judged
    assert "0.3 years are too few to judge by (10 are needed)" in single.text


@pytest.mark.parametrize(
    ("series", "in_80", "in_95", "holds"),
    [
        (None, 0.814, 0.949, True),
        (None, 0.816, 0.95, False),
        ("Coffee", 0.771, 0.96, True),
        ("Coffee", 0.80, 0.985, False),
    ],
)
def test_bands_may_be_off_by_a_point_and_a_half_over_all_and_by_three_in_a_series(
    series: str | None, in_80: float, in_95: float, holds: bool
) -> None:
    count = 1 if series else 9
    one = Calibration(ModelKey("sharp", "v1.0"), series, count, 10.0 * count, in_80, in_95)
    assert one.judged
    assert one.holds is holds


def test_the_report_shows_the_comparison_and_the_oracle_beside_the_series_own(
    tmp_path: Path, metadata: pd.DataFrame, frames: dict[str, pd.DataFrame], expected_dates: list[dt.date]
) -> None:
    losses = Losses(np.arange("2020-01-01", "2020-04-01", dtype="datetime64[D]"), *np.ones((3, 91)))
    spans = {"target days in": {"14d": losses._replace(loss=0.95 * losses.reference)}}
    together = OverAll(pooled_board(frames), calibrations(frames), over_series([spans, spans], 14))
    path = write_report(
        tmp_path,
        series="Coffee",
        metadata=metadata,
        expected_dates=expected_dates,
        over_all=together,
        oracle={"target days left out": (1.2345, 0.041, 77), "target days in": (1.1, 0.06, 77)},
    )
    text = path.read_text(encoding="utf-8")
    best = together.board[together.board["horizon"] == "14d"].iloc[0]
    for part in (
        "Over all series",
        f"{100 * best['low']:+.1f} to {100 * best['high']:+.1f} %",
        "oracle: target days left out",
        "oracle: target days in",
        "+4.1 %",
        "An oracle is no forecast",
        "so over few years a model can stand above an oracle",
        "+5.0 %",
        "years together are too few to judge by",
    ):
        assert part in text, part
    plain = write_report(tmp_path, series="Coffee", metadata=metadata, expected_dates=expected_dates)
    assert "Over all series" not in plain.read_text(encoding="utf-8")
