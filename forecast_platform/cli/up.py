"""`forecast-platform up`: code server, webserver and daemon on one instance, and the reports beside them."""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from forecast_platform.host.home import prepare_home
from forecast_platform.host.services import (
    WORKFLOWS,
    ServiceError,
    Services,
    StoppedError,
    answers,
    code_endpoints,
    free_port,
    is_free,
    load_error,
    reached,
    serves_reports,
)
from forecast_platform.host.web_guard import access_for, is_loopback
from forecast_platform.housekeeping.reports_http import serving
from forecast_platform.runs.lost_runs import close_lost
from forecast_platform.runs.workflow_reload import reloading
from forecast_platform.settings import PREFIX, Settings, SettingsError


def up(settings: Settings, host: str, port: int, *, read_only: bool = False, beside: str = "") -> int:
    """Start everything, wait, and stop everything on Ctrl-C, SIGTERM or when one process ends.

    Returns 0 where it was asked to stop, 1 where something could not start or ended by itself. read_only: for screens:
    nothing can be changed from the UI, and there is no daemon, so that it may run beside the one that has it. beside:
    what is started too: `api`, or `workbench` with the API that it needs. Raises SettingsError for an address that
    others reach where nothing says who may ask, for read_only with one of those, whose API writes, and where the
    workbench's library is not installed.

    Processes of our own rather than `dagster dev`: that one reports a dead child only in its log, then exits with 0.
    The code servers (one of the platform, one of submitted workflows) are shared by webserver and daemon, and the UI's
    "Reload" loads the definitions anew. Raises ServiceError where an address is taken, or a process ends.
    """
    access_for(settings, host)
    if read_only and beside:
        raise SettingsError(
            f"--read-only with --{beside}: jobs and workflows could be changed through it: leave one of the two out"
        )
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = prepare_home(settings)
    key = secrets.token_urlsafe(32)
    with running() as (services, around, ended):
        servers = _beside(beside, host)
        if not read_only:
            around.enter_context(_only_one(home))
        reports = around.enter_context(_reports(settings, shared=read_only))
        endpoints = around.enter_context(code_endpoints())
        _refuse_taken(host, port)
        for run_id in [] if read_only else close_lost(settings):
            print(f"closed the run {run_id}, whose process ended with the service; Dagster tries it again")
        around.enter_context(reloading(settings, next(one for one in endpoints if one.location == WORKFLOWS)))
        services.start_all(endpoints, host, port, key, settings.log_level, read_only=read_only)
        for name, (command, its_port) in servers.items():
            services.start_server(name, [*command, "--host", host, "--port", str(its_port)], host, its_port)
        for name, (_, its_port) in servers.items():
            print(f"{name + ': ':<10}http://{host}:{its_port}")
        _announce(settings, host, port, home, reports, read_only)
        if broken := load_error(host, port, key):
            print(f"WARNING:  the definitions did not load, the UI shows no assets: {broken}")
            print("          mend it and press Reload on the Deployment page; `forecast-platform doctor` helps")
        services.wait()
    return ended.code


@dataclass
class Ended:
    """How services ended: 0 where they were asked to stop, 1 where one could not start or ended by itself."""

    code: int = 0


@contextlib.contextmanager
def running() -> Iterator[tuple[Services, contextlib.ExitStack, Ended]]:
    """Services to be started and waited for; what is beside them (locks, servers of this process) enters the stack.

    However the body ends, by Ctrl-C and SIGTERM too, the services stop first and what is beside them after; a
    ServiceError is told. The exit code is known once the block is left.
    """
    services, ended = Services(), Ended()
    try:
        with interrupts(services.stopped), contextlib.ExitStack() as around:
            try:
                yield services, around, ended
            finally:
                services.stop()
    except StoppedError:
        pass
    except ServiceError as error:
        print(f"forecast-platform: {error}", file=sys.stderr, flush=True)
        ended.code = 1


def _beside(what: str, host: str) -> dict[str, tuple[list[str], int]]:
    """Commands and ports of the further servers, by name. Raises SettingsError, ServiceError."""
    if not what:
        return {}
    found = {"api": (["api"], 8000)}
    if what == "workbench":
        from forecast_platform.app.command import require

        require()
        found["workbench"] = (["workbench", "--api", "http://127.0.0.1:8000"], 8501)
    for _, port in found.values():
        _refuse_taken(host, port)
    return found


@contextlib.contextmanager
def _reports(settings: Settings, *, shared: bool) -> Iterator[bool]:
    """Serve the reports folder at reports_url while it lasts; whether it is served from here.

    shared: another `up` may serve it already.
    """
    address = urlsplit(settings.reports_url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    if not is_loopback(host) or (shared and serves_reports(settings.reports_url)):
        yield False
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(serving(settings, host, port, access_for(settings, host)))
        except OSError as error:
            if error.filename is not None:  # the reports' folder, not the address
                raise
            raise ServiceError(
                f"reports: {host}:{port} cannot be used ({error.strerror}): set {PREFIX}REPORTS_URL to a free address, "
                f"such as http://127.0.0.1:{free_port()}"
            ) from error
        yield True


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
def interrupts(stopped: threading.Event) -> Iterator[None]:
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


def _announce(settings: Settings, host: str, port: int, home: Path, reports: bool, read_only: bool) -> None:
    print(f"UI:       http://{reached(host)}:{port}{'  (read-only, without the daemon)' if read_only else ''}")
    print(f"reports:  {settings.reports_url}{'' if reports else '  (not served from here)'}")
    print(f"fits:     mlflow ui --backend-store-uri {settings.tracking_uri}  then {settings.mlflow_ui_url}")
    print(f"instance: {home}")
    if not is_loopback(host):
        names = ", ".join(settings.allowed_hosts) or "no name but its address: set allowed_hosts for more"
        print(f"access:   from other machines with the web token or through trusted_proxy, as {names}")
    print("Ctrl-C stops everything", flush=True)
