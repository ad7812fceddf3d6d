#!/usr/bin/env bash
# sktime: intervals of a price that is forecast in differences, `Differencer() * forecaster`.
# Guess: the 90% interval of the 20th day ahead is that of a sum of twenty differences, or it is refused; and it does not
# depend on which other days fh names.
# Behaviour: the lower and the upper quantiles are taken for paths and summed up as the forecasts are, so that the width
# grows with the days and not with their root: four and a half times too wide on the 20th, where not one of two hundred
# walks ends outside. And only the days of fh are summed: of a series with periods, fh=[1, 5, 20] gives the forecast and the
# width of the third day; of any series, fh=[20] gives one difference without the price to add it to. Nothing is said. Ask
# for all days up to the last, and for intervals leave the differencing to the model (ARIMA's d, NaiveForecaster's drift).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  sktime==1.2.0 scikit-learn==1.9.1 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1
"$folder/env/bin/python" - <<'PYTHON' 2>"$folder/said" || { cat "$folder/said" >&2; exit 1; }
import sys

import numpy as np
import pandas as pd
import sktime
from sktime.forecasting.naive import NaiveForecaster
from sktime.transformations.series.difference import Differencer

print("sktime", sktime.__version__)
days = pd.period_range("2023-01-02", periods=520, freq="D")
walks = 80 + np.cumsum(0.2 + np.random.default_rng(0).normal(size=(200, len(days))), axis=1)
price = pd.Series(walks[0, :500], index=days[:500])
asked = {"fh=1..20": list(range(1, 21)), "fh=[1, 5, 20]": [1, 5, 20], "fh=[20]": [20]}


def drift():
    return NaiveForecaster(strategy="drift")


def pipeline():
    return Differencer() * NaiveForecaster(strategy="mean")


def last_day(forecaster, fh):
    forecaster.fit(price, fh=fh)
    low, high = forecaster.predict_interval(coverage=0.9).iloc[-1]
    return float(forecaster.predict().iloc[-1]), float(high - low)


print(f"last price {price.iloc[-1]:.2f}; forecast of the 20th day after it, and the width of its 90% interval")
found = {}
for name, make in {"random walk with drift": drift, "Differencer * mean of the differences": pipeline}.items():
    found[name] = [last_day(make(), fh) for fh in asked.values()]
    for fh, (centre, width) in zip(asked, found[name]):
        print(f"{name}, {fh}: {centre:.2f}, {width:.2f} wide")
outside = 0
for walk in walks:
    forecaster = pipeline().fit(pd.Series(walk[:500], index=days[:500]), fh=asked["fh=1..20"])
    low, high = forecaster.predict_interval(coverage=0.9).iloc[-1]
    outside += not low <= walk[519] <= high
print(f"of {len(walks)} walks {outside} end outside of the pipeline's 90% interval; 20 would be right")
own, (whole, gaps, alone) = found.values()
centre, width = own[0]
same = np.allclose(own, own[0]) and outside == 0 and abs(whole[0] - centre) < 0.1 and whole[1] > 4 * width
same = same and abs(gaps[0] - price.iloc[-1]) < 1 and gaps[1] < 0.75 * width and abs(alone[0]) < 1
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
