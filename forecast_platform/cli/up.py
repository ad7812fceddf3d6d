"""`forecast-platform up`: code server, webserver and daemon on one instance, and the reports beside them."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from forecast_platform.cli.reports import address_of, server
from forecast_platform.host.home import prepare_home
from forecast_platform.host.services import (
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


@contextlib.contextmanager
def _reports(settings: Settings) -> Iterator[bool]:
    """Serve the reports folder at reports_url while it lasts; whether it is served from here."""
    host, port = address_of(settings)
    if not is_loopback(host):
        yield False
        return
    try:
        found = server(settings, host, port)
    except OSError as error:
        raise ServiceError(
            f"reports: {host}:{port} cannot be used ({error.strerror}): set {PREFIX}REPORTS_URL to a free address, "
            f"such as http://127.0.0.1:{free_port()}"
        ) from error
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.2}, name="reports", daemon=True).start()
    try:
        yield True
    finally:
        found.shutdown()
        found.server_close()


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
