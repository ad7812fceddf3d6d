#!/usr/bin/env bash
# ddsketch and pytdigest: quantiles of a price from draws with weights (importance weights, a decay by age).
# Guess: quantiles depend on the weights' proportions alone, within what the sketch promises (DDSketch(0.01): 1%).
# Behaviour: the scale counts, too. ddsketch's rank of a quantile is q * (sum of weights - 1): of weights that sum up to 1,
# as probabilities do, every quantile is the smallest price; to 2, the 95% quantile is about the median; to 10, it is the
# 86%; below 1 all are -0.99, a negative price of positive ones. With pytdigest, below a sum of 1 every quantile is the mean,
# and of probabilities, whose sum is 1 but for rounding, the 5% and the 95% quantile are both the mean or a third too near to
# each other, as the rounding falls; from 2 on they are right. Nothing is said. Multiply the weights so that they sum up to
# a million, or take tdigest, whose quantiles are the same at any scale.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check ddsketch==3.0.1 protobuf==7.36.2 pytdigest==0.1.4 \
  numpy==2.3.5 pandas==2.3.3
"$folder/env/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from ddsketch import DDSketch
from pytdigest import TDigest

print("ddsketch", version("ddsketch"), "pytdigest", version("pytdigest"))
generator = np.random.default_rng(0)
prices = generator.normal(80, 5, size=1000)
weights = generator.gamma(2.0, size=1000)
shares = weights / weights.sum()
levels = (0.05, 0.5, 0.95)
order = np.argsort(prices)
exact = [float(prices[order][np.searchsorted(np.cumsum(shares[order]), level)]) for level in levels]
print("smallest price", round(float(prices.min()), 2), "; exact weighted quantiles", np.round(exact, 2))
found, digests = {}, {}
for total in (0.5, 1, 2, 10, 1_000_000):
    sketch = DDSketch(0.01)
    for price, share in zip(prices, shares):
        sketch.add(float(price), weight=float(share * total))
    found[total] = [sketch.get_quantile_value(level) for level in levels]
    digests[total] = TDigest.compute(prices, shares * total).inverse_cdf(np.array(levels))
    print(f"weights that sum up to {total}: ddsketch {np.round(found[total], 2)}, pytdigest {np.round(digests[total], 2)}")


def near(value, wanted):
    return abs(value / wanted - 1) < 0.0101


same = all(value < 0 for value in found[0.5]) and all(near(value, prices.min()) for value in found[1])
same = same and near(found[2][2], exact[1]) and not near(found[10][2], exact[2])
same = same and all(near(value, wanted) for value, wanted in zip(found[1_000_000], exact))
same = same and np.ptp(digests[0.5]) < 0.01 and np.ptp(digests[1]) < 0.75 * np.ptp(exact)
same = same and np.allclose(digests[1_000_000], exact, rtol=0.01)
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
