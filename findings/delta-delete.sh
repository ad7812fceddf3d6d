#!/usr/bin/env bash
# deltalake and pyarrow: rows are deleted from a table, and what is left is read with a filter on a column of text.
# Guess: the rows that a delete leaves are as readable as before.
# Behaviour: delete writes what it leaves of a file with text as string_view. A pyarrow dataset whose schema says string
# reads such a file, but a filter that compares the column fails ("no kernel matching input types (string, string_view)"):
# the file's statistics are of the one type and the condition of the other. An overwrite of the same rows by none, with a
# predicate, leaves string. Files that are there already can be read with the column cast to string in the condition.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check deltalake==1.6.6 pyarrow==25.0.1
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import os
import sys

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

print("deltalake", deltalake.__version__, "pyarrow", pa.__version__)
rows = pa.table({"job": [f"job {k // 10}" for k in range(1000)], "user": [f"user {k % 7}" for k in range(1000)]})


def read(how, remove, condition):
    path = os.path.join(os.environ["FOLDER"], how.replace(" ", "_"))
    write_deltalake(path, rows)
    remove(path)
    files = DeltaTable(path).file_uris()
    kind = pq.ParquetFile(files[0]).schema_arrow.field("user").type
    try:
        found = ds.dataset(files, schema=rows.schema, format="parquet").to_table(filter=condition).num_rows
    except pa.ArrowNotImplementedError as error:
        found = str(error)
    print(f"{how}: user is {kind}; {found}")
    return found


def deleted(path):
    DeltaTable(path).delete("job = 'job 0'")


def overwritten(path):
    none = pa.RecordBatchReader.from_batches(rows.schema, [])
    write_deltalake(path, none, mode="overwrite", predicate="job = 'job 0'")


plain = pc.field("user") == "user 1"
found = [
    read("deleted", deleted, plain),
    read("deleted and cast", deleted, pc.field("user").cast(pa.string()) == "user 1"),
    read("overwritten by none", overwritten, plain),
]
same = isinstance(found[0], str) and "string_view" in found[0] and found[1] == found[2] == 141
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
