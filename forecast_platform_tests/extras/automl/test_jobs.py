"""Training jobs with AutoGluon: the global model beside ETS, the same bits again, and no hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.extra
pytest.importorskip("autogluon.timeseries")

from forecast_platform.training_jobs.config import JobError  # noqa: E402
from forecast_platform.training_jobs.predictor import JobPredictor  # noqa: E402
from forecast_platform.training_jobs.progress import Progress  # noqa: E402
from forecast_platform.training_jobs.training import PANEL, check, run_job  # noqa: E402
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly  # noqa: E402


def test_the_default_of_a_panel_is_the_global_model_with_ets_beside_it_and_its_predictor_forecasts_the_same(
    tmp_path: Path,
) -> None:
    panel, config = panel_of(
        asked(weekly(4, 90), training_mode="autogluon", models=None, season_length=13, backtest_windows=1)
    )
    panel.save(tmp_path / PANEL)
    found = run_job(tmp_path, config, Progress())
    board = {row["model"]: row for row in found["leaderboard"]}
    assert set(board) == {"RecursiveTabular", "AutoETS", "SeasonalNaive", "Naive"}
    assert all(row["fallbacks"] == 0 for row in board.values()), found["notes"]
    assert board["RecursiveTabular"]["mase"] < 2 * board["SeasonalNaive"]["mase"]
    assert [row["date"] for row in found["forecast"][:2]] == ["2024-09-23", "2024-09-30"], "Mondays stay Mondays"
    assert JobPredictor(tmp_path / "predictor").predict(None).to_dict("records") == found["forecast"]


def test_covariates_that_are_known_ahead_reach_the_global_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = []
    for store in range(4):
        effect = rng.normal(size=104)
        for k in range(104):
            sales = 50 + 20 * float(effect[k]) + float(rng.normal()) if k < 100 else None
            week = str(np.datetime64("2023-01-02") + 7 * k)
            rows.append({"store": f"s{store}", "week": week, "promo": float(effect[k]), "sales": sales})
    without = [{name: row[name] for name in ("store", "week", "sales")} for row in rows if row["sales"] is not None]
    found = {}
    for name, given, covariates in (("known", rows, ["promo"]), ("unknown", without, [])):
        options = {"training_mode": "autogluon", "models": ["RecursiveTabular"], "covariates": covariates}
        panel, config = panel_of(asked(given, backtest_windows=1, **options))
        (tmp_path / name).mkdir()
        panel.save(tmp_path / name / PANEL)
        job = run_job(tmp_path / name, config, Progress())
        found[name] = {row["model"]: row["mase"] for row in job["leaderboard"]}["RecursiveTabular"]
    assert found["known"] < 0.75 * found["unknown"]


@pytest.mark.parametrize("name", ["DeepAR", "Chronos2", "Nonsense"])
def test_models_whose_paths_depend_on_their_company_or_need_the_hub_are_refused(name: str) -> None:
    panel, config = panel_of(asked(training_mode="autogluon", models=[name]))
    with pytest.raises(JobError, match=f"models: '{name}' is no model of mode autogluon"):
        check(panel, config)
