#!/usr/bin/env bash
# mlforecast and statsforecast: conformal intervals as they come, PredictionIntervals() and ConformalIntervals().
# Guess: a level that the number of windows cannot give is refused or warned of, as "You need at least two windows" is; with
# two, the default, an interval of 95% holds about 95%, or at worst more.
# Behaviour: each step ahead has as many errors to go by as there are windows, and its interval runs to about the larger one.
# With two of them a new error is the largest of three once in three times, so that no level holds more than two thirds:
# intervals of 80%, 95% and 99% of four hundred random walks hold some 60% to 67%, hardly wider from one to the next.
# Nothing is said. For a level of 95% take at least 20 windows, for 99% a hundred.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check mlforecast==1.1.0 statsforecast==2.1.1 scikit-learn==1.9.1 \
  numpy==2.3.5 pandas==2.3.3
"$folder/env/bin/python" - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("error", UserWarning)
import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.utils import PredictionIntervals
from sklearn.linear_model import LinearRegression
from statsforecast import StatsForecast
from statsforecast.models import Naive
from statsforecast.utils import ConformalIntervals

print("mlforecast", version("mlforecast"), "statsforecast", version("statsforecast"))
levels = [80, 95, 99]
walks = 80 + np.random.default_rng(0).normal(size=(400, 161)).cumsum(axis=1)
days = pd.date_range("2024-01-01", periods=160)
history = pd.DataFrame(
    {"unique_id": np.repeat(np.arange(400), 160), "ds": np.tile(days, 400), "y": walks[:, :160].ravel()}
)


def shares(forecast, model):
    """Of the day after the history, the share of walks within each level's interval, and its mean width."""
    forecast = forecast.sort_values("unique_id")
    low, high = (np.stack([forecast[f"{model}-{side}-{level}"] for level in levels]) for side in ("lo", "hi"))
    held = ((walks[:, 160] >= low) & (walks[:, 160] <= high)).mean(axis=1)
    return held.round(3).tolist(), (high - low).mean(axis=1).round(2).tolist()


def by_mlforecast(windows):
    forecaster = MLForecast(LinearRegression(), freq="D", lags=[1])
    forecaster.fit(history, prediction_intervals=PredictionIntervals(**windows))
    return shares(forecaster.predict(1, level=levels), "LinearRegression")


def by_statsforecast(windows):
    forecaster = StatsForecast([Naive(prediction_intervals=ConformalIntervals(**windows))], freq="D")
    return shares(forecaster.forecast(df=history, h=1, level=levels), "Naive")


same = True
for name, measure in (("mlforecast", by_mlforecast), ("statsforecast", by_statsforecast)):
    held, width = measure({})
    print(f"{name}, as it comes: levels {levels} hold {held}, widths {width}")
    same = same and all(share < 0.72 for share in held) and width[2] < 1.25 * width[0]
    held, width = measure({"n_windows": 100})
    print(f"{name}, 100 windows: levels {levels} hold {held}, widths {width}")
    same = same and all(abs(share - level / 100) < 0.05 for share, level in zip(held, levels))
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
