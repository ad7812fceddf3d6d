"""AutoGluon Tabular on rows in Parquet files, for ensembles.py, in an environment of its own.

    PYTHON benchmarks/_autogluon.py TRAIN TEST TARGET METRIC PRESET

Prints one line of JSON: the metric of the test rows, and processor and wall seconds of fitting.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time

import pandas as pd  # noqa: TID253 - a script of its own


def _processor() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    """Fit and score."""
    from autogluon.tabular import TabularPredictor

    train, test, target, metric, preset = sys.argv[1:]
    rows, held = pd.read_parquet(train), pd.read_parquet(test)
    with tempfile.TemporaryDirectory() as made:
        cpu, wall = _processor(), time.perf_counter()
        predictor = TabularPredictor(target, eval_metric=metric, path=made, verbosity=0)
        predictor.fit(rows, presets=preset, num_cpus=2)
        found = {"cpu": _processor() - cpu, "wall": time.perf_counter() - wall}
        score = abs(float(predictor.evaluate(held, silent=True)[metric]))
        models = [str(one) for one in predictor.model_names()]
    print(json.dumps({**found, "score": score, "models": models}))


if __name__ == "__main__":
    main()
