"""Each test of the contract gets an empty warehouse of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.warehouse.base import Warehouse
from forecast_platform_tests.unity_catalog import Lakehouse
from forecast_platform_tests.warehouse.implementations import Make


@pytest.fixture(params=["folder", "unity"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """How to open the warehouse under test, which is empty."""
    if request.param == "folder":
        return Make("folder", str(tmp_path))
    lakehouse: Lakehouse = request.getfixturevalue("lakehouse")
    return Make("unity", lakehouse.remote)


@pytest.fixture
def warehouse(make: Make) -> Warehouse:
    """The warehouse under test."""
    return make.another()
