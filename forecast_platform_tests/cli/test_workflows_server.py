"""`forecast-platform workflows`, started as a unit or a container starts it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from forecast_platform.cli.main import main
from forecast_platform.host.services import WORKFLOWS, Endpoint, free_port
from forecast_platform_tests.cli.test_up import environment
from forecast_platform_tests.waiting import until

pytestmark = pytest.mark.slow


def test_the_server_of_workflows_starts_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "forecast_platform.cli", "workflows", "--port", str(port)],
        env=environment(tmp_path / "warehouse", free_port()),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = f"code location {WORKFLOWS}: 127.0.0.1:{port}"
        assert any(line.startswith(said) for line in process.stdout), "it says where once it answers"
        assert Endpoint(Path(), WORKFLOWS, port).serves()
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        until(lambda: not any(one.is_running() for one in family), "the end of the code server", 30)
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert main(["workflows", "--port", str(port)]) == 2
    assert f"127.0.0.1:{port} is taken: stop what listens there, or take another --port" in capfd.readouterr().err
