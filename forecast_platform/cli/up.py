"""`forecast-platform up`: code server, webserver and daemon on one instance, and the reports beside them."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib.parse import urlsplit

from forecast_platform.cli.on_demand import OnDemand
from forecast_platform.host.home import prepare_home
from forecast_platform.host.services import (
    REPORTS_SERVER,
    ServiceError,
    Services,
    StoppedError,
    answers,
    code_endpoint,
    free_port,
    is_free,
    is_loopback,
    load_error,
)
from forecast_platform.housekeeping.health_http import Cached, respond
from forecast_platform.settings import PREFIX, Settings


def up(settings: Settings, host: str, port: int) -> int:
    """Start everything, wait, and stop everything on Ctrl-C, SIGTERM or when one process ends.

    Returns 0 where it was asked to stop, 1 where something could not start or ended by itself.

    Three processes of our own rather than `dagster dev`: that one reports a dead child only in its log, then exits
    with 0. The code server is shared by webserver and daemon, and the UI's "Reload" loads the definitions anew.
    """
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = prepare_home(settings)
    services = Services()
    try:
        with _interrupts(services.stopped), _only_one(home), _reports(settings) as reports, code_endpoint() as endpoint:
            try:
                _refuse_taken(host, port)
                services.start_all(endpoint, host, port, settings.log_level)
                _announce(settings, host, port, home, reports)
                if broken := load_error(host, port):
                    print(f"WARNING:  the definitions did not load, the UI shows no assets: {broken}")
                    print("          mend it and press Reload on the Deployment page; `forecast-platform doctor` helps")
                services.wait()
            finally:
                services.stop()
    except StoppedError:
        return 0
    except ServiceError as error:
        print(f"forecast-platform: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


class _ReportsHandler(SimpleHTTPRequestHandler):
    """GET and HEAD of files below one folder, and GET of /health."""

    server_version = REPORTS_SERVER

    def __init__(self, *args: Any, health: Cached, made: OnDemand, **kwargs: Any) -> None:
        self._health, self._made = health, made
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """A file, or the platform's health as JSON."""
        if self.path.partition("?")[0] == "/health":
            respond(self, self._health())
        else:
            super().do_GET()

    def send_head(self) -> IO[bytes] | None:  # type: ignore[override]
        """As the parent does, but a link that leads out of the folder is not followed, and a chart of a past date is
        made when it is asked for."""
        asked, folder = Path(self.translate_path(self.path)), Path(self.directory).resolve()
        if not asked.resolve().is_relative_to(folder):
            self.send_error(404, "File not found")
            return None
        if asked.resolve().parent == folder:
            self._made(asked)
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
        server = ThreadingHTTPServer(
            (host, port),
            partial(_ReportsHandler, directory=str(settings.reports), health=Cached(settings), made=OnDemand(settings)),
        )
    except OSError as error:
        raise ServiceError(
            f"reports: {host}:{port} cannot be used ({error.strerror}): set {PREFIX}REPORTS_URL to a free address, "
            f"such as http://127.0.0.1:{free_port()}"
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


def _refuse_taken(host: str, port: int) -> None:
    if is_free(host, port):
        return
    who = "a Dagster webserver" if answers(host, port) else "another program (or the address is not this machine's)"
    raise ServiceError(f"{host}:{port} is taken by {who}: stop it, or take another port, such as --port {free_port()}")


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
