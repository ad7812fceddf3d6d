"""One platform's forecasts on JVM Spark, in a process of its own: a process holds either a JVM session or a remote one.

    python -m forecast_platform_tests.compute.jvm_case ROOT MASTER WRITER FIRST LAST MODEL,MODEL [MARKER]

Prints one JSON line a model: dates written, dates failed, cores that were counted. With MARKER, the first worker is
killed after it wrote.
With the word `workflow` for WRITER, the tasks of ROOT/workflow.yaml are done by Spark's workers, and MODEL counts not.
With the word `fits` for WRITER, models are fitted on the windows that begin on FIRST and LAST instead. With the word
`interrupted`, Ctrl-C comes in the middle of the first model's job.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from functools import partial
from pathlib import Path

from forecast_platform.clients.spark import session_for
from forecast_platform.clients.spark_session import cores_of
from forecast_platform.compute.spark import SparkCompute
from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.remote_task import is_remote, perform_remotely
from forecast_platform.ensembles.running import Run
from forecast_platform.pipeline.forecast_plan import plan
from forecast_platform.work.fitting import fit
from forecast_platform.work.platform import Platform
from forecast_platform.work.tasks import TaskRequest
from forecast_platform_tests.compute.engines import (
    dies_once,
    dies_once_after_writing,
    interrupt_after,
    takes_seconds,
    task_for,
)
from forecast_platform_tests.worlds import days, settings_for


def fits(platform: Platform, model: str, windows: list[str], marker: str | None) -> dict[str, object]:
    """Fit, and keep the fits as training does."""
    tasks = [task_for(platform, "Alpha", model, dt.date.fromisoformat(start)) for start in windows]
    fitter = fit if marker is None else partial(dies_once, Path(marker))
    done = SparkCompute(fitter=fitter).fits(platform, tasks)
    return {"model": model, "fits": {str(one.task.window_start): [one.text, one.metrics, one.error] for one in done}}


def interrupted(platform: Platform, model: str, first: str, last: str, marker: Path) -> dict[str, object]:
    """What comes out of a run that is interrupted while a worker is at it."""
    chunks = plan(platform, "Alpha", model, "v1.0", days(first, last)).chunks
    try:
        with interrupt_after(marker):
            results = list(SparkCompute(partial(takes_seconds, marker)).run(platform, chunks, lambda days: {}))
    except KeyboardInterrupt:
        return {"interrupted": True}
    return {"interrupted": False, "failed": [reason for result in results for reason in result.failed.values()]}


def main(root: str, master: str, writer: str, first: str, last: str, models: str, marker: str | None = None) -> None:
    names = tuple(models.split(","))
    chosen = {"master": master, "writer": writer if writer in ("workers", "driver") else "auto"}
    platform = Platform.from_settings(settings_for(Path(root), compute="spark", spark=chosen, models=names))
    if writer == "tasks":
        asked = [TaskRequest.plain("describe", name, {"libraries": ["numpy"]}) for name in names]
        for done in SparkCompute().perform(platform, asked):
            sys.stdout.write(
                json.dumps({"task": done.request.keys[0], "value": done.value, "failed": done.failed}) + "\n"
            )
        return
    if writer == "workflow":
        run = Run(platform, read_workflow((Path(root) / "workflow.yaml").read_text()), run_id="a step")
        for task in run.plan.order:
            done, address = perform_remotely(run, task, None)
            again, _ = perform_remotely(run, task, None)
            said = {"task": task, "fresh": [done.fresh, again.fresh], "scores": done.outcome.scores, "address": address}
            sys.stdout.write(json.dumps({**said, "remote": is_remote(run)}) + "\n")
        return
    if writer == "fits":
        for name in names:
            sys.stdout.write(json.dumps(fits(platform, name, [first, last], marker)) + "\n")
        return
    if writer == "interrupted":
        sys.stdout.write(json.dumps(interrupted(platform, names[0], first, last, Path(str(marker)))) + "\n")
        return
    # Asked first, when the session is new: later any answer is right.
    cores = cores_of(session_for(platform.settings), platform.settings)
    worker = None if marker is None else partial(dies_once_after_writing, Path(marker))
    for name in names:
        chunks = plan(platform, "Alpha", name, "v1.0", days(first, last)).chunks
        results = list(SparkCompute(worker).run(platform, chunks, lambda days: {}))
        written = sum(len(result.written) for result in results)
        failed = {str(day): reason for result in results for day, reason in result.failed.items()}
        sys.stdout.write(json.dumps({"model": name, "written": written, "failed": failed, "cores": cores}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
