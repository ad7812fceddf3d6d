#!/usr/bin/env bash
# cfgrib: precipitation of a forecast in GRIB2 as GFS publishes it, the sum since the start beside that of the last six hours.
# Guess: `tp` of 0-12 and of 6-12 hours are two variables, or one of them is left out and the log says so ("skipping
# variable"), as of levels or times that do not go together.
# Behaviour: both end at hour 12, which is all that a step is, and of several messages for one step the first in the file is
# taken. One variable then holds sums since the start at some steps and six-hour sums at others, in a file in which the order
# changes from step to step, and the difference of two steps may be negative rain. Nothing is logged, stepRange is not among the
# attributes, and open_datasets gives the same. Read each range with filter_by_keys={"stepRange": "6-12"}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check cfgrib==0.9.15.1 eccodes==2.50.0 xarray==2026.9.0 \
  numpy==2.4.6 pandas==3.1.1
FOLDER="$folder" "$folder/env/bin/python" - <<'PYTHON'
import logging
import os
import sys
import warnings
from importlib.metadata import version

import cfgrib
import eccodes
import numpy as np
import xarray as xr

warnings.simplefilter("error", UserWarning)
print(", ".join(f"{name} {version(name)}" for name in ("cfgrib", "eccodes", "xarray")))
said = []
handler = logging.Handler()
handler.emit = said.append
logging.getLogger().addHandler(handler)


def write(name, ranges):
    """One message a range, of a rain of one millimetre an hour."""
    path = os.path.join(os.environ["FOLDER"], name)
    with open(path, "wb") as file:
        for start, end in ranges:
            message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            for key, value in {"dataDate": 20240101, "dataTime": 0, "productDefinitionTemplateNumber": 8, "shortName": "tp",
                               "stepType": "accum", "stepRange": f"{start}-{end}"}.items():
                eccodes.codes_set(message, key, value)
            eccodes.codes_set_values(message, np.full(eccodes.codes_get(message, "numberOfPoints"), float(end - start)))
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)
    return path


def sums(dataset):
    return dict(zip((dataset.step.values / np.timedelta64(1, "h")).astype(int).tolist(), dataset.tp.values[:, 0, 0].tolist()))


path = write("mixed.grib2", [(0, 6), (0, 12), (6, 12), (12, 18), (0, 18), (0, 24), (18, 24)])
mixed = xr.open_dataset(path, engine="cfgrib")
print("one variable, millimetres by step:", sums(mixed), "; stepRange in its attributes:", "GRIB_stepRange" in mixed.tp.attrs)
several = cfgrib.open_datasets(path)
print("open_datasets:", [sums(one) for one in several])
kept = {text: float(xr.open_dataset(path, engine="cfgrib", backend_kwargs={"indexpath": "", "filter_by_keys": {"stepRange": text}})
                    .tp.values[0, 0]) for text in ("6-12", "0-12")}
print("by stepRange:", kept)
wanted = {6: 6.0, 12: 12.0, 18: 6.0, 24: 24.0}
same = sums(mixed) == wanted and [sums(one) for one in several] == [wanted] and not said
same = same and "GRIB_stepRange" not in mixed.tp.attrs and kept == {"6-12": 6.0, "0-12": 12.0}
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
