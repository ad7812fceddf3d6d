"""`health` over HTTP, for those who ask often."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from forecast_platform.host.guarded_handler import answered, asked_by
from forecast_platform.host.web_guard import Access, access_for, is_known
from forecast_platform.housekeeping.health import HealthReport, health
from forecast_platform.settings import Settings, SettingsError

CACHED_SECONDS = 15.0
"""For how long an answer over HTTP is given again."""


class Cached:
    """`health` for those who ask often: one look every CACHED_SECONDS, however many ask."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._known: tuple[float, HealthReport] | None = None

    def __call__(self) -> HealthReport:
        """The newest report."""
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > CACHED_SECONDS:
                self._known = (time.monotonic(), health(self.settings))
            return self._known[1]


OPEN = frozenset({"/health"})
"""What is answered to whoever asks: a load balancer has no token, and gets the status alone."""


def respond(handler: BaseHTTPRequestHandler, found: HealthReport, access: Access) -> None:
    """Answer a request with 200 where healthy, 503 where not; with the report as JSON to those who are known, to others
    with an empty object."""
    content = found.to_json().encode() if is_known(asked_by(handler), access) else b"{}"
    handler.send_response(200 if found.healthy else 503)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.send_header("Cache-Control", "no-store")
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def server(settings: Settings, port: int, host: str = "127.0.0.1") -> Iterator[ThreadingHTTPServer]:
    """A server whose /health answers JSON: 200 where healthy, 503 where not.

    Raises SettingsError for a taken port, and for an address that others reach where nothing says who may ask.
    """
    report, access = Cached(settings), replace(access_for(settings, host), open_paths=OPEN)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not answered(self, access):
                return
            if self.path.partition("?")[0].rstrip("/") not in ("", "/health"):
                self.send_error(404, "ask for /health")
                return
            respond(self, report(), access)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    try:
        found = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise SettingsError(f"--http {port}: {host}:{port} cannot be used ({error.strerror})") from error
    found.daemon_threads = True
    with found:
        yield found
