#!/usr/bin/env bash
# MLflow: the digest of a table of prices, by which runs say which data they were trained on.
# Guess: as its page says, "unique hash/fingerprint for dataset identification": a revised price, or the same prices on other
# days, are another digest.
# Behaviour: only the first 10,000 rows are hashed, and only columns of numbers and of texts without a gap. In a table sorted
# by day the newest prices are never looked at; days never are, nor booleans, nor a text column that lacks one value. Two
# runs with one digest share one record: the second is listed with the source of the first. Pass digest= of your own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 pandas==2.3.3
FOLDER="$folder" "$folder/env/bin/python" -W ignore - <<'PYTHON'
import logging
import os
import sys

import mlflow
import pandas as pd

logging.disable(logging.INFO)
print("mlflow", mlflow.__version__, "pandas", pd.__version__)
days = pd.date_range("1985-01-01", periods=12_000, freq="D")
prices = pd.DataFrame({"day": days, "contract": "CL1", "close": [20.0 + n % 60 for n in range(len(days))]})
prices.loc[3, "contract"] = None
tables = {
    "the latest 2,000 closes doubled": prices.assign(close=prices.close.where(prices.index < 10_000, prices.close * 2)),
    "all a day later": prices.assign(day=prices.day + pd.Timedelta(days=1)),
    "of another contract": prices.assign(contract=prices.contract.replace("CL1", "BZ1")),
    "one close among the first 10,000": prices.assign(close=prices.close.where(prices.index != 100, 0.0)),
}
first = mlflow.data.from_pandas(prices, name="prices").digest
print(first, "as it was")
found = {name: mlflow.data.from_pandas(table, name="prices").digest for name, table in tables.items()}
for name, digest in found.items():
    print(digest, name)

mlflow.set_tracking_uri(f"sqlite:///{os.environ['FOLDER']}/mlflow.db")
mlflow.create_experiment("prices", artifact_location=os.environ["FOLDER"])
mlflow.set_experiment("prices")
listed = {}
for source, table in {"monday.parquet": prices, "tuesday.parquet": tables["the latest 2,000 closes doubled"]}.items():
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_pandas(table, source=source, name="prices"))
    listed[source] = mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset.source
    print("trained on", source, "and listed with", listed[source])
unseen = [digest == first for digest in found.values()] == [True, True, True, False]
as_found = unseen and listed["tuesday.parquet"] == listed["monday.parquet"]
print("as found" if as_found else "this has changed")
sys.exit(not as_found)
PYTHON
