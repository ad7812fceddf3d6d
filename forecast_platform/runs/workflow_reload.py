"""Loads the workflows' code location anew whenever a workflow was submitted, changed or removed."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forecast_platform.runs.workflows import folder_of
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from forecast_platform.host.services import Endpoint

_LOOK_SECONDS = 1.0
_RELOAD_SECONDS = 180
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def reloading(settings: Settings, endpoint: Endpoint) -> Iterator[None]:
    """While it lasts, the code server of the workflows knows each of them a second after it was kept.

    Begin it before that server starts: what is kept then is what it loads. The webserver and the daemon notice by
    themselves that it has loaded anew.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(settings, endpoint, _seen(settings), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _seen(settings: Settings) -> list[tuple[str, int, int]]:
    """The files of the workflows, with size and time of change."""
    found = []
    for path in sorted(folder_of(settings).glob("*.yaml")):
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            found.append((path.name, about.st_mtime_ns, about.st_size))
    return found


def _watch(settings: Settings, endpoint: Endpoint, loaded: list[tuple[str, int, int]], ended: threading.Event) -> None:
    while not ended.wait(_LOOK_SECONDS):
        there = _seen(settings)
        if there == loaded or not endpoint.serves():
            continue
        if why := _reload(endpoint):
            _log.warning("the workflows could not be loaded anew, and are tried again: %s", why)
        else:
            loaded = there


def _reload(endpoint: Endpoint) -> str | None:
    """Have the server load its code anew; why it could not."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    address = endpoint.address
    try:
        if "socket" in address:
            DagsterGrpcClient(socket=str(address["socket"])).reload_code(timeout=_RELOAD_SECONDS)
        else:
            DagsterGrpcClient(host="127.0.0.1", port=int(address["port"])).reload_code(timeout=_RELOAD_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        return str(error)
    return None
