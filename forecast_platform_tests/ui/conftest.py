"""One running platform for the tests of the UI: webserver, daemon and code server over synthetic landing files."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from forecast_platform.host.services import free_port
from forecast_platform_tests.cli.test_cli import environment
from forecast_platform_tests.ui.running import Running, command
from forecast_platform_tests.worlds import write_landing

UNTRAINED = "2018-01-01"
"""The window that Beta is left without."""

BETA_BEGINS = "2014-06-02"


@pytest.fixture(scope="session")
def platform_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small platform, trained by the command line but for one window of Beta; as environment variables."""
    root = tmp_path_factory.mktemp("running")
    write_landing(root / "landing")
    beta = root / "landing" / "market" / "beta.csv"
    head, *rows = beta.read_text().splitlines(keepends=True)
    beta.write_text(head + "".join(row for row in rows if row >= BETA_BEGINS))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
    chosen = {
        **inherited,
        **environment(root),
        "FORECAST_PLATFORM_START_DATE": "2017-01-01",
        "FORECAST_PLATFORM_AUTOMATION": "false",
        "FORECAST_PLATFORM_REPORTS_URL": f"http://127.0.0.1:{free_port()}",
        "FORECAST_PLATFORM_WORKERS": "2",
    }
    command(chosen, "train", "--commodity", "Alpha", "--start-date", "2017-01-01", "--end-date", "2018-03-30")
    command(chosen, "train", "--commodity", "Beta", "--start-date", "2017-01-01", "--end-date", "2017-12-31")
    return chosen


@pytest.fixture(scope="session")
def running(platform_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The platform with its UI up; stopped at the end, with no process left."""
    platform = Running.start(tmp_path_factory.mktemp("up"), platform_environment)
    try:
        yield platform
    finally:
        left = platform.stop()
    assert not left, f"left after the interrupt: {left}"
    assert platform.process.returncode == 0
