#!/usr/bin/env bash
# deltalake: a table of prices as it was at a time, for a backtest that may only know what was known then.
# Guess: a time before the table's first version, or before the oldest that the log still has, is refused, as by Spark.
# Behaviour: load_as_version gives the oldest version that is left, whatever the time. A year before the table was made it
# gives the first load, with all the prices that came in between; and once the log has been cleaned of what is older than
# its retention (30 days), a time of two months ago gives the table of yesterday. Nothing is raised; version() alone says
# which it was. Compare the time with that version's in history() before reading.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==25.0.1
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import os
import sys
import time
from datetime import datetime, timedelta, timezone

import deltalake
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

print("deltalake", deltalake.__version__)
path = os.path.join(os.environ["FOLDER"], "prices")
now = datetime.now(timezone.utc)
ages = [62, 61, 1]
for version, age in enumerate(ages):
    day = (now - timedelta(days=age)).date().isoformat()
    write_deltalake(path, pa.table({"day": [day], "close": [80.0 + version]}), mode="append")
    # Delta dates a version by its log file's time.
    written = time.time() - 86_400 * age
    os.utime(os.path.join(path, "_delta_log", f"{version:020d}.json"), (written, written))


def as_of(days):
    table = DeltaTable(path)
    table.load_as_version(now - timedelta(days=days))
    newest = max(table.to_pyarrow_table().column("day").to_pylist())
    print(f"as of {now - timedelta(days=days):%Y-%m-%d}: version {table.version()}, prices up to {newest}")
    return table.version()


print("versions of", ", ".join(f"{now - timedelta(days=age):%Y-%m-%d}" for age in ages))
whole = [as_of(days) for days in (365, 61.5, 60, 0)]
table = DeltaTable(path)
table.create_checkpoint()
table.cleanup_metadata()
print("after cleanup_metadata():", ", ".join(sorted(os.listdir(os.path.join(path, "_delta_log")))))
cleaned = [as_of(days) for days in (365, 61.5, 60, 0)]
same = whole == [0, 0, 1, 2] and cleaned == [2, 2, 2, 2]
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
