"""Fixtures shared by all tests: where the real data are, and settings over a fresh warehouse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SHARED = Path(os.environ.get("FORECAST_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def _folder(name: str) -> Path:
    path = _SHARED / name
    if not path.is_dir():
        pytest.skip(f"no real data in {path}: set FORECAST_TEST_DATA to a folder that holds landing/ and eia/")
    return path


@pytest.fixture(scope="session")
def landing() -> Path:
    """Real Coffee, Sugar, macro and weather landing files."""
    return _folder("landing")


@pytest.fixture(scope="session")
def eia() -> Path:
    """Real EIA spot prices, with WTI's negative close of 2020-04-20."""
    return _folder("eia")
