#!/usr/bin/env bash
# xarray: two months of temperatures, each in its own packed file (16 bits, its own scale and offset), put into one file.
# Guess: the joined file is packed anew or kept as floating point; numbers that do not fit are refused.
# Behaviour: the joined variable keeps the first file's scale and offset, and what is out of their range wraps round as 16-bit
# integers do. After January's -12 to 8 degrees, July's 11 to 36 are read back as -12 to 8: its mean is -3 instead of 23.5,
# and every value is one that January might have had. So it is with to_netcdf, with to_zarr, and with a month appended
# to a Zarr store; nothing is said. Drop the packing before writing: dataset.drop_encoding().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check xarray==2026.9.0 netCDF4==1.7.5.1.post1 zarr==3.1.6 \
  numpy==2.4.6 pandas==3.1.1
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import os
import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import xarray as xr

warnings.simplefilter("error", RuntimeWarning)
warnings.simplefilter("error", xr.SerializationWarning)
print(", ".join(f"{name} {version(name)}" for name in ("xarray", "netCDF4", "zarr")))
os.chdir(os.environ["FOLDER"])


def month(file, start, low, high):
    hours = pd.date_range(start, periods=48, freq="h")
    packing = {"dtype": "int16", "scale_factor": (high - low) / 65000, "add_offset": (high + low) / 2, "_FillValue": -32768}
    dataset = xr.Dataset({"t2m": ("time", np.linspace(low, high, 48))}, {"time": hours})
    dataset.to_netcdf(file, encoding={"t2m": packing})


def july(dataset):
    values = dataset.t2m.sel(time="2024-07").values
    return float(values.mean().round(2)), float(values.min().round(2)), float(values.max().round(2))


month("january.nc", "2024-01-01", -12.0, 8.0)
month("july.nc", "2024-07-01", 11.0, 36.0)
months = [xr.open_dataset("january.nc"), xr.open_dataset("july.nc")]
both = xr.concat(months, "time")
both.to_netcdf("both.nc")
both.to_zarr("both.zarr", zarr_format=2)
months[0].to_zarr("appended.zarr", zarr_format=2)
months[1].to_zarr("appended.zarr", append_dim="time")
both.drop_encoding().to_netcdf("plain.nc")
found = {
    "in memory": july(both),
    "netCDF": july(xr.open_dataset("both.nc")),
    "Zarr": july(xr.open_zarr("both.zarr")),
    "Zarr, appended": july(xr.open_zarr("appended.zarr")),
    "netCDF without the packing": july(xr.open_dataset("plain.nc")),
}
for name, values in found.items():
    print("{}: mean of July {}, from {} to {}".format(name, *values))
same = found["in memory"] == found["netCDF without the packing"] == (23.5, 11.0, 36.0)
for name in ("netCDF", "Zarr", "Zarr, appended"):
    mean, low, high = found[name]
    same = same and abs(mean + 2.97) < 0.05 and low > -12.1 and high < 8.1
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
