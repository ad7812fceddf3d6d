"""schemathesis over the API's OpenAPI document: all checks, a fixed seed, requests that follow it and that do not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.extra
pytest.importorskip("schemathesis")
pytest.importorskip("streamlit")

from forecast_platform.api.app import warm  # noqa: E402
from forecast_platform.app.command import API_VARIABLE  # noqa: E402
from forecast_platform_tests.api.desk import Desk  # noqa: E402
from forecast_platform_tests.extras.app.test_workbench import serving  # noqa: E402

EXAMPLES = "FORECAST_TEST_EXAMPLES"
"""Examples an operation: a few in CI, 200 before a release (FORECAST_TEST_EXAMPLES=200 python3 tasks.py extra app)."""
CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_nothing_that_the_document_allows_or_forbids_is_answered_otherwise_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {
        "drafts_a_user": 10_000,
        "uploads_a_user": 10_000,
        "jobs_a_user": 1000,
        "jobs_in_all": 1000,
        "max_upload_mb": 1,
    }
    desk = Desk.over(tmp_path, training_jobs=limits)
    warm(desk.jobs)
    with serving(desk, monkeypatch):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
                *("run", f"{os.environ[API_VARIABLE]}/openapi.json", "--checks", "all", "--seed", "12"),
                *("--max-examples", os.environ.get(EXAMPLES, "5"), "--no-shrink", "--continue-on-failure"),
                *("--phases", "examples,coverage,fuzzing", "--no-color", "--request-timeout", "60"),
                # Events of what waits do not end while it does, and nothing runs here; test_workflows.py reads some.
                *("--exclude-path-regex", "/events$"),
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts is not None, done.stdout[-2000:]
    assert counts[1] == counts[2]
    assert int(counts[1]) > 200
