"""The rolling backtest, the leaderboard and the forecast of a job, on real methods."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_platform.training_jobs.backtest import cutoffs, train, whole, windows_of
from forecast_platform.training_jobs.config import JobError
from forecast_platform.training_jobs.leaderboard import leaderboard
from forecast_platform.training_jobs.modes.base import Ask, CancelledError, Cut, Predicted, SeasonalNaive, Tick, naive
from forecast_platform.training_jobs.modes.statsforecast import Statistical
from forecast_platform.training_jobs.predictor import JobPredictor
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.training import PANEL, check, run_job
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly


@pytest.mark.parametrize(
    ("length", "found"),
    [
        (100, [96, 92, 88]),
        (17, [13, 9, 5]),
        (15, [11, 8, 5]),
        (12, [8, 7, 6]),
        (10, [6, 5]),
        (9, [5]),
        (8, []),
    ],
)
def test_windows_are_a_horizon_apart_and_closer_where_the_history_is_short(length: int, found: list[int]) -> None:
    assert cutoffs(length, 4, 3) == found


class Spy:
    """Notes what it is given, and forecasts the last value."""

    name = "spy"
    cost = 0.001

    def __init__(self, slow: Any = None, broken: bool = False) -> None:
        self.seen: list[tuple[Cut, list[np.ndarray]]] = []
        self.slow, self.broken = slow, broken

    def predict(self, cut: Cut, ask: Ask, tick: Tick) -> Predicted:
        self.seen.append((cut, [cut.values(row).copy() for row in range(len(cut.series))]))
        found = Predicted.empty(len(cut.series), ask)
        for row in range(len(cut.series)):
            if self.slow:
                self.slow()
            found.points[row], found.quantiles[row] = naive(cut.values(row), 1, ask)
            if self.broken and row == 0:
                found.failed[row] = "it does not like this one"
            tick(1)
        return found

    def save(self, folder: Path) -> bool:
        return False


def test_no_method_sees_a_row_on_or_after_its_cutoff() -> None:
    panel, config = panel_of(asked(weekly(2, 40)))
    spy = Spy()
    train(panel, config, [spy], windows_of(panel, config), Progress())
    lengths = [[len(values) for values in given] for _, given in spy.seen]
    assert lengths == [[36, 36], [32, 32], [28, 28], [40, 40]]
    for cut, given in spy.seen:
        for k, values in zip(cut.series, given, strict=True):
            assert (values == panel.series(k)[: len(values)]).all()


def test_every_model_is_judged_on_the_same_windows_and_seasonal_naive_is_among_them() -> None:
    panel, config = panel_of(asked(weekly(2, 60), season_length=13, models=["HistoricAverage", "DynamicTheta"]))
    windows = windows_of(panel, config)
    found, notes = train(panel, config, [Statistical(name) for name in config.chosen_models], windows, Progress())
    board = leaderboard(found, windows, config)
    assert {row["model"] for row in board} == {"SeasonalNaive", "Naive", "HistoricAverage", "DynamicTheta"}
    assert {row["windows"] for row in board} == {3}
    assert [row["score_val"] for row in board] == sorted(row["score_val"] for row in board)
    assert all(row["score_val"] == row["mase"] > 0 for row in board)
    assert notes == []


def test_the_library_s_own_cross_validation_gives_the_same_figures() -> None:
    import pandas as pd
    from statsforecast import StatsForecast
    from statsforecast.models import DynamicTheta

    panel, config = panel_of(asked(weekly(2, 60)))
    windows = windows_of(panel, config)
    [*_, ours], _ = train(panel, config, [Statistical("DynamicTheta")], windows, Progress())
    frame = pd.DataFrame({"unique_id": np.repeat(panel.ids, 60), "ds": np.tile(np.arange(60), 2), "y": panel.values})
    library = StatsForecast([DynamicTheta(season_length=1)], freq=1, n_jobs=1)
    theirs = library.cross_validation(df=frame, h=4, n_windows=3, step_size=4, level=[80, 95]).sort_values(
        ["unique_id", "cutoff", "ds"]
    )
    points = np.stack([one.points for one in reversed(ours.windows)], axis=1)
    upper = np.stack([one.quantiles[:, :, -1] for one in reversed(ours.windows)], axis=1)
    assert points.ravel() == pytest.approx(theirs["DynamicTheta"].to_numpy())
    assert upper.ravel() == pytest.approx(theirs["DynamicTheta-hi-95"].to_numpy())


def test_a_closed_gap_is_not_scored() -> None:
    rows = weekly(1, 40)
    for row in rows[-3:-1]:
        row["sales"] = None
    panel, config = panel_of(asked(rows))
    assert np.isnan(windows_of(panel, config)[0].actual).tolist() == [[False, True, True, False]]


def test_a_series_that_is_too_short_is_forecast_and_not_scored() -> None:
    rows = [row for row in weekly(2, 40) if row["store"] == "s0" or row["week"] >= "2023-09-11"]
    panel, config = panel_of(asked(rows))
    assert panel.lengths.tolist() == [40, 4]
    windows = windows_of(panel, config)
    assert [window.cut.series.tolist() for window in windows] == [[0]] * 3
    [base], _ = train(panel, config, [], windows, Progress())
    assert base.forecast is not None
    assert np.isfinite(base.forecast.quantiles[1]).all()


def test_a_horizon_that_no_series_can_be_judged_on_is_refused() -> None:
    panel, config = panel_of(asked(weekly(1, 8)))
    with pytest.raises(JobError, match="horizon: 4 steps ahead need 9 rows to be judged on, and the longest series ha"):
        check(panel, config)


def test_a_method_that_fails_is_counted_and_seasonal_naive_stands_in_its_place() -> None:
    panel, config = panel_of(asked(weekly(2, 40)))
    windows = windows_of(panel, config)
    found, notes = train(panel, config, [Spy(broken=True)], windows, Progress())
    assert [row["fallbacks"] for row in leaderboard(found, windows, config)] == [0, 4]
    assert notes == [
        "spy failed 4 of 8 times, seasonal naive stands in its place; the first time: series 's0': it does not like "
        "this one"
    ]


def test_a_method_that_is_not_done_in_time_is_left_out_and_said_so() -> None:
    panel, config = panel_of(asked(weekly(2, 40), time_limit=10))
    now = [0.0]

    def slow() -> None:
        now[0] += 3

    told: list[int] = []
    progress = Progress(lambda percent, step: told.append(percent), clock=lambda: now[0])
    found, notes = train(panel, config, [Spy(slow)], windows_of(panel, config), progress)
    assert [one.name for one in found] == ["SeasonalNaive"]
    assert notes == ["spy was not done within time_limit (10 s): left out"]
    assert told == sorted(told)


def test_the_limit_ends_one_long_fit_in_its_middle_whatever_it_catches() -> None:
    panel, config = panel_of(asked(weekly(1, 40), time_limit=0.3))

    def stubborn() -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                time.sleep(5)
            except Exception:  # noqa: BLE001 - as libraries do that try one candidate after another
                continue

    before = signal.getsignal(signal.SIGALRM)
    began = time.monotonic()
    found, notes = train(panel, config, [Spy(stubborn)], windows_of(panel, config), Progress())
    assert time.monotonic() - began < 5
    assert [one.name for one in found] == ["SeasonalNaive"]
    assert notes == ["spy was not done within time_limit (0.3 s): left out"]
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_progress_is_the_share_of_the_work_that_is_done_and_never_goes_back() -> None:
    now = [0.0]

    def slow() -> None:
        now[0] += 1

    panel, config = panel_of(asked(weekly(2, 40)))
    told: list[tuple[int, str]] = []
    progress = Progress(lambda percent, step: told.append((percent, step)), clock=lambda: now[0])
    train(panel, config, [Spy(slow)], windows_of(panel, config), progress)
    percents = [percent for percent, step in told if step.startswith("spy")]
    assert percents == sorted(percents)
    assert percents[0] < 15
    assert percents[-1] == 99
    assert ("spy: backtest window 2 of 3") in {step for _, step in told}


def test_a_cancel_ends_the_training_at_the_next_series() -> None:
    now, wanted = [0.0], [False]

    def slow() -> None:
        now[0] += 1
        wanted[0] = now[0] >= 3

    panel, config = panel_of(asked(weekly(2, 40)))
    progress = Progress(cancelled=lambda: wanted[0], clock=lambda: now[0])
    with pytest.raises(CancelledError):
        train(panel, config, [Spy(slow)], windows_of(panel, config), progress)
    assert now[0] == 3


def test_seasonal_naive_repeats_the_last_season_and_widens_with_each_one() -> None:
    values = np.array([1.0, 2.0, 3.0, 2.0, 4.0, 6.0])
    points, quantiles = naive(values, 3, Ask(4, (0.1, 0.5, 0.9), (80,), 3))
    assert points.tolist() == [2.0, 4.0, 6.0, 2.0]
    spread = np.sqrt(np.mean([1.0, 4.0, 9.0]))
    width = quantiles[:, 2] - points
    assert width[:3] == pytest.approx([1.2815515655 * spread] * 3)
    assert width[3] == pytest.approx(1.2815515655 * spread * np.sqrt(2))
    assert (quantiles[:, 1] == points).all()


def test_its_intervals_cover_what_they_say_on_a_random_walk() -> None:
    rng = np.random.default_rng(3)
    ask = Ask(5, (0.1, 0.5, 0.9), (80,), 1)
    inside = []
    for _ in range(400):
        walk = np.cumsum(rng.normal(size=205))
        _, quantiles = naive(walk[:200], 1, ask)
        inside.append((walk[200:] >= quantiles[:, 0]) & (walk[200:] <= quantiles[:, 2]))
    assert np.mean(inside) == pytest.approx(0.8, abs=0.03)


def test_a_job_leaves_its_results_and_a_predictor_that_gives_the_same_forecast(tmp_path: Path) -> None:
    panel, config = panel_of(asked(weekly(2, 60), models=["DynamicTheta"], horizon=3))
    panel.save(tmp_path / PANEL)
    found = run_job(tmp_path, config, Progress())
    assert json.loads((tmp_path / "results.json").read_text()) == found
    assert found["mape"] == found["leaderboard"][0]["mape"]
    assert len(found["forecast"]) == 2 * 3
    first = found["forecast"][0]
    assert (first["series"], first["date"]) == ("s0", "2024-02-26")
    assert first["lower_95"] < first["lower_80"] < first["median"] < first["upper_80"] < first["upper_95"]
    with (tmp_path / "forecast.csv").open() as stream:
        assert [row["forecast"] for row in csv.DictReader(stream)] == [
            str(row["forecast"]) for row in found["forecast"]
        ]
    with (tmp_path / "backtest.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 3 * 2 * 3 * len(found["leaderboard"])
    again = JobPredictor(tmp_path / "predictor").predict(None)
    assert again.to_dict("records") == found["forecast"]


def test_the_predictor_forecasts_other_series_from_their_own_ends(tmp_path: Path) -> None:
    import pandas as pd

    panel, config = panel_of(asked(weekly(2, 60)))
    panel.save(tmp_path / PANEL)
    run_job(tmp_path, config, Progress())
    other = JobPredictor(tmp_path / "predictor").predict(pd.DataFrame(weekly(1, 30, first="2020-01-06")))
    assert other["date"].tolist() == ["2020-08-03", "2020-08-10", "2020-08-17", "2020-08-24"]


def test_covariates_that_are_known_ahead_are_given_to_the_models_that_take_them() -> None:
    rng = np.random.default_rng(5)
    effect = rng.normal(size=64)
    rows = [
        {"week": str(np.datetime64("2023-01-02") + 7 * k), "promo": float(effect[k])}
        | ({"sales": 50 + 20 * float(effect[k]) + float(rng.normal())} if k < 60 else {"sales": None})
        for k in range(64)
    ]
    panel, config = panel_of(asked(rows, id_col=None, covariates=["promo"]))
    windows = windows_of(panel, config)
    found, _ = train(panel, config, [Statistical("AutoARIMA")], windows, Progress())
    board = leaderboard(found, windows, config)
    assert board[0]["model"] == "AutoARIMA"
    assert board[0]["mase"] < 0.2
    assert found[-1].forecast is not None
    assert np.abs(found[-1].forecast.points[0] - (50 + 20 * effect[60:])).max() < 4


def test_the_forecast_comes_from_all_data() -> None:
    panel, config = panel_of(asked(weekly(1, 40)))
    base = SeasonalNaive().predict(whole(panel), Ask(2, (0.5,), (), 1), lambda done: None)
    assert base.points[0].tolist() == [panel.values[-1]] * 2
