#!/usr/bin/env bash
# pint: the day's range of temperature, `np.ptp` of a quantity in degC, for a feature in degF.
# Guess: a range is a difference: delta_degC, as max minus min, np.diff, np.gradient and np.std give; of 10 degC it is 18
# delta_degF, and .to("degF") is refused, as it is of every other difference.
# Behaviour: np.ptp gives degC, a temperature. A range of 10 degrees is 50 degF and 283.15 kelvin. Nothing is said: it is
# right only while nobody converts it. Take x.max() - x.min().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pint==0.25.3 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys

import numpy as np
import pint

print("pint", pint.__version__, "numpy", np.__version__)
hours = pint.UnitRegistry().Quantity(np.array([10.0, 14.0, 20.0, 13.0]), "degC")
differences = {
    "max - min": hours.max() - hours.min(),
    "np.diff": np.diff(hours),
    "np.gradient": np.gradient(hours),
    "np.std": np.std(hours),
}
refused = []
for name, value in differences.items():
    try:
        value.to("degF")
    except pint.DimensionalityError:
        refused.append(name)
    print(f"{name}: {value:~}; in delta_degF {value.to('delta_degF').magnitude}")
print('refused by .to("degF"):', ", ".join(refused))
span = np.ptp(hours)
print(f"np.ptp: {span}; in degF {span.to('degF'):.2f}; in kelvin {span.to('kelvin'):.2f}")
same = refused == list(differences) and np.isclose(differences["max - min"].to("delta_degF").magnitude, 18)
same = same and str(span.units) == "degree_Celsius" and np.isclose(span.to("degF").magnitude, 50)
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
