"""The kind of task that does one task of a workflow, wherever it is performed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.running import Run
from forecast_platform.settings import build, load
from forecast_platform.work.platform import Platform
from forecast_platform.work.tasks import register

KIND = "ensemble_task"
"""The plain kind of these tasks."""


def do_task(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Do the task that a payload of `ensembles.remote_task` names, with the settings of this process and its own.

    Returns what its asker compares: the input hash, whether it was computed, what it said. Raises what `Run.perform`
    does, and WorkflowError where its workflow cannot be read.
    """
    settings = build(**payload["settings"]) if "settings" in payload else load()
    run = Run(Platform.from_settings(settings), read_workflow(payload["yaml"]))
    done = run.perform(payload["task"])
    return {"input_hash": run.hashes[payload["task"]], "computed": done.fresh, "tables": list(done.tables)}


register(KIND, do_task)
