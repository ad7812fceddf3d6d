#!/usr/bin/env bash
# statsforecast: an ARIMA of a price with a missing day among four hundred, and the other two values of `method`.
# Guess: as in R, whose code this follows, the Kalman filter steps over the day, and the coefficients stay about what they
# were; "CSS", "ML" and "CSS-ML" differ in the third digit.
# Behaviour: where anything is missing the library goes over from CSS-ML to ML, as it says, and with d >= 1 that stays at its
# start: every coefficient is exactly 0, whatever the order, so that the forecast is the last price and AutoARIMA chooses
# (0,1,0). The first evaluation of the likelihood uses up the filter's diffuse start; all later ones are larger, and no step
# looks like progress. "CSS" estimates well and never filters: it forecasts 0, with d = 0 the mean, whatever the last price
# was. Nothing is raised. Only CSS-ML on a series without gaps does what it says: fill or leave out the day before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  statsforecast==2.1.1 statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import scipy
import statsforecast
import statsmodels
from statsforecast.models import ARIMA, AutoARIMA
from statsmodels.tsa.arima.model import ARIMA as Reference

print("statsforecast", statsforecast.__version__, "statsmodels", statsmodels.__version__, "scipy", scipy.__version__)
rng = np.random.default_rng(3)
move = np.zeros(400)
for day in range(1, 400):
    move[day] = 0.6 * move[day - 1] + rng.normal()
whole = 80 + move.cumsum()
gap = whole.copy()
gap[200] = np.nan


def shown(name, model):
    coefficients = {key: round(float(value), 3) for key, value in model.model_["coef"].items()}
    print(f"{name}: {coefficients}, next three days {model.predict(h=3)['mean'].round(2)}")
    return list(model.model_["coef"].values())


print(f"the last price is {whole[-1]:.2f}")
kept = shown("(1,1,1), whole", ARIMA(order=(1, 1, 1)).fit(whole))
lost = shown("(1,1,1), one day missing", ARIMA(order=(1, 1, 1)).fit(gap))
css = ARIMA(order=(1, 1, 1), method="CSS").fit(whole)
squares = shown('(1,1,1), whole, method="CSS"', css)
exact = shown('(1,1,1), whole, method="ML"', ARIMA(order=(1, 1, 1), method="ML").fit(whole))
found = AutoARIMA(season_length=1).fit(whole), AutoARIMA(season_length=1).fit(gap)
orders = [(int(p), int(d), int(q)) for p, q, *_, d, _ in (one.model_["arma"] for one in found)]
print("AutoARIMA: whole", orders[0], "one day missing", orders[1])
right = Reference(gap, order=(1, 1, 1)).fit()
print("statsmodels, one day missing:", dict(zip(right.param_names, right.params.round(3).tolist(), strict=True)))
as_found = all(value == 0.0 for value in lost + exact) and kept[0] > 0.5 and squares[0] > 0.5 and right.params[0] > 0.5
as_found = as_found and orders[0] != (0, 1, 0) and orders[1] == (0, 1, 0) and not css.predict(h=3)["mean"].any()
print("as found" if as_found else "this has changed")
sys.exit(not as_found)
PYTHON
