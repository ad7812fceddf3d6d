"""The extra `prophet` beside the base: nothing of the base is replaced."""

from __future__ import annotations

from importlib.metadata import version

import pytest

pytestmark = pytest.mark.extra


def test_the_extra_leaves_the_base_s_versions() -> None:
    assert version("prophet") == "1.5.0"
    assert int(version("pandas").split(".")[0]) == 2
