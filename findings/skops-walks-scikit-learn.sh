#!/usr/bin/env bash
# skops and scikit-learn where Dask or PyTorch is installed beside them: what `import skops.io` loads.
# Guess: scikit-learn and what it needs; a program that keeps a ridge regression pays nothing for other libraries that
# happen to be in its environment.
# Behaviour: skops.io asks scikit-learn for all of its estimators, which imports every one of its packages, also those of
# the array standard's adapters; `sklearn.externals.array_api_compat.dask` and `.torch` import Dask and PyTorch where they
# are installed, which nothing in the program names. With PyTorch that is seconds of every process that reads or writes a
# model. `import sklearn.linear_model` alone loads neither.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  skops==0.16.0 scikit-learn==1.9.1 numpy==2.2.6 'dask[array]==2025.11.0'
cat > "$folder/loaded.py" <<'PYTHON'
import importlib
import sys
import time

begun = time.perf_counter()
importlib.import_module(sys.argv[1])
print(len(sys.modules), "dask" in sys.modules, round(time.perf_counter() - begun, 2))
PYTHON
"$folder/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -iE '^(skops|scikit-learn|dask) '
found=""
for module in sklearn.linear_model skops.io; do
  read -r modules dask seconds < <("$folder/env/bin/python" "$folder/loaded.py" "$module")
  echo "import $module: $modules modules in $seconds s, Dask among them: $dask"
  found="$found $dask"
done
if [ "$found" = " False True" ]; then
  echo "as found"
else
  echo "this has changed"
  exit 1
fi
