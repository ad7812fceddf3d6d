"""What serves: `up` and its parts, for units and containers that run each by itself."""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
from pathlib import Path
from typing import Any

from forecast_platform.cli.terminal import port
from forecast_platform.settings import Settings, SettingsError

_HOST = "address to bind; beyond this machine only with a web token or a trusted proxy"
_UNGUARDED = "address to bind; nobody is asked who it is: this machine, or a closed network as in deploy/compose.yaml"
_READ_ONLY = "for screens: nothing can be changed from the UI"


def register(commands: Any) -> None:
    """Add the commands of this module to the command line's subparsers."""
    one = commands.add_parser("up", help="webserver, daemon and code server together, with the reports beside them")
    _address(one, 3000)
    one.add_argument("--read-only", action="store_true", help=f"{_READ_ONLY}, no daemon runs, and no API")
    one.add_argument("--api", action="store_true", help="also the API of training jobs, on port 8000")
    one.add_argument("--workbench", action="store_true", help="also that, and its page on port 8501 (extra app)")
    one.set_defaults(command=_up)

    one = commands.add_parser("webserver", help="the UI alone, over a code server that runs elsewhere")
    one.add_argument("-w", "--workspace", type=Path, required=True, action="append", metavar="FILE")
    _address(one, 3000)
    one.add_argument("--read-only", action="store_true", help=_READ_ONLY)
    one.set_defaults(command=_webserver)

    one = commands.add_parser("workflows", help="the code server of submitted workflows alone, which knows new ones")
    _address(one, 4267, told=_UNGUARDED)
    one.set_defaults(command=_workflows)

    one = commands.add_parser("api", help="training jobs over HTTP (docs/jobs.md)")
    _address(one, 8000)
    one.set_defaults(command=_api)

    one = commands.add_parser("workbench", help="the page of training jobs; speaks to the API (extra app)")
    _address(one, 8501)
    one.add_argument("--api", default="http://127.0.0.1:8000", metavar="URL", help="where the API is")
    one.set_defaults(command=_workbench)

    one = commands.add_parser("reports", help="the reports folder alone, as `up` serves it, with /health")
    _address(one, 3001)
    one.set_defaults(command=_reports)


def _address(parser: argparse.ArgumentParser, default: int, *, told: str = _HOST) -> None:
    parser.add_argument("--host", default="127.0.0.1", help=told)
    parser.add_argument("--port", type=port, default=default, help=f"port (default: {default})")


def _up(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.up import up

    beside = "workbench" if options.workbench else "api" if options.api else ""
    return up(settings, options.host, options.port, read_only=options.read_only, beside=beside)


def _webserver(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.graph.webserver import serve
    from forecast_platform.host.home import prepare_home
    from forecast_platform.host.services import KEY_VARIABLE

    for file in options.workspace:
        if not file.is_file():
            raise SettingsError(f"--workspace {file}: no such file; deploy/ has examples")
    # Taken out, so that no run that this process starts inherits it.
    key = os.environ.pop(KEY_VARIABLE, None)
    prepare_home(settings)
    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, options.host, options.port, options.workspace, read_only=options.read_only, key=key)
    return 0


def _workflows(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.up import running
    from forecast_platform.host.home import prepare_home
    from forecast_platform.host.services import WORKFLOWS, Endpoint, is_free
    from forecast_platform.runs.workflow_reload import reloading

    if not is_free(options.host, options.port):
        raise SettingsError(f"{options.host}:{options.port} is taken: stop what listens there, or take another --port")
    prepare_home(settings)
    endpoint = Endpoint(Path(), WORKFLOWS, options.port, options.host)
    with running() as (services, around, ended):
        around.enter_context(reloading(settings, endpoint))
        services.start_code([endpoint], settings.log_level)
        print(f"code location {WORKFLOWS}: {options.host}:{options.port}  (Ctrl-C stops)", flush=True)
        services.wait()
    return ended.code


def _api(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.api.app import serve
    from forecast_platform.host.home import prepare_home

    prepare_home(settings)
    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, options.host, options.port)
    return 0


def _workbench(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.app.command import run

    return run(settings, options.host, options.port, options.api)


def _reports(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.host.web_guard import access_for
    from forecast_platform.housekeeping.reports_http import serving

    access = access_for(settings, options.host)
    try:
        with serving(settings, options.host, options.port, access) as server:
            print(f"http://{options.host}:{server.server_port}  (Ctrl-C stops)", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    except OSError as error:
        if error.filename is not None:  # the reports' folder, not the address
            raise
        where = f"{options.host}:{options.port}"
        raise SettingsError(f"{where} cannot be used ({error.strerror}): take another --port") from error
    return 0
