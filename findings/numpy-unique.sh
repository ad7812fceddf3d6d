#!/usr/bin/env bash
# numpy: the distinct values of a large key column (rows, dates, stations), and what setdiff1d makes of two of them.
# Guess: np.unique(x) takes no longer than np.unique(x, return_index=True), which finds the same values and more.
# Behaviour: since 2.3 the first hashes and the second sorts; of two million distinct integers, or days, the first takes
# some eighty times as long. setdiff1d of two such columns asks for it twice: a second's file took ten to read. Use isin
# with assume_unique, or ask for an index that nobody needs. With few distinct values both are quick.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys
import time

import numpy as np


def seconds(work):
    """Of processor time, the least of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


print("numpy", np.__version__)
rows = np.arange(2_000_000)
columns = {
    "ascending integers": rows,
    "integers in no order": np.random.default_rng(1).permutation(rows),
    "days": rows.astype("datetime64[D]"),
    "1,000 distinct integers": rows % 1000,
}
ratios = {}
for name, column in columns.items():
    alone = seconds(lambda: np.unique(column))
    more = seconds(lambda: np.unique(column, return_index=True))
    ratios[name] = alone / more
    print(f"{len(column):,} {name}: np.unique {alone:.3f} s, with return_index {more:.3f} s: {ratios[name]:.1f} times")
    assert np.array_equal(np.unique(column), np.unique(column, return_index=True)[0])
apart = seconds(lambda: np.setdiff1d(rows, rows[:-1]))
fast = seconds(lambda: rows[~np.isin(rows, rows[:-1], assume_unique=True)])
print(f"setdiff1d {apart:.3f} s, isin with assume_unique {fast:.3f} s")
same = ratios["ascending integers"] > 5 and ratios["days"] > 5 and apart > 5 * fast
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
