#!/usr/bin/env bash
# deltalake: a column of long texts is written with WriterProperties, and the log is looked at.
# Guess: properties that are not given stay what they are without WriterProperties.
# Behaviour: without WriterProperties, 64 bytes of the column's least and greatest text go into the log's statistics. With
# any, even WriterProperties(), both stand there whole, and again in each checkpoint: two texts of 200 kB make 400 kB of
# log, which every reader parses when it opens the table. statistics_truncate_length=64 gives the usual length back.
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
from deltalake import WriterProperties, write_deltalake

print("deltalake", deltalake.__version__)
rows = pa.table({"id": [1, 2], "text": ["0123456789" * 20_000, "1234567890" * 20_000]})


def log_bytes(name, properties):
    path = os.path.join(os.environ["FOLDER"], name)
    write_deltalake(path, rows, writer_properties=properties)
    size = os.path.getsize(os.path.join(path, "_delta_log", f"{0:020d}.json"))
    print(f"{name}: the log entry has {size:,} bytes")
    return size


usual = log_bytes("no_properties", None)
whole = log_bytes("empty_properties", WriterProperties())
cut = log_bytes("with_a_length", WriterProperties(statistics_truncate_length=64))
as_found = max(usual, cut) < 10_000 and whole > 400_000
print("as found" if as_found else "this has changed")
sys.exit(not as_found)
PYTHON
