#!/usr/bin/env bash
# safetensors: the bytes of a file, where a forecasting model's fit is addressed by the hash of its weights.
# Guess: the same tensors with the same metadata, saved twice, give the same file; NeuralForecast keeps its models so.
# Behaviour: the tensors' part is the same, the header is not: its metadata stand in an order that differs from one save
# to the next, also within one process. A hash of the file says "another model" of the same weights; sort the header's
# keys before hashing. With one metadata key the files are the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.2.6
"$folder/env/bin/python" - <<'PYTHON'
import hashlib
import json
import sys

import numpy as np
import safetensors
from safetensors.numpy import save

print("safetensors", safetensors.__version__)
tensors = {"weight": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(3, np.float32)}
metadata = {"model_class": "NHITS", "format": "2", "hyper_parameters": "{}", "version": "3.3.0"}


def parts(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


saved = [save(tensors, metadata=metadata) for _ in range(50)]
files = {hashlib.sha256(one).hexdigest() for one in saved}
contents = {json.dumps(parts(one)[0], sort_keys=True) + parts(one)[1].hex() for one in saved}
single = {hashlib.sha256(save(tensors, metadata={"format": "2"})).hexdigest() for _ in range(50)}
print(f"50 saves with {len(metadata)} metadata keys: {len(files)} different files of {len(contents)} content")
print(f"50 saves with one metadata key: {len(single)} different files")
for order in sorted({tuple(parts(one)[0]["__metadata__"]) for one in saved})[:3]:
    print("    an order:", ", ".join(order))
same = len(files) > 1 and len(contents) == 1 and len(single) == 1
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
