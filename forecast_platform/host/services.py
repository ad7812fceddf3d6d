"""The processes behind the UI: code server, webserver and daemon, started, watched and stopped together."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

START_SECONDS = 180
"""How long each process may take until it answers: a cold disk or a machine under full load takes long."""

STOP_SECONDS = 10
"""How long a process may take to end after it was asked to; then it is terminated, and 3 s later killed."""

REPORTS_SERVER = "forecast-platform-reports"
"""How the reports' server names itself, so that it can be told from others."""

KEY_VARIABLE = "FORECAST_UP_KEY"
"""Variable by which `up` gives its webserver a token of its own: whom others must name, it cannot know."""

WORKFLOWS = "workflows"
"""The code location of submitted workflows."""
CODE_FOLDER = "fp-"
"""How the name of the folder with the code servers' sockets begins."""
_MODULES = {"forecast_platform": "forecast_platform.definitions", WORKFLOWS: "forecast_platform.workflow_definitions"}
"""The modules of the code locations, as workspace.yaml has them."""


class ServiceError(RuntimeError):
    """A process ended or an address is not to be had; the message says which, and the mend."""


class StoppedError(Exception):
    """Asked to stop while starting."""


@dataclass
class Services:
    """The child processes, in the order in which they were started."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def start_all(
        self,
        endpoints: Sequence[Endpoint],
        host: str,
        port: int,
        key: str,
        level: str = "info",
        *,
        read_only: bool = False,
    ) -> None:
        """Start the code servers, then webserver and daemon once those answer; no daemon where read-only.

        key: lets its holder ask the webserver. level: what they log from. Raises ServiceError, and StoppedError where
        it is asked to stop meanwhile.
        """
        self.start_code(endpoints, level)
        workspace = ["-w", str(workspace_of(endpoints))]
        options = ["--host", host, "--port", str(port), *(["--read-only"] if read_only else [])]
        self._start("webserver", "forecast_platform.cli", "webserver", *workspace, *options, **{KEY_VARIABLE: key})
        if not read_only:
            self._start("daemon", "dagster._daemon", "run", *workspace, "--log-level", level)
        self._until("webserver", lambda: answers(host, port) is not None)

    def start_code(self, endpoints: Sequence[Endpoint], level: str = "info") -> None:
        """Start the code servers, and wait until each has loaded its definitions.

        Raises ServiceError, and StoppedError where it is asked to stop meanwhile.
        """
        for endpoint in endpoints:
            self._start(
                endpoint.name,
                "dagster",
                *("code-server", "start", "-m", _MODULES[endpoint.location], "--location-name", endpoint.location),
                *endpoint.options,
                *("--use-python-environment-entry-point", "--log-level", level),
            )
        for endpoint in endpoints:
            self._until(endpoint.name, endpoint.serves)

    def start_server(self, name: str, arguments: Sequence[str], host: str, port: int) -> None:
        """Start a command of ours that serves, and wait until it takes connections.

        Raises ServiceError, and StoppedError where it is asked to stop meanwhile.
        """
        self._start(name, "forecast_platform.cli", *arguments)
        self._until(name, lambda: not is_free(host, port))

    def wait(self) -> None:
        """Wait until asked to stop. Raises ServiceError where a process ends before."""
        while not self.stopped.wait(0.5):
            if died := self._dead():
                raise ServiceError(f"{died}; everything else was stopped. Its output is above")

    def stop(self) -> None:
        """Ask all processes to end and see that they and what they started do."""
        import psutil

        family = self._family()
        # The code server last: webserver and daemon talk to it while they end.
        for process in reversed(self.processes.values()):
            _let_go(process)
        _, left = psutil.wait_procs(family, timeout=STOP_SECONDS)
        # Run workers are among them; they record their run as stopped when they are terminated.
        for process_left in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process_left.terminate()
        _, left = psutil.wait_procs(left, timeout=3)
        for process_left in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process_left.kill()
        psutil.wait_procs(left, timeout=3)
        for process in self.processes.values():
            process.wait()

    def _family(self) -> list[psutil.Process]:
        """The processes and all that they started, also where the one in between is gone."""
        import psutil

        if not self.processes:
            return []
        ours = {process.pid for process in self.processes.values()}
        family = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
                # Each was started as the leader of a session, which what it starts belongs to.
                if (hasattr(os, "getsid") and os.getsid(one.pid) in ours) or not ours.isdisjoint(_line(one)):
                    family.append(one)
        return family

    def _start(self, name: str, module: str, *arguments: str, **variables: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "forecast_platform.host.end_with_parent", module, *arguments],
            stdin=subprocess.PIPE,
            env={**os.environ, **variables},
            # Ctrl-C reaches this process alone, which then stops the others in order.
            start_new_session=True,
        )

    def _until(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if died := self._dead():
                raise ServiceError(
                    f"{died} while it started; its output is above. `forecast-platform doctor` looks deeper"
                )
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the {name} does not answer after {START_SECONDS} s: look at its output above and at the "
                    "machine's load, then start it again"
                )
            if self.stopped.wait(0.2):
                raise StoppedError

    def _dead(self) -> str | None:
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                return f"the {name} ended by itself (exit code {code})"
        return None


def _line(process: psutil.Process) -> set[int]:
    """Ids of a process and of its parents, for systems without sessions."""
    return set() if hasattr(os, "getsid") else {process.pid, *(parent.pid for parent in process.parents())}


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


@dataclass(frozen=True)
class Endpoint:
    """Where a code server listens: a socket file that only this user can reach, or a port where there are none."""

    folder: Path
    location: str
    port: int | None
    host: str = "127.0.0.1"
    """What it binds, where it has a port."""

    @property
    def name(self) -> str:
        """How the server is called in messages."""
        return f"code server of {self.location}"

    @property
    def path(self) -> Path:
        """The socket's file."""
        return self.folder / self.location

    @property
    def options(self) -> list[str]:
        """The code server's options."""
        return ["--socket", str(self.path)] if self.port is None else ["--port", str(self.port), "--host", self.host]

    def serves(self) -> bool:
        """Whether the code server has loaded the definitions and answers."""
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        target = f"unix:{self.path}" if self.port is None else f"127.0.0.1:{self.port}"
        with grpc.insecure_channel(target) as channel:
            try:
                found = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=2
                )
            except grpc.RpcError:
                return False
        return bool(found.status == health_pb2.HealthCheckResponse.SERVING)

    @property
    def address(self) -> dict[str, str | int]:
        """Where it is, as a workspace file and Dagster's client name it."""
        return {"socket": str(self.path)} if self.port is None else {"host": "127.0.0.1", "port": self.port}


