"""The reports folder over HTTP, with the platform's health beside it: GET and HEAD, behind the guard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from forecast_platform.host.guarded_handler import answered, asked_by
from forecast_platform.host.services import REPORTS_SERVER
from forecast_platform.host.web_guard import Access, is_unasked
from forecast_platform.housekeeping.health_http import OPEN, Cached, respond
from forecast_platform.housekeeping.on_demand import OnDemand, may_be_made
from forecast_platform.settings import Settings

_OFFER = b"""<!DOCTYPE html><html lang="en"><title>Not drawn yet</title>
<p>This page is drawn when it is asked for here, not by a link of another site: <a href="">draw it</a>.</p></html>
"""


class _Handler(SimpleHTTPRequestHandler):
    """GET and HEAD of files below one folder, and GET of /health."""

    server_version = REPORTS_SERVER

    def __init__(self, *args: Any, health: Cached, access: Access, made: OnDemand, **kwargs: Any) -> None:
        self._health, self._access, self._made = health, access, made
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """A file, or the platform's health as JSON."""
        if self.path.partition("?")[0] != "/health":
            super().do_GET()
        elif answered(self, self._access):
            respond(self, self._health(), self._access)

    def send_head(self) -> IO[bytes] | None:  # type: ignore[override]
        """As the parent does, for whom the guard lets in; a link that leads out of the folder is not followed, and a
        chart of a past date is made when it is asked for, unless a page of another site makes a browser ask."""
        if not answered(self, self._access):
            return None
        asked, folder = Path(self.translate_path(self.path)).resolve(), Path(self.directory).resolve()
        if not asked.is_relative_to(folder):
            self.send_error(404, "File not found")
            return None
        if asked.parent == folder:
            if not is_unasked(asked_by(self)):
                self._made(asked)
            elif may_be_made(asked) and not asked.exists():
                self._offer()
                return None
        return super().send_head()

    def _offer(self) -> None:
        """A page of another site leads to a chart that nobody has asked for yet: no such link makes us write."""
        self.send_response(404, "Not drawn yet")
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(_OFFER)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(_OFFER)

    def end_headers(self) -> None:
        """Reports are written anew under the same name: ask each time."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "SAMEORIGIN")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(settings: Settings, host: str, port: int, access: Access) -> Iterator[ThreadingHTTPServer]:
    """Serve the reports folder in a thread while it lasts. Raises OSError for an address that cannot be used."""
    settings.reports.mkdir(parents=True, exist_ok=True)
    handler = partial(
        _Handler,
        directory=str(settings.reports),
        health=Cached(settings),
        access=replace(access, open_paths=OPEN),
        made=OnDemand(settings),
    )
    server = ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="reports", daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
