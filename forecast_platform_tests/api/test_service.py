"""The whole service over HTTP: API, webserver, daemon and MLflow as an operator starts them, with kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform_tests.api.crowd import STATES, drive


@pytest.mark.slow
def test_jobs_of_many_users_are_run_once_each_within_the_limits_through_kills_and_cancels(tmp_path: Path) -> None:
    found = drive(tmp_path, users=2, each=5, cancels=len(STATES), limits=(2, 3))
    assert found.faults() == []
    assert (len(found.done), found.whole) == (10, True)
    assert found.most == 3, "both users at once reach the limit of all"
    was = {state for state, *_ in found.cancels}
    assert {"pending", "running"} <= was <= set(STATES)
