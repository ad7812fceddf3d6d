#!/usr/bin/env bash
# deltalake: prices are appended to a table whose first rows happened to be whole numbers.
# Guess: Delta enforces its schema: doubles for a column of integers are refused, or with schema_mode="merge" make it one
# of doubles.
# Behaviour: they are cut off and written. 78 makes a column of integers (pandas infers it), and 78.65 appended to it is
# 78, -0.5 is 0, with merge and without; the same in merge() and update(). A missing price passes, too. Refused are only
# numbers that no integer can hold, and decimals with a digit too many. pyarrow's cast to the table's schema, before the
# write, refuses what would be cut off.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==25.0.1 pandas==2.3.3
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import os
import sys
from decimal import Decimal

import deltalake
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

print("deltalake", deltalake.__version__)
path = os.path.join(os.environ["FOLDER"], "prices")


def day(name, close):
    return pd.DataFrame({"day": [name], "close": [close]})


write_deltalake(path, day("monday", 78))
write_deltalake(path, day("tuesday", 78.65), mode="append")
write_deltalake(path, day("wednesday", 78.99), mode="append", schema_mode="merge")
write_deltalake(path, day("thursday", -0.5), mode="append")
write_deltalake(path, day("friday", float("nan")), mode="append")
revised = pa.table({"day": ["monday"], "close": [77.95]})
merging = DeltaTable(path).merge(revised, "new.day = old.day", source_alias="new", target_alias="old")
merging.when_matched_update_all().execute()
DeltaTable(path).update(updates={"close": "79.5"}, predicate="day = 'wednesday'")
table = DeltaTable(path).to_pyarrow_table()
found = dict(zip(*table.to_pydict().values(), strict=True))
print("written 77.95, 78.65, 79.5, -0.5 and a missing one; the column is", table.schema.field("close").type, found)

path = os.path.join(os.environ["FOLDER"], "decimals")
write_deltalake(path, pa.table({"close": pa.array([Decimal("78.65")], pa.decimal128(10, 2))}))
try:
    write_deltalake(path, pa.table({"close": pa.array([Decimal("78.655")], pa.decimal128(10, 3))}), mode="append")
    refused = False
except Exception as error:
    refused = True
    print("a third decimal is refused:", error)
try:
    pa.array([78.65]).cast(pa.int64())
    careful = False
except pa.ArrowInvalid as error:
    careful = True
    print("pyarrow:", error)
same = found == {"monday": 77, "tuesday": 78, "wednesday": 79, "thursday": 0, "friday": None} and refused and careful
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
