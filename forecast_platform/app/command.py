"""Starts the page's server."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from forecast_platform.settings import SettingsError

API_VARIABLE = "FORECAST_WORKBENCH_API"
"""Where the page finds the API."""


def require() -> None:
    """Raise SettingsError where the library of the page is not installed."""
    if importlib.util.find_spec("streamlit") is None:
        raise SettingsError("the workbench needs Streamlit: pip install 'forecast-platform[app]'")


def run(host: str, port: int, api: str) -> int:
    """Serve the page until interrupted; returns the exit code."""
    require()
    page = Path(__file__).with_name("page.py")
    options = {
        "server.address": host,
        "server.port": str(port),
        "server.headless": "true",
        "server.maxUploadSize": "512",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    command = [sys.executable, "-m", "streamlit", "run", str(page)]
    for name, value in options.items():
        command += [f"--{name}", value]
    environment = {**os.environ, API_VARIABLE: api}
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
