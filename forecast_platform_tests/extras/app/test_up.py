"""One command starts it all: UI, API and the page, and ends it all."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest

from forecast_platform.host.services import free_port, is_free
from forecast_platform_tests.cli.test_up import get, start
from forecast_platform_tests.waiting import PATIENCE

pytestmark = pytest.mark.extra
pytest.importorskip("streamlit")

API, PAGE = 8000, 8501
"""The ports are fixed: the page and the front end's proxy look for the API at its own."""


def test_up_with_the_workbench_serves_ui_api_and_page_and_ends_them_together(tmp_path: Path) -> None:
    taken = [port for port in (API, PAGE) if not is_free("127.0.0.1", port)]
    if taken:
        pytest.skip(f"port {taken[0]} is another program's on this machine")
    ui = free_port()
    up = start(["--workbench", "--port", str(ui)], tmp_path / "warehouse", free_port(), tmp_path)
    said = []
    try:
        assert up.stdout is not None
        for line in up.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        assert up.poll() is None, up.communicate()
        family = psutil.Process(up.pid).children(recursive=True)
        assert f"workbench: http://127.0.0.1:{PAGE}\n" in said
        assert json.loads(get(f"http://127.0.0.1:{API}/api/v2/jobs/delegation-status"))["enabled"] is True
        assert get(f"http://127.0.0.1:{PAGE}/_stcore/health") == b"ok"
        assert json.loads(get(f"http://127.0.0.1:{ui}/server_info"))["dagster_version"].startswith("1.13.")
        up.send_signal(signal.SIGINT)
        assert up.wait(PATIENCE) == 0
        assert psutil.wait_procs(family, timeout=5)[1] == []
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
            up.wait(PATIENCE)
        up.communicate()
