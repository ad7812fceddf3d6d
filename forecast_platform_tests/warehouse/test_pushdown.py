"""A read by keys opens no file of another partition: they may be gone; and the engine's plan says what it opens."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from forecast_platform.warehouse.base import Warehouse, WarehouseError, Where, keys_of
from forecast_platform.warehouse.schemas import DISTRIBUTIONS
from forecast_platform.warehouse.unity import UnityWarehouse
from forecast_platform_tests.unity_catalog import Lakehouse
from forecast_platform_tests.warehouse.implementations import plain, unity

JANUARY, LATER, FEBRUARY = dt.date(2020, 1, 3), dt.date(2020, 1, 20), dt.date(2020, 2, 3)
KEYS = [("Alpha", JANUARY), ("Alpha", LATER), ("Alpha", FEBRUARY), ("Beta", JANUARY)]
"""Two files of one partition, one of another month, one of another series."""


def key(series: str, day: dt.date) -> Where:
    return keys_of(series, "naive", "v1.0", [day], by_month=True)


def filled(warehouse: Warehouse) -> None:
    """A commit, and so a file, a key."""
    for number, (series, day) in enumerate(KEYS):
        row: dict[str, Any] = {"commodity": series, "model_name": "naive", "model_version": "v1.0"}
        row |= {"forecast_date": day, "forecast_month": f"{day:%Y-%m}", "path_id": number}
        warehouse.replace(DISTRIBUTIONS, plain(DISTRIBUTIONS, row), key(series, day))


def folder_of(warehouse: Warehouse, tmp_path: Path) -> Path:
    """Where the table's files are."""
    if not isinstance(warehouse, UnityWarehouse):
        return tmp_path
    told = warehouse.session.sql(f"DESCRIBE EXTENDED {warehouse.name(DISTRIBUTIONS)}").toArrow().to_pylist()
    [location] = [row["data_type"] for row in told if row["col_name"] == "Location"]
    return Path(unquote(urlsplit(location).path))


@pytest.mark.parametrize(("number", "others"), [(0, (2, 3)), (2, (0, 1, 3)), (3, (0, 1, 2))])
def test_a_read_by_keys_needs_no_other_partition_s_file(
    warehouse: Warehouse, tmp_path: Path, number: int, others: tuple[int, ...]
) -> None:
    filled(warehouse)
    files = {path.stat().st_mtime_ns: path for path in folder_of(warehouse, tmp_path).rglob("*.parquet")}
    written = [files[moment] for moment in sorted(files)]
    assert len(written) == len(KEYS)
    for other in others:
        written[other].unlink()
    read = warehouse.read(DISTRIBUTIONS, ["path_id", "day_1"], key(*KEYS[number]))
    assert read["path_id"].to_pylist() == [number]
    with pytest.raises(WarehouseError, match=r"cannot be read|cannot read the table"):
        warehouse.read(DISTRIBUTIONS, ["path_id", "day_1"])


def test_sail_s_plan_of_a_read_prunes_partitions_files_and_columns(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = unity(lakehouse.remote)
    filled(warehouse)
    engine = type(warehouse.frame(DISTRIBUTIONS))
    run = engine.toArrow

    def explained(frame: Any) -> Any:
        frame.explain(extended=True)
        return run(frame)

    monkeypatch.setattr(engine, "toArrow", explained)
    assert warehouse.read(DISTRIBUTIONS, ["path_id", "day_1"], key("Alpha", JANUARY)).num_rows == 1
    told = capsys.readouterr().out
    optimised, physical = told.split("== Optimized Logical Plan ==")[1].split("== Physical Plan ==")
    [scan] = [line for line in optimised.splitlines() if "TableScan" in line]
    for column, value in (("commodity", "Alpha"), ("model_name", "naive"), ("model_version", "v1.0")):
        assert f'{column} = Utf8("{value}")' in scan, scan
    assert 'forecast_month = Utf8("2020-01")' in scan.split("full_filters=")[1].split("partial_filters=")[0]
    assert 'forecast_date = Date32("2020-01-03")' in scan.split("partial_filters=")[1]
    assert "projection=[forecast_date, path_id, day_1]" in scan
    # The partition's other file is passed by for its dates, which the log holds.
    assert physical.count(".parquet") == 1
    assert "commodity=Alpha/model_name=naive/model_version=v1.0/forecast_month=2020-01/" in physical
