#!/usr/bin/env bash
# utilsforecast: two models are scored, one of which has no forecast for the days of the price's fall.
# Guess: a missing forecast makes the score missing, or is refused; and the same table scores the same in pandas and polars.
# Behaviour: mae, rmse, mape, bias and the losses of quantiles are means over what is there. The model that left the hard
# days out has an error of 1 where the one that tried has 9.5, and wins; rmae divides an error of some days by one of all.
# coverage counts the same days as not covered: 50%, in polars 100%. There a null is left out, and a NaN makes the score
# NaN. Nothing is said.
# Drop the rows that any model lacks, or count them, before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check utilsforecast==0.2.17 numpy==2.4.6 pandas==2.3.3 \
  polars==2.1.0 pyarrow==26.0.1
"$folder/env/bin/python" - <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import polars as pl
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import bias, coverage, mae, mape, rmae, rmse, scaled_crps

warnings.simplefilter("error")
print("utilsforecast", version("utilsforecast"), "polars", version("polars"))
days = pd.date_range("2024-01-01", periods=6)
table = pd.DataFrame({"unique_id": "oil", "ds": days, "y": [80.0, 81.0, 82.0, 60.0, 61.0, 62.0]})
table["tried"] = [80.0, 81.0, 82.0, 80.0, 80.0, 80.0]
table["left_out"] = [79.0, 82.0, 81.0, np.nan, np.nan, np.nan]
for model in ("tried", "left_out"):
    table[f"{model}-lo-80"], table[f"{model}-hi-80"] = table[model] - 5, table[model] + 5
metrics = [mae, rmse, mape, bias, scaled_crps, coverage]


def scores(frame):
    found = evaluate(frame, metrics, models=["tried", "left_out"], level=[80])
    found = found.to_pandas() if isinstance(found, pl.DataFrame) else found
    return found.set_index("metric")[["tried", "left_out"]]


with_nulls = pl.from_pandas(table)
with_nans = with_nulls.with_columns(pl.col("^left_out.*$").fill_null(float("nan")))
found = {"pandas": scores(table), "polars, null": scores(with_nulls), "polars, NaN": scores(with_nans)}
for name, one in found.items():
    print(f"{name}:\n{one.round(3).to_string()}")
relative = float(rmae(table, ["left_out"], "tried")["left_out"].iloc[0])
print("rmae of the one that left days out:", round(relative, 3))
first, nulls, nans = found.values()
errors = ["mae", "rmse", "mape", "scaled_crps"]
same = np.isclose(first.loc["mae"], [9.5, 1.0]).all() and (first.loc[errors, "left_out"] < first.loc[errors, "tried"]).all()
same = same and np.isclose(first.loc["coverage_level80"], [0.5, 0.5]).all() and np.isclose(relative, 1 / 9.5)
same = same and np.allclose(first[:-1], nulls[:-1]) and nulls.loc["coverage_level80", "left_out"] == 1
same = same and nans.loc[errors, "left_out"].isna().all()
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
