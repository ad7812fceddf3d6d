"""Starts the page's server."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forecast_platform.settings import Settings, SettingsError

if TYPE_CHECKING:
    from forecast_platform.host.guarded_app import App

API_VARIABLE = "FORECAST_WORKBENCH_API"
"""Where the page finds the API."""


def require() -> None:
    """Raise SettingsError where the library of the page is not installed."""
    if importlib.util.find_spec("streamlit") is None:
        raise SettingsError("the workbench needs Streamlit: pip install 'forecast-platform[app]'")


def options(settings: Settings) -> dict[str, Any]:
    """Streamlit's own options. It compares the Origin of its websocket once more after the guard.

    The address keeps it from asking a server on the internet for this machine's own before it looks at the origins.
    """
    first = next(iter(settings.allowed_origins), None)
    named = {"browser.serverAddress": urlsplit(first).hostname} if first else {}
    return {
        **named,
        "server.headless": True,
        "server.maxUploadSize": 512,
        "server.fileWatcherType": "none",
        "server.enableCORS": True,
        "server.corsAllowedOrigins": list(settings.allowed_origins),
        "browser.gatherUsageStats": False,
    }


def build_page(settings: Settings, host: str) -> App:
    """The page behind the guard, its websocket and uploads too, for a server that binds `host`.

    Raises SettingsError where nothing says who may ask it, and where its library is not installed.
    """
    from forecast_platform.host.guarded_app import Guarded
    from forecast_platform.host.web_guard import access_for

    access = access_for(settings, host)
    require()
    from streamlit.starlette import App as Page
    from streamlit.web import bootstrap

    bootstrap.load_config_options(options(settings))
    return Guarded(Page(Path(__file__).with_name("page.py")), access)


def run(settings: Settings, host: str, port: int, api: str) -> int:
    """Serve the page until interrupted; returns the exit code. Raises SettingsError, see `build_page`."""
    app: Any = build_page(settings, host)
    import uvicorn

    os.environ[API_VARIABLE] = api
    with contextlib.suppress(KeyboardInterrupt):
        # Whom a proxy speaks for is for the guard to judge, by the address that is really connected.
        uvicorn.run(app, host=host, port=port, log_level="warning", proxy_headers=False)
    return 0
