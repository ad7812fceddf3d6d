"""The workbench in a browser: a finished job's page is drawn, without an error in the console."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_platform.host.services import free_port
from forecast_platform_tests.extras.app.test_workbench import desk  # noqa: F401 - a fixture
from forecast_platform_tests.ui import webdriver
from forecast_platform_tests.waiting import until

pytestmark = pytest.mark.extra

PICTURES = "FORECAST_TEST_PICTURES"
"""Folder for the picture of docs/jobs.md, where it is set."""


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as reply:
            return reply.status == 200
    except OSError:
        return False


@contextlib.contextmanager
def page() -> Iterator[tuple[int, webdriver.Browser]]:
    """The workbench's server, its port, and a browser."""
    from forecast_platform.app.command import API_VARIABLE

    port = free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "forecast_platform.cli", "workbench", "--port", str(port)),
            *("--api", os.environ[API_VARIABLE]),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    browser = webdriver.Browser(1400, 1500)
    try:
        until(lambda: answers(port), "the workbench")
        yield port, browser
    finally:
        browser.close()
        server.send_signal(signal.SIGINT)
        server.wait(20)


def test_a_finished_job_is_drawn_in_a_browser(desk, tmp_path: Path) -> None:  # noqa: F811
    if why := webdriver.missing():
        pytest.skip(why)
    from forecast_platform_tests.training_jobs.tables import asked, weekly

    job_id = desk.create(
        asked(weekly(4, 120), models=["AutoETS", "DynamicOptimizedTheta"], season_length=13, horizon=8)
    )
    desk.jobs.submit("local", job_id)
    [request] = desk.tick()
    assert desk.run(request)
    with page() as (port, browser):
        browser.open(f"http://127.0.0.1:{port}/?job={job_id}")
        until(lambda: "best: " in browser.text(), "the results")
        browser.find("//*[contains(@class, 'js-plotly-plot')]")
        assert "Traceback" not in browser.text()
        file = Path(os.environ.get(PICTURES, tmp_path)) / "workbench.png"
        browser.picture(file)
        assert file.stat().st_size > 10_000


def test_a_workflow_goes_from_pasted_yaml_to_its_results_in_a_browser(desk, tmp_path: Path) -> None:  # noqa: F811
    if why := webdriver.missing():
        pytest.skip(why)
    from forecast_platform.app import workflows
    from forecast_platform_tests.api.test_workflows import run, text, tick, uploaded

    file = uploaded(desk)
    with page() as (port, browser):
        browser.open(f"http://127.0.0.1:{port}/?page={workflows.NAME}")
        browser.find("//textarea")
        browser.write("//textarea", text(file))
        # Streamlit takes a text once its field is left.
        browser.click("//h1")
        until(lambda: "2 tasks, nothing wrong" in browser.text(), "the check")
        browser.find("//*[contains(@class, 'graph')]")
        browser.click("//button[contains(., 'Run')]")
        until(lambda: "submitting" in browser.text(), "the queue")
        [request] = tick(desk)
        assert run(desk, request)
        until(lambda: "model.zip" in browser.text(), "the results")
        assert "deployed: " in browser.text()
        assert "Traceback" not in browser.text()
        picture = Path(os.environ.get(PICTURES, tmp_path)) / "workflow.png"
        browser.picture(picture)
        assert picture.stat().st_size > 10_000
