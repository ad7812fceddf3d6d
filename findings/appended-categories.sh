#!/usr/bin/env bash
# fastparquet: each month's prices are appended to one file; the grade of crude oil is a column of pandas' categories.
# Guess: a row group has its own dictionary in Parquet, so that each row reads as the grade that was written; and "the schema
# must match", as the page says of append: a price with decimals is refused in a column of integers.
# Behaviour: the file is right, as pyarrow reads it, but fastparquet gives every row group the labels of the last: Brent in
# January reads as Dubai because February has no Brent, without a word; so does pandas with engine="fastparquet". And numbers
# are cast to the file's type: 78.65 is written as 78 behind integers, 2**33 as 0 behind 32-bit ones. Read such files with
# pyarrow, or with to_pandas(categories=[]); hand numbers over in the file's own type.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check fastparquet==2026.9.0 pyarrow==26.0.1 numpy==2.4.6 \
  pandas==2.3.3
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import os
import sys
import warnings
from importlib.metadata import version

import fastparquet
import numpy as np
import pandas as pd
import pyarrow.parquet

warnings.simplefilter("error", UserWarning)
warnings.simplefilter("error", RuntimeWarning)
print("fastparquet", version("fastparquet"), "pyarrow", version("pyarrow"))


def appended(name, column, *months):
    path = os.path.join(os.environ["FOLDER"], name)
    for number, values in enumerate(months):
        fastparquet.write(path, pd.DataFrame({column: values}), append=number > 0)
    return path


path = appended("grades", "grade", pd.Categorical(["Brent", "WTI"]), pd.Categorical(["Dubai", "WTI"]))
file = fastparquet.ParquetFile(path)
read = {
    "pyarrow": pyarrow.parquet.read_table(path)["grade"].to_pylist(),
    "fastparquet, as texts": file.to_pandas(categories=[])["grade"].tolist(),
    "fastparquet": file.to_pandas()["grade"].tolist(),
    "pandas": pd.read_parquet(path, engine="fastparquet")["grade"].tolist(),
}
for reader, grades in read.items():
    print(f"{reader}: {grades}")
numbers = {}
for name, old, new in (("decimals", [78, 79], [78.65]), ("large", np.array([1, 2], "int32"), np.array([2**33]))):
    numbers[name] = pyarrow.parquet.read_table(appended(name, "value", old, new))["value"].to_pylist()
    print(f"{new[0]} appended to {list(map(int, old))}: {numbers[name]}")
right, wrong = ["Brent", "WTI", "Dubai", "WTI"], ["Dubai", "WTI", "Dubai", "WTI"]
same = list(read.values()) == [right, right, wrong, wrong]
same = same and numbers == {"decimals": [78, 79, 78], "large": [1, 2, 0]}
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
