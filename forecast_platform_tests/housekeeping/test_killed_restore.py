"""A restore that is killed leaves the old or the new warehouse, and the next command sees to the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forecast_platform.housekeeping.backup import backup
from forecast_platform.housekeeping.restore import complete_restore, restore
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import POINT_FORECASTS
from forecast_platform_tests.forked import Program
from forecast_platform_tests.worlds import settings_for

pytestmark = pytest.mark.slow

_CHILD = """
import os, sys
from pathlib import Path
from forecast_platform.housekeeping import restore as module
from forecast_platform_tests.worlds import settings_for

point, root, source = sys.argv[1:]
if point == "unpacked":
    module._verify = lambda *_: os._exit(9)
elif point == "whole":
    module._swap = lambda *_: os._exit(9)
else:
    whole = module._exchange
    module._exchange = lambda *folders: whole(*folders) and os._exit(9)
module.restore(settings_for(Path(root)), Path(source), force=True)
"""


@pytest.mark.parametrize(("point", "restored"), [("unpacked", False), ("whole", False), ("exchanged", True)])
def test_a_killed_restore_is_old_or_new_and_is_seen_to(root: Path, tmp_path: Path, point: str, restored: bool) -> None:
    settings = settings_for(root)
    backup(settings, tmp_path / "saved")
    warehouse = DeltaWarehouse(settings.warehouse)
    rows = warehouse.rows(POINT_FORECASTS)
    where = {"commodity": "Alpha", "model_name": "naive"}
    warehouse.replace(POINT_FORECASTS, POINT_FORECASTS.arrow_schema().empty_table(), where)
    assert Program("-c", _CHILD, point, str(root), str(tmp_path / "saved"), env=os.environ).wait() == 9
    [text] = complete_restore(settings)
    assert ("complete" in text) == restored
    assert not list(root.glob(".warehouse.restore-*"))
    assert len(list(root.glob("warehouse.before-restore-*"))) == restored
    assert (DeltaWarehouse(settings.warehouse).rows(POINT_FORECASTS) == rows) == restored
    assert complete_restore(settings) == []
    restore(settings, tmp_path / "saved", force=True)
    assert DeltaWarehouse(settings.warehouse).rows(POINT_FORECASTS) == rows
    assert not (settings.warehouse / ".restored").exists()
