"""The server of the reports folder, which also makes pages that are asked for: fan charts of past dates, histories."""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forecast_platform.host.services import REPORTS_SERVER
from forecast_platform.housekeeping.health_http import Cached, respond
from forecast_platform.settings import Settings, SettingsError

if TYPE_CHECKING:
    from forecast_platform.work.platform import Platform

AGE_SECONDS = 3600.0
"""Age from which a page is made anew when it is asked for: closes may have come since, which it shows."""

_KINDS = ("fan-chart_", "history_")

log = logging.getLogger(__name__)


class OnDemand:
    """Makes a page that is not there, or is old, from the tables; one at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    @cached_property
    def _platform(self) -> Platform:
        from forecast_platform.work.platform import Platform

        return Platform.from_settings(self._settings)

    def __call__(self, path: Path) -> None:
        """See that the page at `path` is there and no older than AGE_SECONDS, where it is of a kind that can be made.

        What keeps it from being made is logged: the page that is there is shown, or none is found.
        """
        if not path.name.startswith(_KINDS) or not path.name.endswith(".html"):
            return
        with self._lock:
            if path.is_file() and time.time() - path.stat().st_mtime < AGE_SECONDS:
                return
            from forecast_platform.pages.display import asked_for

            try:
                asked_for(self._platform, path.name)
            # Whatever is wrong with the tables must not end the answer to a browser.
            except Exception:
                log.exception("%s cannot be made", path.name)


class _Handler(SimpleHTTPRequestHandler):
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


def address_of(settings: Settings) -> tuple[str, int]:
    """Host and port of the setting reports_url."""
    address = urlsplit(settings.reports_url)
    return address.hostname or "127.0.0.1", address.port or 80


def server(settings: Settings, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the reports folder, not serving yet. Raises OSError where the address cannot be used."""
    settings.reports.mkdir(parents=True, exist_ok=True)
    handler = partial(_Handler, directory=str(settings.reports), health=Cached(settings), made=OnDemand(settings))
    found = ThreadingHTTPServer((host, port), handler)
    found.daemon_threads = True
    return found


def reports(settings: Settings, host: str | None = None, port: int | None = None) -> bool:
    """Serve the reports until interrupted; host and port are those of reports_url where None. Raises SettingsError
    where the address cannot be used."""
    own = address_of(settings)
    host, port = host or own[0], own[1] if port is None else port
    try:
        found = server(settings, host, port)
    except OSError as error:
        text = f"{host}:{port} cannot be used ({error.strerror}): give another --host or --port"
        raise SettingsError(text) from error
    with found:
        print(f"http://{host}:{found.server_port}  (Ctrl-C stops)", flush=True)
        found.serve_forever()
    return True
