#!/usr/bin/env bash
# quantstats: the maximum drawdown of a commodity's price, `max_drawdown(prices)` and the functions beside it.
# Guess: as its docstring says, `prices` is a "Price series"; a drawdown is a share, the same in cents and in dollars.
# Behaviour: a series that stays below 1, or is once below 0, is taken for returns, and these are compounded. Cotton in
# cents a pound falls by 17% from its top; the same prices in dollars a pound have no drawdown at all, and an ulcer index
# of 0. With a day above one dollar among them it is right again, so that it hangs on the window. Crude oil in April of
# 2020, which settled at -37.63 on one day, has "fallen" by ten million percent. Nothing is said. For prices below 1 pass
# prices / prices.iloc[0] * 100; where a price goes below 0 a share of it has no meaning: take differences.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  quantstats==0.0.86 pandas==2.3.3 numpy==2.3.5 scipy==1.16.3 matplotlib==3.10.9
"$folder/env/bin/python" - <<'PYTHON' 2>"$folder/said" || { cat "$folder/said" >&2; exit 1; }
import sys

import numpy as np
import pandas as pd
from quantstats import __version__, stats

print("quantstats", __version__)
days = pd.bdate_range("2020-04-16", periods=6)
cents = pd.Series([60.0, 70, 90, 85, 75, 80], days)
crude = pd.Series([19.87, 18.27, -37.63, 10.01, 13.78, 16.50], days)
dearer = cents / 100
dearer.iloc[2] = 1.02
found = {}
for name, prices in {
    "cotton, cents a pound": cents,
    "the same, dollars a pound": cents / 100,
    "the same, its top above a dollar": dearer,
    "the same, on a base of 100": cents / cents.iloc[0] * 100,
    "crude oil, dollars a barrel": crude,
}.items():
    exact = float((prices / prices.cummax() - 1).min())
    found[name] = (float(stats.max_drawdown(prices)), exact)
    print(f"{name}: max_drawdown {found[name][0]:.4f}, last over highest so far {exact:.4f}", end=", ")
    print(f"ulcer index {stats.ulcer_index(prices):.4f}")
in_cents, in_dollars, above, base, below_zero = found.values()
same = all(np.isclose(*pair) for pair in (in_cents, above, base)) and in_dollars[0] == 0
same = same and np.isclose(in_dollars[1], in_cents[1]) and below_zero[0] < -100_000
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
