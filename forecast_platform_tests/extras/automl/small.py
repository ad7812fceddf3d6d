"""A small fit and a small job of AutoGluon, and what is refused where torch is not installed, as a program:

    python -m forecast_platform_tests.extras.automl.small FOLDER

leaves `said.json` and `paths.npy` in the folder. With torch in reach nothing is refused.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models import registry
from forecast_platform.models.saved import load, saved_from
from forecast_platform.testing.checks import ORIGINS, SEED, WINDOW, synthetic
from forecast_platform.training_jobs.config import JobError
from forecast_platform.training_jobs.modes.choose import methods_of
from forecast_platform.training_jobs.progress import Progress
from forecast_platform.training_jobs.training import PANEL, run_job
from forecast_platform_tests.training_jobs.tables import asked, panel_of, weekly

SMALL = {"rounds": 20, "context": 60}


def main(folder: Path) -> None:
    """Fit, save, load and forecast; train a job; ask for networks."""
    said: dict[str, Any] = {"torch": find_spec("torch") is not None, "refused": {}}
    wanted = registry.spec("autogluon", params=SMALL)
    model = registry.demand(wanted)
    saved = saved_from(model, model.fit(synthetic().before(WINDOW.end), WINDOW))
    fitted = load(wanted, saved, WINDOW)
    np.save(folder / "paths.npy", fitted.simulate(synthetic(), ORIGINS[:9], 14, 50, Shocks(SEED, fitted.n_slots)))
    panel, config = panel_of(asked(weekly(3, 80), training_mode="autogluon", models=None, backtest_windows=1))
    panel.save(folder / PANEL)
    job = run_job(folder, config, Progress())
    said["job"] = {"forecast": job["forecast"], "fallbacks": {r["model"]: r["fallbacks"] for r in job["leaderboard"]}}
    try:
        registry.demand(registry.spec("autogluon", params={"model": "PatchTST"}))
    except registry.MissingExtraError as error:
        said["refused"]["model"] = str(error)
    try:
        methods_of(panel_of(asked(training_mode="autogluon", models=["TiDE"]))[1])
    except JobError as error:
        said["refused"]["job"] = str(error)
    methods, notes = methods_of(panel_of(asked(training_mode="autogluon", models=None, presets="best_quality"))[1])
    said["best_quality"] = {"trains": [method.name for method in methods], "notes": notes}
    said["imported"] = "torch" in sys.modules
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
