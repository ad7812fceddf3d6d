"""Processes that have a library imported: asked again and again, and no request sees what another left."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forecast_platform.models import prepared
from forecast_platform_tests.models import prepared_work

MODULES = (prepared_work.__name__, "no_such_module_of_a_library")


def work(folder: Path, limit: float = 60) -> list[str]:
    folder.mkdir()
    prepared.work(MODULES, folder, limit)
    return (folder / "found").read_text().split()


def test_requests_share_the_imports_and_nothing_else(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        (first, seen, home), (second, again, other) = threads.map(work, (tmp_path / "one", tmp_path / "two"))
    assert (seen, again) == ("1", "1"), "neither knows of the other"
    assert (home, other) == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert (first == second) == sys.platform.startswith("linux")


def test_one_that_fails_says_why_and_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(prepared.EndedError, match="ended with code 1: ValueError: this one cannot be opened"):
        work(tmp_path / "fail")
    if sys.platform.startswith("linux"):
        with pytest.raises(subprocess.TimeoutExpired):
            work(tmp_path / "sleep", 0.5)
    assert work(tmp_path / "after")[1] == "1"
