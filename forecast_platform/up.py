"""`forecast-platform up`: code server, webserver and daemon on one instance, and the reports beside them."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import IO
from urllib.parse import urlsplit

from forecast_platform.launch import prepare_home
from forecast_platform.settings import PREFIX, Settings

START_SECONDS = 180
"""How long each process may take until it answers: a cold disk or a machine under full load takes long."""

STOP_SECONDS = 10
"""How long a process may take to end after it was asked to; then it is terminated, and 3 s later killed."""

_LOCATION = "forecast_platform"
_MODULE = "forecast_platform.definitions"


class ServiceError(RuntimeError):
    """A process ended or an address is not to be had; the message says which, and the mend."""


def up(settings: Settings, host: str, port: int) -> int:
    """Start everything, wait, and stop everything on Ctrl-C, SIGTERM or when one process ends.

    Returns 0 where it was asked to stop, 1 where something could not start or ended by itself.

    Three processes of our own rather than `dagster dev`: that one reports a dead child only in its log, then exits
    with 0. The code server is shared by webserver and daemon, and the UI's "Reload" loads the definitions anew.
    """
    home = prepare_home(settings)
    services = Services()
    try:
        with _interrupts(services.stopped), _only_one(home), _reports(settings) as reports, _socket() as endpoint:
            try:
                _refuse_taken(host, port)
                services.start_all(endpoint, host, port)
                _announce(settings, host, port, home, reports)
                services.wait()
            finally:
                services.stop()
    except _StoppedError:
        return 0
    except ServiceError as error:
        print(f"forecast-platform: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


class _StoppedError(Exception):
    """Asked to stop while starting."""


@dataclass
class Services:
    """The child processes, in the order in which they were started."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def start_all(self, endpoint: Endpoint, host: str, port: int) -> None:
        """Start code server, webserver and daemon, each once the one before it answers. Raises ServiceError."""
        self._start(
            "code server",
            "dagster",
            *("code-server", "start", "-m", _MODULE, "--location-name", _LOCATION, *endpoint.options),
            *("--use-python-environment-entry-point", "--log-level", "warning"),
        )
        self._until("code server", endpoint.serves)
        workspace = ["-w", str(endpoint.workspace())]
        levels = ("--dagster-log-level", "warning", "--log-level", "warning")
        self._start("webserver", "dagster_webserver", *workspace, "-h", host, "-p", str(port), *levels)
        self._start("daemon", "dagster._daemon", "run", *workspace, "--log-level", "warning")
        self._until("webserver", lambda: answers(host, port) is not None)

    def wait(self) -> None:
        """Wait until asked to stop. Raises ServiceError where a process ends before."""
        while not self.stopped.wait(0.5):
            if died := self._dead():
                raise ServiceError(f"{died}; everything else was stopped. Its output is above")

    def stop(self) -> None:
        """Ask all processes to end and see that they and what they started do."""
        import psutil

        family = []
        for process in self.processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                family += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        if family and sys.stdout.isatty():
            print("stopping", flush=True)
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

    def _start(self, name: str, module: str, *arguments: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "forecast_platform.leash", module, *arguments],
            stdin=subprocess.PIPE,
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
                raise _StoppedError

    def _dead(self) -> str | None:
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                return f"the {name} ended by itself (exit code {code})"
        return None


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


@dataclass(frozen=True)
class Endpoint:
    """Where the code server listens: a socket file that only this user can reach, or a port where there are none."""

    folder: Path
    port: int | None

    @property
    def path(self) -> Path:
        """The socket's file."""
        return self.folder / "code"

    @property
    def options(self) -> list[str]:
        """The code server's options."""
        return ["--socket", str(self.path)] if self.port is None else ["--port", str(self.port), "--host", "127.0.0.1"]

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

    def workspace(self) -> Path:
        """A workspace file that names the code server."""
        address = {"socket": str(self.path)} if self.port is None else {"host": "127.0.0.1", "port": self.port}
        file = self.folder / "workspace.yaml"
        # JSON is YAML.
        file.write_text(json.dumps({"load_from": [{"grpc_server": {"location_name": _LOCATION, **address}}]}))
        return file


@contextlib.contextmanager
def _socket() -> Iterator[Endpoint]:
    """A folder of this user's for the socket, short enough for one: a socket's path has 104 bytes at most."""
    folder = Path(tempfile.mkdtemp(prefix="fp-"))
    try:
        if hasattr(socket, "AF_UNIX") and os.name != "nt":
            yield Endpoint(folder, None)
        else:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            yield Endpoint(folder, port)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _ReportsHandler(SimpleHTTPRequestHandler):
    """GET and HEAD of files below one folder."""

    def send_head(self) -> IO[bytes] | None:  # type: ignore[override]
        """As the parent does, but a link that leads out of the folder is not followed."""
        if not Path(self.translate_path(self.path)).resolve().is_relative_to(Path(self.directory).resolve()):
            self.send_error(404, "File not found")
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Reports are written anew under the same name: ask each time."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _reports(settings: Settings) -> Iterator[bool]:
    """Serve the reports folder at reports_url while it lasts; whether it is served from here."""
    address = urlsplit(settings.reports_url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    if not is_loopback(host):
        yield False
        return
    settings.reports.mkdir(parents=True, exist_ok=True)
    try:
        server = ThreadingHTTPServer((host, port), partial(_ReportsHandler, directory=str(settings.reports)))
    except OSError as error:
        raise ServiceError(
            f"reports: {host}:{port} cannot be used ({error.strerror}): set {PREFIX}REPORTS_URL to a free address, "
            f"such as http://127.0.0.1:{_free_port()}"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="reports", daemon=True).start()
    try:
        yield True
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Two daemons on one instance would each start every scheduled run."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(str(home / ".up.lock"), timeout=0):
            yield
    except Timeout as error:
        raise ServiceError(
            f"`forecast-platform up` runs already on {home}: use that one, or stop it first; another instance needs "
            "another DAGSTER_HOME"
        ) from error


@contextlib.contextmanager
def _interrupts(stopped: threading.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal ask to stop, whatever the shell had set them to."""

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def answers(host: str, port: int) -> str | None:
    """The version of the Dagster webserver at this address; None where none answers."""
    reached = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else host  # noqa: S104 - compared
    try:
        with urllib.request.urlopen(f"http://{reached}:{port}/server_info", timeout=2) as reply:
            return str(json.loads(reply.read())["dagster_webserver_version"])
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return None


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen at this address."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def _refuse_taken(host: str, port: int) -> None:
    if is_free(host, port):
        return
    who = "a Dagster webserver" if answers(host, port) else "another program (or the address is not this machine's)"
    raise ServiceError(f"{host}:{port} is taken by {who}: stop it, or take another port, such as --port {_free_port()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _announce(settings: Settings, host: str, port: int, home: Path, reports: bool) -> None:
    print(f"UI:       http://{host}:{port}")
    print(f"reports:  {settings.reports_url}{'' if reports else '  (not served from here)'}")
    print(f"fits:     mlflow ui --backend-store-uri {settings.tracking_uri}  then {settings.mlflow_ui_url}")
    print(f"instance: {home}")
    if not is_loopback(host):
        print(
            f"WARNING:  {host} can be reached from other machines, and the UI has no login: whoever reaches it can run "
            "anything here. Leave --host out and use an SSH tunnel, or a proxy that authenticates"
        )
    print("Ctrl-C stops everything", flush=True)
