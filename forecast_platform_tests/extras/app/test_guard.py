"""The workbench's server as the command line starts it: page, websocket and uploads stand behind the guard."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_platform.host.services import free_port, is_free
from forecast_platform_tests.graph.test_webserver import SENDERS, TOKEN, UPGRADE, Served, table
from forecast_platform_tests.waiting import until

pytestmark = pytest.mark.extra
pytest.importorskip("streamlit")

STREAM = {**UPGRADE, "Sec-WebSocket-Protocol": "streamlit"}
ROUTES = {
    "the page, `/`": ("GET", "/", {}),
    "`/_stcore/stream`, websocket": ("GET", "/_stcore/stream", STREAM),
    "`/_stcore/upload_file/...`, PUT without the page's own key": ("PUT", "/_stcore/upload_file/none/none", {}),
    "`/_stcore/health`": ("GET", "/_stcore/health", {}),
}
"""Rows of the table in docs/operations.md: what is sent."""


@contextlib.contextmanager
def workbench(folder: Path, host: str = "127.0.0.1", **settings: str) -> Iterator[Served]:
    """The command, on a port of its own, over an API that nobody needs here."""
    port = free_port()
    given = {"FORECAST_PLATFORM_WAREHOUSE": str(folder / "warehouse"), **settings}
    command = [sys.executable, "-m", "forecast_platform.cli", "workbench", "--host", host, "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, **given})
    try:
        until(lambda: server.poll() is not None or not is_free(host, port), "the workbench")
        yield Served({"ui": port}, "")
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def test_page_and_websocket_answer_each_kind_of_page_as_the_documentation_says(tmp_path: Path) -> None:
    senders, rows = table("route of the workbench")
    assert senders == list(SENDERS)
    with workbench(tmp_path, FORECAST_PLATFORM_ALLOWED_ORIGINS="https://prices.example") as found:
        answers = {
            name: [str(found.ask(method, path, {**headers, **SENDERS[sender]})) for sender in senders]
            for name, (method, path, headers) in ROUTES.items()
        }
    assert answers == rows


def test_beyond_this_machine_whoever_asks_needs_the_token(tmp_path: Path) -> None:
    basic = base64.b64encode(f"any:{TOKEN}".encode()).decode()
    with workbench(tmp_path, "0.0.0.0", FORECAST_PLATFORM_WEB_TOKEN=TOKEN) as found:
        for method, path, headers in ROUTES.values():
            assert found.ask(method, path, headers) in (401, 403), path
        known = {"Authorization": f"Basic {basic}"}
        assert found.ask("GET", "/", known) == 200
        assert found.ask("GET", "/_stcore/stream", {**STREAM, **known}) == 101
        assert found.ask("GET", "/_stcore/stream", {**STREAM, **known, "Host": "elsewhere.example"}) == 403