def workspace_of(endpoints: Sequence[Endpoint]) -> Path:
    """A workspace file that names the code servers."""
    file = endpoints[0].folder / "workspace.yaml"
    servers = [{"grpc_server": {"location_name": one.location, **one.address}} for one in endpoints]
    # JSON is YAML.
    file.write_text(json.dumps({"load_from": servers}))
    return file


@contextlib.contextmanager
def code_endpoints() -> Iterator[list[Endpoint]]:
    """One for each code location, in a folder of this user's that is short: a socket's path has 104 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix=CODE_FOLDER))
    sockets = hasattr(socket, "AF_UNIX") and os.name != "nt"
    try:
        yield [Endpoint(folder, location, None if sockets else free_port()) for location in _MODULES]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reached(host: str) -> str:
    """How a URL names the machine of a server that binds `host`: an address of IPv6 in brackets."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared
    return f"[{host}]" if ":" in host else host


def answers(host: str, port: int) -> str | None:
    """The version of the Dagster webserver at this address; None where none answers."""
    try:
        with urllib.request.urlopen(f"http://{reached(host)}:{port}/server_info", timeout=2) as reply:
            return str(json.loads(reply.read())["dagster_webserver_version"])
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return None


def load_error(host: str, port: int, key: str) -> str | None:
    """Why the code location did not load, as the webserver at this address has it; None where it did.

    key: as given to `start_all`.
    """
    asked = "{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{... on PythonError{message}}}}}}"
    request = urllib.request.Request(
        f"http://{reached(host)}:{port}/graphql",
        data=json.dumps({"query": asked}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - http, built above
        entries = json.loads(reply.read())["data"]["workspaceOrError"]["locationEntries"]
    found = [(entry["locationOrLoadError"] or {}).get("message") for entry in entries]
    return next((message.strip() for message in found if message), None)


def serves_reports(url: str) -> bool:
    """Whether a reports' server of ours answers at this address, be it with a refusal."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - the operator's own setting
            headers = reply.headers
    except urllib.error.HTTPError as refused:
        headers = refused.headers
    except OSError:
        return False
    return str(headers.get("Server", "")).startswith(REPORTS_SERVER)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen at this address."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
