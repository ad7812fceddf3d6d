#!/usr/bin/env bash
# hierarchicalforecast: MinTrace by residuals ("mint_shrink", "wls_var") over forecasts of a regression with an intercept.
# Guess: "Insample residuals close to 0" keeps out a model that has learned the history by heart.
# Behaviour: what is compared with 0 is each series' sum of residuals, and of least squares with an intercept that is 0 by
# construction. A straight line that is off by 4 in the middle is refused; a copy of the history that misses its last value
# by 1 is reconciled; so is the line once a hundredth is added to its fitted values, which changes nothing in the result
# that anyone would see. That is the way round it: the weights are of the residuals' squares.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  hierarchicalforecast==1.5.3 utilsforecast==0.2.17 pandas==2.3.3 numpy==2.4.6 scikit-learn==1.9.1
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys

import hierarchicalforecast
import numpy as np
import pandas as pd
from hierarchicalforecast.core import HierarchicalReconciliation
from hierarchicalforecast.methods import MinTrace
from hierarchicalforecast.utils import aggregate

print("hierarchicalforecast", hierarchicalforecast.__version__)
rng = np.random.default_rng(0)
months = pd.date_range("2015-01-31", periods=120, freq="ME")
time = np.arange(120)
stocks = {name: level + 0.5 * time + 5 * rng.normal(size=120) for name, level in {"a": 100, "b": 200, "c": 300}.items()}
bottom = [pd.DataFrame({"all": "world", "port": port, "ds": months, "y": y}) for port, y in stocks.items()]
history, summing, tags = aggregate(pd.concat(bottom), [["all"], ["all", "port"]])
ahead = pd.date_range(months[-1], periods=4, freq="ME")[1:]


def line(y):
    slope, level = np.polyfit(time, y, 1)
    return level + slope * time, level + slope * np.arange(120, 123)


def shifted_line(y):
    fitted, forecast = line(y)
    return fitted + 0.01, forecast


def by_heart(y):
    return np.append(y[:-1], y[-1] - 1), np.repeat(y[-1], 3)


def reconciled(model, method):
    fitted, forecasts = [], []
    for series, rows in history.groupby("unique_id", observed=True):
        within, beyond = model(rows["y"].to_numpy())
        fitted.append(rows.assign(model=within))
        forecasts.append(pd.DataFrame({"unique_id": series, "ds": ahead, "model": beyond}))
    fitted, forecasts = pd.concat(fitted), pd.concat(forecasts)
    error = (fitted["y"] - fitted["model"]).abs().median()
    reconciler = HierarchicalReconciliation([MinTrace(method=method)])
    try:
        result = reconciler.reconcile(Y_hat_df=forecasts, S_df=summing, tags=tags, Y_df=fitted)
    except Exception as refused:
        print(f"{model.__name__}, {method}: median residual {error:.2f}: {refused}")
        return None
    total = float(result.iloc[0, -1])
    print(f"{model.__name__}, {method}: median residual {error:.2f}: reconciled, the next month's sum is {total:.2f}")
    return total


same = True
for method in ("mint_shrink", "wls_var"):
    refused, shifted, copied = (reconciled(model, method) for model in (line, shifted_line, by_heart))
    same &= refused is None and shifted is not None and copied is not None
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
