"""What a workflow's peak adds to its process beside the size of its table, for tables of several sizes (Linux).

    python -m benchmarks.ensembles_memory [BASE ...] [--rows 100000 800000]

Each size in a process of its own, whose libraries are loaded before: a table of 20 numbers and a label, in Parquet, is
read, fitted (three folds, two fits at once) and voted on. The growth from one size to the next is without what every
process needs. What making the table has left free is given back before the start: the peak would be measured from
memory that is there already, and be less by it, differently from run to run.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - a script of its own

from benchmarks.ensembles import LIBRARIES, load_libraries, resident
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import Run
from forecast_platform.host.memory import collect_seldom, give_back_memory, lean_allocators
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform

WORKFLOW = """
obsrv:
  context:
    name: memory
    timeout: 2 h
    folds: 3
    bases: [{bases}]
    metric: {{classification: [auc]}}
    source: {{path: {path}, target: target}}
  job: [{{task: vote_mix}}]
"""
COLUMNS = 20


def one(rows: int, bases: list[str]) -> None:
    """Prints MB of the table, of its rows' peak and of the workflow's, above what the process had."""
    collect_seldom()  # as every process of ours begins
    load_libraries(LIBRARIES)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as made:
        x = rng.normal(size=(rows, COLUMNS))
        table = pd.DataFrame(x, columns=[f"column_{number}" for number in range(COLUMNS)])
        table["target"] = np.where(x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=rows) > 0, "a", "b")
        path = Path(made) / "rows.parquet"
        table.to_parquet(path)
        size = table.memory_usage().sum() / 2**20
        del table, x
        gc.collect()
        give_back_memory()  # else the start has what making the table has left, and the peak is over that
        settings = build(warehouse=Path(made) / "warehouse", source="sample", workers=2)
        run = Run(Platform.from_settings(settings), read_workflow(WORKFLOW.format(bases=", ".join(bases), path=path)))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
        start = resident("VmRSS")
        _ = run.rows, run.folds
        read = resident("VmHWM") - start
        run.perform("vote_mix")
        print(size, read, resident("VmHWM") - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bases", nargs="*", help="base models (default: linear xgboost_small)")
    parser.add_argument("--rows", nargs="+", type=int, default=[100_000, 800_000], help="of the tables")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    lean_allocators()  # as every process of ours begins; those that are started here read it from the environment
    bases = options.bases or ["linear", "xgboost_small"]
    if options.one:
        one(options.rows[0], bases)
        return
    print(f"{', '.join(bases)}: MB of the table; over the start: its rows, all; growth a MB of table")
    before: list[float] = []
    for rows in options.rows:
        command = [sys.executable, "-m", "benchmarks.ensembles_memory", *bases, "--one", "--rows", str(rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = [float(value) for value in done.stdout.splitlines()[-1].split()]
        growth = [(new - old) / (found[0] - before[0]) for new, old in zip(found[1:], before[1:], strict=False)]
        shown = "".join(f"{value:8.0f}" for value in found) + "".join(f"{value:8.1f}" for value in growth)
        print(f"  {rows:>9,} rows{shown}", flush=True)
        before = found


if __name__ == "__main__":
    main()
