"""Concurrent writers and readers lose nothing and see whole sets: their history is recorded, and checked."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from forecast_platform.housekeeping.maintenance import compact
from forecast_platform.warehouse.base import revise
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import FORECAST_METADATA
from forecast_platform_tests.warehouse.implementations import days, metadata, where
from forecast_platform_tests.warehouse.recorded import Step, wrong

ROWS = 8
SET, LIST = days(1, ROWS), [dt.date(2020, 2, 1)]


def _step(kind: str, process: int, began: float, *value: str) -> Step:
    return Step(kind, process, began, began + 1, value)


GOOD = [
    _step("write", 1, 0, "a"),
    _step("write", 2, 0.5, "b"),
    _step("see", 3, 0.7, *["a"] * ROWS),
    _step("see", 3, 2, *["b"] * ROWS),
    _step("append", 1, 0, "x"),
    _step("append", 2, 0.5, "y"),
    _step("list", 3, 2, "y", "x"),
]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (_step("see", 3, 2, *["a"] * 7, "b"), "half a set"),
        (_step("see", 3, 2, *["a"] * 7), "half a set"),
        (_step("see", 3, 2, *["c"] * ROWS), "nobody wrote"),
        (_step("see", 3, 2), "no set after"),
        (_step("list", 3, 3, "y"), "lost: ['x']"),
        (_step("list", 3, 3, "x", "y"), "two orders"),
        (_step("list", 3, 3, "y", "x", "x"), "appended twice"),
        (_step("list", 3, 3, "y", "x", "z"), "never appended"),
    ],
)
def test_the_checker_finds_what_it_is_for(step: Step, said: str) -> None:
    assert wrong(GOOD, ROWS) == []
    assert any(text.startswith(said) or said in text for text in wrong([*GOOD, step], ROWS))


def test_the_checker_finds_a_set_that_was_replaced_before_it_was_read() -> None:
    later = [_step("write", 1, 3, "c"), _step("see", 3, 5, *["b"] * ROWS)]
    assert "had replaced" in wrong([*GOOD, *later], ROWS)[0]


def _recorded(kind: str, process: int, work: Callable[[], Any]) -> Step:
    began = time.monotonic()
    value = work()
    return Step(kind, process, began, time.monotonic(), tuple(value))


def write_sets(root: Path, process: int, count: int) -> list[Step]:
    """Replace the set as a whole, each time by another value in all its rows."""
    warehouse = DeltaWarehouse(root)

    def one(number: int) -> list[str]:
        value = 1000.0 * process + number
        warehouse.replace(FORECAST_METADATA, metadata("set", SET, value), where("set", SET))
        return [str(value)]

    return [_recorded("write", process, lambda number=number: one(number)) for number in range(count)]


def append(root: Path, process: int, count: int) -> list[Step]:
    """Read the list, and replace it by one that is a value longer."""
    warehouse = DeltaWarehouse(root)

    def one(number: int) -> list[str]:
        value = f"{process}.{number}"

        def longer(there: pa.Table) -> tuple[pa.Table, dict[str, object]]:
            before = there["error"].to_pylist()[0] if there.num_rows else None
            row = metadata("list", LIST)
            text = value if before is None else f"{before},{value}"
            at = row.column_names.index("error")
            return row.set_column(at, row.schema.field(at), pa.array([text])), where("list", LIST)

        revise(warehouse, FORECAST_METADATA, where("list", LIST), longer)
        return [value]

    return [_recorded("append", process, lambda number=number: one(number)) for number in range(count)]


def look(root: Path, process: int, until: Path) -> list[Step]:
    """Read the set and the list, until the others are done."""
    warehouse = DeltaWarehouse(root)

    def values() -> Iterator[str]:
        return map(str, warehouse.read(FORECAST_METADATA, ["crps_14d"], where("set", SET))["crps_14d"].to_pylist())

    def texts() -> list[str]:
        found = warehouse.read(FORECAST_METADATA, ["error"], where("list", LIST))["error"].to_pylist()
        return found[0].split(",") if found else []

    steps = []
    while not until.exists():
        steps += [_recorded("see", process, values), _recorded("list", process, texts)]
    return [*steps, _recorded("see", process, values), _recorded("list", process, texts)]


def tidy(root: Path, until: Path) -> list[Step]:
    """Merge small files beside them, as the maintenance does."""
    while not until.exists():
        compact(DeltaWarehouse(root), dt.date(2021, 1, 1), [FORECAST_METADATA])
        time.sleep(0.3)
    return []


@pytest.mark.slow
def test_no_update_is_lost_and_no_reader_sees_half_a_set(tmp_path: Path) -> None:
    root, over = tmp_path / "warehouse", tmp_path / "over"
    DeltaWarehouse(root).create(FORECAST_METADATA)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(7, mp_context=processes) as pool:
        readers: list[Future[list[Step]]] = [pool.submit(look, root, number, over) for number in (1, 2)]
        readers.append(pool.submit(tidy, root, over))
        writers = [pool.submit(write_sets, root, number, 12) for number in (3, 4)]
        writers += [pool.submit(append, root, number, 8) for number in (5, 6)]
        try:
            written = [step for writer in writers for step in writer.result(timeout=120)]
        finally:
            over.touch()
        read = [step for reader in readers for step in reader.result(timeout=60)]
    assert wrong([*written, *read], ROWS) == []
    assert sum(step.kind == "append" for step in written) == 16
    assert len(max((step.value for step in read if step.kind == "list"), key=len)) == 16
    overlapping = [one for one in written for other in written
                   if one.process < other.process and one.began < other.ended and other.began < one.ended]  # fmt: skip
    assert overlapping, "the writers ran one after another: the history says nothing"
