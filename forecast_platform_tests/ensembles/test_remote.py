"""Where the tasks of workflows are done, by the settings' compute."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.ensembles.reading import read_workflow
from forecast_platform.ensembles.remote_task import is_remote, perform_remotely
from forecast_platform.ensembles.running import Run
from forecast_platform.settings import build
from forecast_platform.work.platform import Platform
from forecast_platform_tests.ensembles.workflows import text_of


@pytest.mark.parametrize(
    ("compute", "spark", "elsewhere"),
    [
        ("local", {}, False),
        ("spark", {"master": "local[2]"}, True),
        ("spark", {"master": "spark://host:7077", "writer": "workers"}, True),
        ("spark", {"master": "spark://host:7077"}, False),
        ("spark", {"master": "sail"}, False),
    ],
)
def test_tasks_are_done_by_spark_s_workers_where_these_share_the_warehouse(
    tmp_path: Path, compute: str, spark: dict, elsewhere: bool
) -> None:
    settings = build(warehouse=tmp_path, source="sample", compute=compute, spark=spark)
    run = Run(Platform.from_settings(settings), read_workflow(text_of({"task": "vote_mix"})))
    assert is_remote(run) == elsewhere
    if not elsewhere:
        with pytest.raises(ValueError, match=f"compute = '{compute}' does the tasks of workflows here"):
            perform_remotely(run, "vote_mix", None)
