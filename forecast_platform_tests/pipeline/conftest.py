"""Fixtures of the pipeline's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forecast_platform.cli.main import main
from forecast_platform.settings import load
from forecast_platform_tests.cli.test_cli import environment

Shell = Callable[..., int]


@pytest.fixture
def shell(small: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """Runs a command over the test's small platform, as a shell would; returns its exit code."""
    for name, value in environment(small).items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    yield lambda *arguments: main(list(arguments))
    load.cache_clear()
