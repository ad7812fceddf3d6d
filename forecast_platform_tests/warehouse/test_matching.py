"""How many rows match a key predicate: as a scan of them finds, for every kind of value."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from forecast_platform.warehouse.base import Between
from forecast_platform.warehouse.predicates import expression, matching

DAYS = [dt.date(2022, 1, day) for day in range(1, 9)]
ROWS = pa.table(
    {
        "commodity": ["Coffee", "Sugar", None, "Soybean Oil", "Coffee", "O'Brien", "", "Coffee"],
        "forecast_date": pa.array([*DAYS[:7], None]),
        "path_id": pa.array([0, 1, 2, 3, 4, 5, 6, None], pa.int32()),
        "seen": pa.array([dt.datetime(2022, 1, day, tzinfo=dt.timezone.utc) for day in range(1, 9)]),
        "late": [True, False, True, None, True, False, True, True],
    }
)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"commodity": "Coffee"},
        {"commodity": ["Coffee", "O'Brien"], "late": True},
        {"commodity": []},
        {"forecast_date": Between(DAYS[1], DAYS[4])},
        {"forecast_date": DAYS[6], "path_id": 6},
        {"path_id": Between(1, 4), "commodity": ("Sugar", "Soybean Oil")},
        {"seen": Between(ROWS["seen"][2].as_py(), ROWS["seen"][5].as_py())},
        {"late": False, "forecast_date": {DAYS[1], DAYS[5], DAYS[7]}},
    ],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_as_many_match_as_a_filter_leaves(where: dict[str, Any], parts: int) -> None:
    size = -(-ROWS.num_rows // parts)
    rows = pa.concat_tables(ROWS.slice(begin, size) for begin in range(0, ROWS.num_rows, size))
    wanted = rows.filter(expression(where)) if where else rows
    assert matching(rows, where) == wanted.num_rows
    assert matching(rows.slice(0, 0), where) == 0
