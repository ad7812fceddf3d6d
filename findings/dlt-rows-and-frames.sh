#!/usr/bin/env bash
# dlt: daily prices are loaded into DuckDB, once as rows (dicts) and once as a DataFrame of the same.
# Guess: both give the same table; a price with decimals behind whole ones gets a column of its own, `price__v_double`, as the
# page on schema evolution says; two names that become one are refused.
# Behaviour: with rows the first holds and the second does not, with a DataFrame it is the other way round. 79.65 from a
# DataFrame behind 78 is 80 in the table. "WTI ($)" and "WTI (€)" in a row are one column, `wtix`, in which the last stands
# and the other is lost; a DataFrame with them is refused (NameNormalizationCollision). Nothing is said of the rounding or the
# loss. Name the type, columns={"price": {"data_type": "double"}}, and rename columns before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check dlt==1.31.0 duckdb==2.0.1 numpy==2.4.6 pandas==2.3.3 \
  pyarrow==26.0.1
export FOLDER="$folder" RUNTIME__DLTHUB_TELEMETRY=false DLT_DATA_DIR="$folder/data"
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import logging
import os
import sys
from importlib.metadata import version

import dlt
import duckdb
import pandas as pd
from dlt.pipeline.exceptions import PipelineStepFailed

print(", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pandas")))
path = os.path.join(os.environ["FOLDER"], "prices.duckdb")
pipeline = dlt.pipeline("prices", destination=dlt.destinations.duckdb(path), dataset_name="raw")
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("dlt").addHandler(handler)


def load(table, *loads, **hints):
    for rows in loads:
        pipeline.run(rows, table_name=table, **hints)
    with duckdb.connect(path) as connection:
        frame = connection.sql(f"SELECT * FROM raw.{table} ORDER BY day").df()
    frame = frame.drop(columns=[name for name in frame if name.startswith("_dlt")])
    found = {name: [None if pd.isna(value) else float(value) for value in frame[name]] for name in frame if name != "day"}
    print(f"{table}: {found}")
    return found


whole, decimal = [{"day": 1, "price": 78}, {"day": 2, "price": 79}], [{"day": 3, "price": 79.65}]
rows = load("rows", whole, decimal)
frames = load("frames", pd.DataFrame(whole), pd.DataFrame(decimal))
two = [{"day": 1, "WTI ($)": 78.5, "WTI (€)": 72.5}]
one = load("currencies", two)
print("warnings:", said)
same = not said
typed = load("typed", pd.DataFrame(whole), pd.DataFrame(decimal), columns={"price": {"data_type": "double"}})
try:
    pipeline.run(pd.DataFrame(two), table_name="currencies_frame")
    refused = False
except PipelineStepFailed as error:
    refused = "NameNormalizationCollision" in str(error)
print("a DataFrame of both currencies is refused:", refused)
same = same and rows == {"price": [78, 79, None], "price__v_double": [None, None, 79.65]} and frames == {"price": [78, 79, 80]}
same = same and typed == {"price": [78, 79, 79.65]} and one == {"wtix": [72.5]} and refused
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
