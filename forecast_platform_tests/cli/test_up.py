"""`forecast-platform up`, started as an operator starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from forecast_platform.cli.main import main
from forecast_platform.cli.up import running
from forecast_platform.host.services import ServiceError, StoppedError, free_port, is_free
from forecast_platform.settings import load
from forecast_platform_tests.ui import webdriver
from forecast_platform_tests.waiting import PATIENCE


def environment(warehouse: Path, reports_port: int) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
    clean.pop("DAGSTER_HOME", None)
    return {
        **clean,
        "FORECAST_PLATFORM_WAREHOUSE": str(warehouse),
        "FORECAST_PLATFORM_REPORTS_URL": f"http://127.0.0.1:{reports_port}",
    }


def start(
    arguments: list[str], warehouse: Path, reports_port: int, cwd: Path, **variables: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "forecast_platform.cli", "up", *arguments],
        env={**environment(warehouse, reports_port), **variables},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return bytes(reply.read())


class Started:
    """A running `up`, with all its processes."""

    def __init__(self, folder: Path) -> None:
        self.warehouse = folder / "warehouse"
        reports = self.warehouse / "_reports"
        reports.mkdir(parents=True)
        (reports / "index.html").write_text("<h1>reports</h1>")
        (self.warehouse / "secret").write_text("not a report")
        (reports / "link").symlink_to(self.warehouse / "secret")
        self.port, self.reports_port = free_port(), free_port()
        self.process = start(["--port", str(self.port)], self.warehouse, self.reports_port, folder)
        assert self.process.stdout is not None
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Ctrl-C"):
                break
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def left(self, seconds: float) -> list[psutil.Process]:
        return psutil.wait_procs(self.family, timeout=seconds)[1]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    running = Started(tmp_path)
    yield running
    for process in [*running.family, running.process]:
        if process.is_running() if isinstance(process, psutil.Process) else process.poll() is None:
            process.kill()
    running.process.communicate()


@pytest.mark.slow
def test_up_serves_the_ui_and_the_reports_beside_others_and_leaves_no_process_after_an_interrupt(
    started: Started, tmp_path: Path
) -> None:
    assert started.process.poll() is None, started.process.communicate()
    said = "".join(started.said)
    assert f"http://127.0.0.1:{started.port}" in said
    assert f"http://127.0.0.1:{started.reports_port}" in said
    assert "mlflow ui --backend-store-uri sqlite:///" in said
    assert "no login" not in said

    info = json.loads(get(f"http://127.0.0.1:{started.port}/server_info"))
    assert info["dagster_version"].startswith("1.13.")
    query = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{started.port}/graphql", data=query, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        nodes = json.loads(reply.read())["data"]["assetNodes"]
    assets = {"/".join(node["assetKey"]["path"]) for node in nodes}
    assert {"unified_data", "trained_models/naive", "distributions/naive", "distributions/actuals"} <= assets

    reports = f"http://127.0.0.1:{started.reports_port}"
    assert get(reports) == b"<h1>reports</h1>"
    for outside in ("/../secret", "/%2e%2e/secret", "/link"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(reports + outside)
    assert not is_free("127.0.0.1", started.port)

    screens_beside(started, tmp_path)
    refused_beside(started)

    assert len(started.family) >= 3
    [daemon] = [process.cmdline() for process in started.family if "dagster._daemon" in process.cmdline()]
    assert daemon[daemon.index("--log-level") + 1] == "info"
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(PATIENCE) == 0
    assert started.left(1) == []


@pytest.mark.slow
def test_one_process_that_dies_stops_all_and_is_named(started: Started) -> None:
    [daemon] = [process for process in started.family if "dagster._daemon" in process.cmdline()]
    daemon.kill()
    _, errors = started.process.communicate(timeout=PATIENCE)
    assert started.process.returncode == 1
    assert "the daemon ended by itself (exit code -9)" in errors
    assert started.left(1) == []


def screens_beside(started: Started, folder: Path) -> None:
    """A read-only `up` runs beside the other, without a daemon, and asks for the token."""
    port, token = free_port(), "a token of this test"
    screens = start(
        ["--read-only", "--host", "0.0.0.0", "--port", str(port)],
        *(started.warehouse, started.reports_port, folder),
        FORECAST_PLATFORM_WEB_TOKEN=token,
    )
    try:
        assert screens.stdout is not None
        said = []
        for line in screens.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        assert any("read-only" in line for line in said), said
        assert any("(not served from here)" in line for line in said), said
        family = psutil.Process(screens.pid).children(recursive=True)
        assert not [process for process in family if "dagster._daemon" in process.cmdline()]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"http://127.0.0.1:{port}/assets")
        query = json.dumps({"query": "{ version }"}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/graphql", query, headers)
        ) as found:
            assert found.status == 200
        if webdriver.missing() is None:
            look_at_the_screens(port, token, folder)
        screens.send_signal(signal.SIGINT)
        assert screens.wait(PATIENCE) == 0
    finally:
        screens.kill()
        screens.communicate()


def refused_beside(started: Started) -> None:
    """A second one on the same instance."""
    second = start(["--port", str(free_port())], started.warehouse, free_port(), started.warehouse)
    _, errors = second.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert "runs already" in errors


def look_at_the_screens(port: int, token: str, folder: Path) -> None:
    """The UI draws, and its websocket opens, with the token given as a browser's password."""
    browser = webdriver.Browser()
    try:
        browser.open(f"http://any:{token.replace(' ', '%20')}@127.0.0.1:{port}/favicon.png")
        browser.open(f"http://127.0.0.1:{port}/asset-groups")
        browser.find("//*[normalize-space()='forecasts']")
        assert browser.run(webdriver.WEBSOCKET, f"ws://127.0.0.1:{port}/graphql") == "open"
        browser.picture(folder / "screens.png")
    finally:
        browser.close()


