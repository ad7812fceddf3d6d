#!/usr/bin/env bash
# Prophet: the 80% interval of one day ahead, asked for in the company of other days or alone.
# Guess: a row's interval belongs to its day; predict() of the last of two hundred days gives that day's, up to the draws.
# Behaviour: since 1.1.1 draws are vectorized, and the trend's changes are counted in rows of the future that was asked for,
# not in time from the end of the history. The 200th business day alone has the interval of the first, a quarter as wide as
# among the other 199; so have the last twenty days by themselves. yhat is the same to the last bit, and nothing is said.
# Ask for all days from the end of the history and take those that are needed, or predict(..., vectorized=False).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check prophet==1.5.0 pandas==2.3.3 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PYTHON' 2>"$folder/said"
import sys

import numpy as np
import pandas as pd
import prophet

print("prophet", prophet.__version__)
rng = np.random.default_rng(0)
days = pd.bdate_range("2021-01-01", "2024-06-28")
price = 80 + 10 * np.sin(np.arange(len(days)) / 120) + rng.normal(size=len(days))
model = prophet.Prophet(uncertainty_samples=2000).fit(pd.DataFrame({"ds": days, "y": price}), seed=1)
ahead = model.make_future_dataframe(200, freq="B", include_history=False)
asked = {"all 200": ahead, "with the history": model.make_future_dataframe(200, freq="B"), "every tenth": ahead[9::10],
         "the last twenty": ahead[-20:], "the last alone": ahead[-1:]}  # fmt: skip
width, other, centre = {}, {}, set()
for name, future in asked.items():
    for widths, way in (width, {}), (other, {"vectorized": False}):
        np.random.seed(1)
        last = model.predict(future, **way).iloc[-1]
        widths[name] = last["yhat_upper"] - last["yhat_lower"]
    centre.add(last["yhat"])
    print(f"{last['ds']:%d %B %Y}, {name}: {width[name]:.2f} wide, {other[name]:.2f} with vectorized=False")
np.random.seed(1)
first = model.predict(ahead).iloc[0]
print(f"{first['ds']:%d %B %Y}: {first['yhat_upper'] - first['yhat_lower']:.2f}; yhat of the last is one: {len(centre) == 1}")
narrow = max(width["the last twenty"], width["the last alone"]) < 0.3 * width["all 200"]
steady = min(other.values()) > 0.8 * max(other.values()) and min(width["every tenth"], width["with the history"]) > 9
print("as found" if narrow and steady and len(centre) == 1 else "this has changed")
sys.exit(not (narrow and steady and len(centre) == 1))
PYTHON
