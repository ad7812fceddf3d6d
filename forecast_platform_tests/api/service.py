"""The API as an operator starts it, over a platform of its own, and clients that try again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from forecast_platform.host.services import free_port
from forecast_platform_tests.training_jobs.tables import asked, weekly
from forecast_platform_tests.waiting import until

TOKENS = {name: name * 20 for name in "abcd"}
OPEN = ("submitting", "running", "cancelling")


def environment(root: Path) -> dict[str, str]:
    """Variables of a platform of its own in `root`, over the sample."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
    return kept | {
        "FORECAST_PLATFORM_WAREHOUSE": str(root / "warehouse"),
        "FORECAST_PLATFORM_REPORTS_URL": f"http://127.0.0.1:{free_port()}",
        "DAGSTER_HOME": str(root / "home"),
        "OMP_NUM_THREADS": "1",
    }


class Service:
    """The API as a process of its own."""

    probe = "a"
    """Whose token shows that it answers."""

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self.root, self.variables, self.port = root, variables, free_port()
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.root / "api.log").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forecast_platform.cli", "api", "--port", str(self.port)],
                env=self.variables, cwd=self.root, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until(self.answers, "start of the API", 120, pause=0.2)

    def answers(self) -> bool:
        """Whether it takes requests."""
        assert self.process.poll() is None, (self.root / "api.log").read_text()
        try:
            return self.ask(self.probe, "GET", "/jobs").ok
        except requests.ConnectionError:
            return False

    def ask(self, user: str, method: str, path: str, **more: Any) -> requests.Response:
        """One request of a user."""
        headers = {"Authorization": f"Bearer {TOKENS[user]}"}
        url = f"http://127.0.0.1:{self.port}/api/v2{path}"
        return requests.request(method, url, headers=headers, timeout=60, **more)

    def patient(
        self, user: str, method: str, path: str, *, seconds: float = 150, heed: bool = False, **more: Any
    ) -> dict[str, Any]:
        """As a client that tries again, for so long, where the service is full or away; `heed`: when it is told to."""
        end = time.monotonic() + seconds
        while True:
            try:
                reply = self.ask(user, method, path, **more)
            except requests.ConnectionError:
                reply = None
            if reply is not None and reply.ok:
                return dict(reply.json())
            assert reply is None or reply.status_code in (429, 503), reply.text
            assert time.monotonic() < end, "no room"
            time.sleep(float(reply.headers.get("Retry-After", 0.5)) if heed and reply is not None else 0.5)


def config(k: int, models: list[str] | None = None) -> dict[str, Any]:
    return {"config": asked(weekly(1, 40, seed=k), models=models or ["HistoricAverage"])}
