#!/usr/bin/env bash
# zarr and xarray: hourly rain written with zarr-python in Zarr format 2, and read with xarray.
# Guess: a dry hour is 0 where use_zarr_fill_value_as_mask=False is asked for: as open_zarr's page says, the fill value "is
# ignored and the data are not masked" then.
# Behaviour: the option is handed to the reader, which does not hand it on; False and True change nothing. zarr-python's own
# fill value is 0, and in format 2 xarray takes that for the mark of missing values: every 0 that was written is NaN, and the
# mean is that of the wet hours alone. In format 3 the same rain has its zeros, and True masks none. Nothing is said. Open it
# with mask_and_scale=False, or write it with fill_value=nan.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6 pandas==3.1.1
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import os
import sys
import warnings
from importlib.metadata import version

import numpy as np
import xarray as xr
import zarr

warnings.simplefilter("error", UserWarning)
warnings.simplefilter("error", RuntimeWarning)
print(", ".join(f"{name} {version(name)}" for name in ("xarray", "zarr")))
rain = np.array([0.0, 1.0, 2.0, 0.0, 0.0, 3.0])


def read(version, fill, reader=xr.open_zarr, **options):
    path = os.path.join(os.environ["FOLDER"], f"rain_{version}_{fill}")
    group = zarr.open_group(path, mode="w", zarr_format=version)
    names = {"dimension_names": ["hour"]} if version == 3 else {}
    filling = {} if fill == "default" else {"fill_value": fill}
    array = group.create_array("rain", shape=rain.shape, chunks=rain.shape, dtype="float64", **names, **filling)
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["hour"]
    array[:] = rain
    assert (zarr.open_group(path, mode="r")["rain"][:] == rain).all()
    values = reader(path, consolidated=False, **options).rain
    print(f"format {version}, fill value {array.fill_value}, {reader.__name__}{options or str()}: {values.values}, mean {float(values.mean()):.2f}")
    return values


def open_dataset(path, **options):
    return xr.open_dataset(path, engine="zarr", **options)


masked = [
    read(2, "default"),
    read(2, "default", use_zarr_fill_value_as_mask=False),
    read(2, "default", open_dataset, use_zarr_fill_value_as_mask=False),
]
whole = [
    read(3, "default"),
    read(3, "default", use_zarr_fill_value_as_mask=True),
    read(2, "default", mask_and_scale=False),
    read(2, float("nan")),
]
same = all(np.isnan(values.values).tolist() == (rain == 0).tolist() and float(values.mean()) == 2.0 for values in masked)
same = same and all((values.values == rain).all() for values in whole)
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