@pytest.mark.slow
def test_a_kill_leaves_no_process(started: Started) -> None:
    started.process.kill()
    assert started.left(30) == []


def test_an_address_that_others_reach_is_refused_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    file = tmp_path / "workspace.yaml"
    file.write_text("load_from: []")
    for command in (["up"], ["webserver", "-w", str(file)], ["reports"], ["health", "--http", "0"], ["workbench"]):
        load.cache_clear()
        assert main([*command, "--host", "0.0.0.0"]) == 2
        said = capsys.readouterr().err
        assert "--host 0.0.0.0 can be reached from other machines" in said
        assert "FORECAST_PLATFORM_WEB_TOKEN" in said
    load.cache_clear()


@pytest.mark.parametrize("beside", ["--api", "--workbench"])
def test_screens_that_change_nothing_have_no_api_that_would(
    beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    load.cache_clear()
    assert main(["up", "--read-only", beside]) == 2
    assert f"--read-only with {beside}" in capsys.readouterr().err
    assert not (tmp_path / "warehouse").exists(), "refused before any work"
    load.cache_clear()


@pytest.mark.slow
def test_a_taken_port_names_the_mend(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start(["--port", str(port)], tmp_path, free_port(), tmp_path)
        _, errors = up.communicate(timeout=PATIENCE)
        assert up.returncode == 1
        assert f"127.0.0.1:{port} is taken by another program" in errors
        assert "--port" in errors
        up = start(["--port", str(free_port())], tmp_path, port, tmp_path)
        _, errors = up.communicate(timeout=PATIENCE)
    assert up.returncode == 1
    assert f"reports: 127.0.0.1:{port} cannot be used" in errors
    assert "FORECAST_PLATFORM_REPORTS_URL" in errors


def test_services_stop_before_what_is_beside_them_and_it_is_told_how_they_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error, code, said in (
        (None, 0, ""),
        (StoppedError(), 0, ""),
        (ServiceError("the daemon has ended"), 1, "forecast-platform: the daemon has ended\n"),
    ):
        order: list[str] = []
        with running() as (services, around, ended):
            services.stop = lambda order=order: order.append("services")  # type: ignore[method-assign, misc]
            around.callback(order.append, "beside")
            if error is not None:
                raise error
        assert (ended.code, order) == (code, ["services", "beside"])
        assert capsys.readouterr().err == said
    with pytest.raises(KeyError), running():
        raise KeyError("of ours, and no way to end")
