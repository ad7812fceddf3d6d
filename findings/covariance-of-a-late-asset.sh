#!/usr/bin/env bash
# PyPortfolioOpt: the covariance of three futures by Ledoit and Wolf, one of which was listed later than the others.
# Guess: the days before its listing are left out, as sample_cov and shrunk_covariance do, or missing prices are refused.
# Behaviour: ledoit_wolf and oracle_approximating, and risk_matrix of those names, take a return of 0 for every missing
# price. Of a contract with a quarter of the days the variance is a quarter: the least volatile portfolio of three equal and
# independent ones holds two thirds of it where a third is right, and reports a volatility a quarter too low. Days without a
# settlement count the same way. Nothing is said. Cut the table to the days that all have, prices.dropna(), before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyportfolioopt==1.6.0 scikit-learn==1.9.1 packaging==26.4 \
  numpy==2.4.6 pandas==2.3.3
"$folder/env/bin/python" - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from pypfopt import EfficientFrontier, risk_models

warnings.simplefilter("error", RuntimeWarning)
warnings.simplefilter("error", UserWarning)
print("PyPortfolioOpt", version("pyportfolioopt"), "scikit-learn", version("scikit-learn"))
returns = np.random.default_rng(0).normal(0, 0.02, size=(1000, 3))
days = pd.bdate_range("2020-01-01", periods=1000)
prices = pd.DataFrame(100 * np.exp(returns.cumsum(axis=0)), index=days, columns=["old", "older", "new"])
prices.loc[days[:750], "new"] = np.nan
found = {}
for method in ("sample_cov", "ledoit_wolf", "oracle_approximating"):
    covariance = risk_models.risk_matrix(prices, method=method)
    frontier = EfficientFrontier(None, covariance)
    share = frontier.min_volatility()["new"]
    found[method] = covariance.loc["new", "new"] ** 0.5, share, frontier.portfolio_performance()[1]
    print("{}: volatility of the new one {:.3f}, its share {:.2f}, portfolio's volatility {:.3f}".format(method, *found[method]))
on_all = risk_models.risk_matrix(prices.dropna(), method="ledoit_wolf").loc["new", "new"] ** 0.5
print(f"ledoit_wolf on the days that all have: volatility of the new one {on_all:.3f}")
right = found.pop("sample_cov")
same = abs(right[0] / 0.317 - 1) < 0.05 and abs(right[1] - 1 / 3) < 0.05 and abs(on_all / 0.317 - 1) < 0.05
for volatility, share, reported in found.values():
    same = same and abs(volatility / right[0] - 0.5) < 0.03 and share > 0.6 and reported < 0.85 * right[2]
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
