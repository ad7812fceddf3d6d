#!/usr/bin/env bash
# scikit-learn: folds over groups of rows (a series, a contract, a station), shuffled so that a seed decides.
# Guess: as the class says, "the number of samples is approximately the same in each test fold when `shuffle` is True".
# Behaviour: the other way round. Without `shuffle` the groups are dealt to the smallest fold, the largest first; with it
# each fold gets as many groups, however large they are. Five large series and fifteen small ones: the smallest of five
# folds has 40 rows and the largest 1,720, where 720 and 1,000 are possible.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
import sklearn
from sklearn.model_selection import GroupKFold

print("scikit-learn", sklearn.__version__)
said = " ".join(GroupKFold.__doc__.split())
at = said.index("The folds are approximately balanced")
print(said[at : said.index(".", at) + 1])
groups = np.repeat(np.arange(20), [1000, 900, 800, 700, 600] + [10] * 15)


def sizes(folds):
    return [len(test) for _, test in folds.split(groups, groups=groups)]


dealt = sizes(GroupKFold(5))
shuffled = [sizes(GroupKFold(5, shuffle=True, random_state=seed)) for seed in range(10)]
print("rows in each test fold, not shuffled:", dealt)
for seed, one in enumerate(shuffled[:4]):
    print(f"shuffled, seed {seed}:", one)
uneven = sum(max(one) > 5 * min(one) for one in shuffled)
print(f"in {uneven} of {len(shuffled)} seeds one fold has more than five times the rows of another")
same = max(dealt) < 1.5 * min(dealt) and uneven >= 7 and "`shuffle` is True" in said
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
