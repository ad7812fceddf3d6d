#!/usr/bin/env bash
# MLflow 3.17.2, a new SQLite tracking store, its first client ended by SIGKILL while the store is being made.
#
# Guess: the next client goes on with the migrations, since each is recorded in alembic_version, or begins anew.
# Seen: at about half of the moments no later client ever opens the file: every start ends in SQLAlchemy's
#   OperationalError "table ... already exists". SQLite commits each statement of a migration by itself and the revision
#   after all of them, so that one that was cut off is begun again over what it made.
# What it means for a forecaster: the first night's run is killed, and no fit has a record from then on.
# Exits 1 where every later client opens the file, at all of the moments that are tried.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q "mlflow==3.17.2"
cat >"$folder/client.py" <<'PY'
import sys
from mlflow import MlflowClient

uri = f"sqlite:///{sys.argv[1]}"
print(MlflowClient(tracking_uri=uri, registry_uri=uri).get_experiment_by_name("Default").name)
PY
cat >"$folder/cut.py" <<'PY'
import pathlib, subprocess, sys, time

here = pathlib.Path(sys.argv[1])


def begun(database):
    first = subprocess.Popen([sys.executable, here / "client.py", database], stderr=subprocess.DEVNULL)
    while not database.is_file() or not database.stat().st_size:
        time.sleep(0.005)
    return first


start = time.monotonic()
begun(here / "whole.db").wait()
whole = time.monotonic() - start
lost = 0
for part in range(1, 11):
    database = here / f"{part}.db"
    first = begun(database)
    time.sleep(0.06 * part * whole)
    first.kill()
    first.wait()
    later = [
        subprocess.run([sys.executable, here / "client.py", database], capture_output=True, text=True) for _ in (1, 2)
    ]
    said = [line for line in later[1].stderr.splitlines() if line.startswith("sqlite3.OperationalError")]
    print(f"cut off at {0.06 * part:.2f} of {whole:.1f} s: exits {[one.returncode for one in later]} {said[-1:]}")
    lost += all(one.returncode for one in later)
print(f"{lost} of 10 are not opened by any later client")
sys.exit(lost == 0)
PY
"$folder/env/bin/python" "$folder/cut.py" "$folder"
