"""One platform's forecasts on JVM Spark, in a process of its own: a process holds either a JVM session or a remote one.

    python -m forecast_platform_tests.compute.jvm_case ROOT MASTER WRITER FIRST LAST MODEL,MODEL [MARKER]

Prints one JSON line a model: dates written, dates failed. With MARKER, the first worker is killed after it wrote.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from forecast_platform.compute.spark import SparkCompute
from forecast_platform.pipeline.inference import plan
from forecast_platform.pipeline.platform import Platform
from forecast_platform_tests.compute.engines import dies_once_after_writing
from forecast_platform_tests.worlds import days, settings_for


def main(root: str, master: str, writer: str, first: str, last: str, models: str, marker: str | None = None) -> None:
    names = tuple(models.split(","))
    platform = Platform.from_settings(
        settings_for(Path(root), compute="spark", spark={"master": master, "writer": writer}, models=names)
    )
    worker = None if marker is None else partial(dies_once_after_writing, Path(marker))
    for name in names:
        chunks = plan(platform, "Alpha", name, "v1.0", days(first, last)).chunks
        results = list(SparkCompute(worker).run(platform, chunks))
        written = sum(len(result.written) for result in results)
        failed = {str(day): reason for result in results for day, reason in result.failed.items()}
        sys.stdout.write(json.dumps({"model": name, "written": written, "failed": failed}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
