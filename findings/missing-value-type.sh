#!/usr/bin/env bash
# xarray: a file of station temperatures in single precision, in which -99.9 means missing, as its `missing_value` says.
# Guess: open_dataset masks what equals `missing_value`; -99.9 as a plain Python number (a double in the file) will do.
# Behaviour: the double -99.9 is compared with the single precision -99.9, which is another number, and the mean takes in
# -99.9 degrees. Nothing is said, where netCDF4 warns of the same file; nor is it by open_zarr, nor of a file that xarray
# has written from the attribute. -9999 is masked, being the same number in both, so that one file is read right and the
# next is not; 1e20 is not. With numpy 1 each of them is. xarray's issue 9381 knows of it in decode_cf and holds files that
# open_dataset reads for safe. Write the attribute in the data's type, or decode a file of others by hand: open it with
# decode_cf=False, cast the attribute to the variable's dtype, then xarray.decode_cf.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  xarray==2026.9.0 netCDF4==1.7.5.1.post1 numpy==2.4.6 pandas==2.3.3
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys
import warnings

import netCDF4
import numpy as np
import xarray

print("xarray", xarray.__version__, "numpy", np.__version__)
single = np.float32
cases = {"double": -99.9, "single": single(-99.9), "whole": -9999.0, "large": 1e20, "large_single": single(1e20)}
path = f"{sys.argv[1]}/stations.nc"
with netCDF4.Dataset(path, "w") as file:
    file.createDimension("day", 4)
    for name, missing in cases.items():
        variable = file.createVariable(name, "f4", ("day",))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # netCDF4 tells whoever writes through it
            variable.missing_value = missing
        variable[:] = np.array([20.5, missing, 18.25, 22], "f4")

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    days = xarray.open_dataset(path).load()
    means = {name: float(days[name].mean()) for name in cases}
    taken = xarray.Dataset({"t": ("day", np.array([20.5, -99.9, 18.25, 22], "f4"), {"missing_value": -99.9})})
    taken.to_netcdf(f"{sys.argv[1]}/own.nc")
    means["own"] = float(xarray.open_dataset(f"{sys.argv[1]}/own.nc").t.mean())
print("mean of 20.5, missing, 18.25, 22 (20.25 is right):")
for name, mean in means.items():
    print(f"   missing_value {cases.get(name, -99.9)!r}{' in a file of xarray' if name == 'own' else ''}: {mean:g}")
print("warnings of xarray:", len(said))

with xarray.open_dataset(path, decode_cf=False) as raw:
    for variable in raw.data_vars.values():
        variable.attrs["missing_value"] = variable.dtype.type(variable.attrs["missing_value"])
    cast = {name: float(mean) for name, mean in xarray.decode_cf(raw).load().mean().items()}
print("with the attribute cast first:", cast)
right = {name for name, mean in means.items() if mean == 20.25}
same = right == {"single", "whole", "large_single"} and not said and set(cast.values()) == {20.25}
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
