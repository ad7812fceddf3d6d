"""Which rows match a key predicate: as looking at each finds, for every kind of value."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from forecast_platform.warehouse.base import Between
from forecast_platform.warehouse.predicates import kept, matching

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
def test_those_match_that_do_by_themselves(where: dict[str, Any], parts: int) -> None:
    size = -(-ROWS.num_rows // parts)
    rows = pa.concat_tables(ROWS.slice(begin, size) for begin in range(0, ROWS.num_rows, size))
    wanted = [row for row in ROWS.to_pylist() if all(_is_so(row[name], value) for name, value in where.items())]
    assert kept(rows, where).to_pylist() == wanted
    assert matching(rows, where) == len(wanted)
    assert matching(rows.slice(0, 0), where) == 0


def _is_so(found: Any, value: Any) -> bool:
    if found is None:
        return False
    if isinstance(value, Between):
        return bool(value.low <= found <= value.high)
    return found in value if isinstance(value, list | tuple | set) else bool(found == value)
