"""A quarter that is worse is told from a volatile one, with a test, and by how much."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecast_platform.pipeline.performance import Comparison, trailing_performance

N = 1000
LAST_QUARTER = 65


def _scores(seed: int = 3) -> pd.DataFrame:
    """Four years of scored trading days of naive and a model that is 5 % better."""
    days = pd.bdate_range("2018-01-01", periods=N)
    rng = np.random.default_rng(seed)
    level = np.exp(np.convolve(rng.normal(0, 0.15, N), np.ones(10) / 3, mode="same"))
    frames = []
    for name, factor in (("naive", 1.0), ("model", 0.95)):
        crps = factor * level * np.exp(rng.normal(0, 0.05, N))
        frame = pd.DataFrame(
            {
                "commodity": "Coffee",
                "model_name": name,
                "model_version": "v1.0",
                "forecast_date": days,
                "last_observed_date": days - pd.offsets.BDay(1),
                "crps_14d": crps,
                "mae_14d": 1.4 * crps,
                "mape_14d": 1.4 * crps,
                "dir_day0": 0.5 if name == "naive" else (rng.random(N) < 0.6).astype(float),
                "actuals_available": 14,
                "model_success": True,
                "has_data_leakage": False,
            }
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _change(scores: pd.DataFrame, column: str, factor: float, name: str | None = "model") -> pd.DataFrame:
    changed = scores.copy()
    newest = changed.forecast_date >= changed.forecast_date.sort_values().iloc[-2 * LAST_QUARTER]
    rows = newest if name is None else newest & (changed.model_name == name)
    changed.loc[rows, column] *= factor
    return changed


def _levels(found: list[Comparison]) -> dict[tuple[str, str], str]:
    return {(item.measure, item.against): item.severity for item in found}


def test_a_model_that_is_as_good_as_ever_is_good() -> None:
    found = trailing_performance(_scores(), "model", "v1.0")
    assert {(item.measure, item.against) for item in found} == {
        ("CRPS", "naive"),
        ("CRPS relative to naive", "its own history"),
        ("MAE", "naive"),
        ("MAE relative to naive", "its own history"),
        ("direction", "naive"),
        ("direction", "its own history"),
    }
    assert set(_levels(found).values()) == {"good"}
    [against] = [item for item in found if (item.measure, item.against) == ("CRPS", "naive")]
    assert against.worse == pytest.approx(-0.05, abs=0.02)
    assert "% better" in against.text


@pytest.mark.parametrize(("factor", "level"), [(1.22, "warning"), (1.6, "critical")])
def test_a_model_that_got_worse_is_a_warning_from_10_and_critical_from_25_percent(factor: float, level: str) -> None:
    found = _levels(trailing_performance(_change(_scores(), "crps_14d", factor), "model", "v1.0"))
    assert found["CRPS", "naive"] == level
    assert found["CRPS relative to naive", "its own history"] == level
    assert found["MAE", "naive"] == "good"


def test_a_quarter_in_which_every_forecast_is_worse_is_no_degradation_of_the_model() -> None:
    scores = _change(_change(_scores(), "crps_14d", 2.0, None), "mae_14d", 2.0, None)
    assert set(_levels(trailing_performance(scores, "model", "v1.0")).values()) == {"good"}
    naive = trailing_performance(scores, "naive", "v1.0")
    assert _levels(naive)["CRPS relative to price", "its own history"] == "warning"


def test_lost_direction_is_seen() -> None:
    scores = _change(_scores(), "dir_day0", 0.5)
    found = _levels(trailing_performance(scores, "model", "v1.0"))
    assert found["direction", "naive"] == "critical"
    assert found["direction", "its own history"] == "critical"


def test_a_difference_that_may_be_chance_is_not_told() -> None:
    scores = _scores()
    rng = np.random.default_rng(9)
    newest = scores[scores.model_name == "model"].index[-LAST_QUARTER:]
    noise = np.repeat(rng.choice([0.3, 2.2], 7), 10)[:LAST_QUARTER]
    scores.loc[newest, "crps_14d"] *= noise / noise.mean() * 1.15
    [found] = [c for c in trailing_performance(scores, "model", "v1.0") if (c.measure, c.against) == ("CRPS", "naive")]
    assert found.worse > 0.05
    assert found.p_value > 0.05
    assert found.severity == "good"


def test_too_few_forecasts_say_nothing() -> None:
    scores = _scores()
    assert trailing_performance(scores[scores.forecast_date < "2018-02-01"], "model", "v1.0") == []
    assert trailing_performance(scores, "model", "v9.9") == []
