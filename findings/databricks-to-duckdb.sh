#!/usr/bin/env bash
# sqlglot: a feature's SQL, written for Databricks, is transpiled to DuckDB for a test or a run without a cluster.
# Guess: what has another meaning there is rewritten, as date_add, months_between, division by zero and array's indices are;
# what cannot be is refused with unsupported_level=RAISE.
# Behaviour: the names stay and mean something else. weekday counts from Monday there and from Sunday here, dayofweek from 1
# and from 0. datediff(MONTH) counts whole months there, month ends crossed here; so do YEAR and HOUR, and read as Spark's SQL
# datediff(HOUR) drops the time of the day: 20 hours are 0. percentile(x, 0.5) of whole numbers lies between two values there
# and is one of them here. skewness and kurtosis are of the population there, of the sample here; a cast to int cuts off
# there and rounds here. Nothing is raised or logged.
# Needs Java 17 for Spark.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check sqlglot==30.30.0 duckdb==2.0.1 pyspark==4.2.1 numpy==2.4.6
"$folder/env/bin/python" - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import logging
import sys
from importlib.metadata import version

import duckdb
import numpy as np
import sqlglot
from pyspark.sql import SparkSession

print(", ".join(f"{name} {version(name)}" for name in ("sqlglot", "duckdb", "pyspark")))
said = []
handler = logging.Handler()
handler.emit = said.append
logging.getLogger("sqlglot").addHandler(handler)
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("OFF")
prices = np.array([1.0, 2.0, 4.0, 9.0, 11.0, 30.0])
count, about_mean = len(prices), prices - prices.mean()
skewness = (about_mean**3).mean() / (about_mean**2).mean() ** 1.5
kurtosis = (about_mean**4).mean() / (about_mean**2).mean() ** 2 - 3
sample_skewness = skewness * (count * (count - 1)) ** 0.5 / (count - 2)
sample_kurtosis = (count - 1) / (count - 2) / (count - 3) * ((count + 1) * kurtosis + 6)
rows = "VALUES (1), (2), (4), (9), (11), (30) AS prices(price)"
# In Spark; in DuckDB from Databricks' SQL and from Spark's.
expected = {
    "SELECT weekday(DATE'2024-01-07')": (6, 0, 0),
    "SELECT dayofweek(DATE'2024-01-07')": (1, 0, 0),
    "SELECT datediff(MONTH, DATE'2024-01-31', DATE'2024-02-01')": (0, 1, 1),
    "SELECT datediff(YEAR, DATE'2023-12-31', DATE'2024-01-01')": (0, 1, 1),
    "SELECT datediff(HOUR, TIMESTAMP'2024-01-31 00:59:00', TIMESTAMP'2024-01-31 21:01:00')": (20, 21, 0),
    f"SELECT percentile(price, 0.5) FROM {rows}": (6.5, 4, 4),
    f"SELECT skewness(CAST(price AS DOUBLE)) FROM {rows}": (skewness, sample_skewness, sample_skewness),
    f"SELECT kurtosis(CAST(price AS DOUBLE)) FROM {rows}": (kurtosis, sample_kurtosis, sample_kurtosis),
    "SELECT CAST(78.65 AS INT)": (78, 79, 79),
    # What is carried over:
    "SELECT months_between(DATE'2024-02-29', DATE'2024-01-31')": (1, 1, 1),
}
same = True
for text, wanted in expected.items():
    found = [float(spark.sql(text).collect()[0][0])]
    for dialect in ("databricks", "spark"):
        translated = sqlglot.transpile(text, read=dialect, write="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)[0]
        found.append(float(duckdb.sql(translated).fetchall()[0][0]))
    print("{}: Spark {:.4g}, DuckDB {:.4g} from Databricks' SQL and {:.4g} from Spark's".format(text, *found))
    same = same and np.allclose(found, wanted)
same = same and not said
print("as found" if same else "this has changed")
spark.stop()
sys.exit(not same)
PYTHON
