"""Every recipe of docs/reading.md runs as it stands there, and the views hide what must not be read."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from forecast_platform.cli.main import main
from forecast_platform.pipeline.actuals import write_actuals
from forecast_platform.pipeline.champions import promote
from forecast_platform.read import Reader
from forecast_platform.settings import load
from forecast_platform.warehouse import views
from forecast_platform.warehouse.delta import DeltaWarehouse
from forecast_platform.warehouse.schemas import DISTRIBUTIONS, FORECAST_METADATA, POINT_FORECASTS, TABLES, Table
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.engines import needs_java, needs_sail
from forecast_platform_tests.read.conftest import SERIES, SPAN
from forecast_platform_tests.worlds import settings_for

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reading.md").read_text(encoding="utf-8")
LEAKED = dt.date(2018, 1, 13)
"""A forecast date all of whose rows leaked or failed."""

HERE = {"2022-12-30": "2018-01-12", "2022-12-01": "2018-01-02", "2022-12": "2018-01"} | {
    "Coffee": "Alpha",
    "Sugar": "Beta",
    "xgboost": "naive",
    "dt.date(2022, 12, 30)": "dt.date(2018, 1, 12)",
    "250": "100",
}
"""The page's names and days, and those of the tests' tables."""


def recipes(heading: str, language: str = "python") -> list[str]:
    """The blocks under a heading of the page, with the tests' names."""
    [section] = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)
    assert found, heading
    return [_here(block) for block in found]


def _here(text: str) -> str:
    for theirs, ours in HERE.items():
        text = text.replace(theirs, ours)
    return text


@pytest.fixture(scope="module")
def tables(forecast_root: Path, tmp_path_factory: pytest.TempPathFactory) -> DeltaWarehouse:
    """The forecasts, with rows that must never be read among them, a champion and what happened."""
    root = tmp_path_factory.mktemp("recipes") / "platform"
    shutil.copytree(forecast_root, root)
    platform = Platform.from_settings(settings_for(root))
    warehouse = platform.warehouse
    assert isinstance(warehouse, DeltaWarehouse)
    promote(platform, "Alpha", "naive", "v1.0", "for the recipes", force=True)
    write_actuals(platform, "Alpha", SPAN)
    for table, change in (
        (DISTRIBUTIONS, {"has_data_leakage": True}),
        (POINT_FORECASTS, {"model_success": False}),
        (FORECAST_METADATA, {"model_success": False}),
    ):
        where: dict[str, Any] = {"commodity": "Alpha", "model_name": "naive"}
        rows = warehouse.read(table, [one.name for one in table.columns], {**where, "forecast_date": SPAN[-1]})
        for name, value in {**change, "forecast_date": LEAKED}.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, rows.schema.field(place), pa.array([value] * rows.num_rows))
        key = {**where, "forecast_date": LEAKED, **({"forecast_month": "2018-01"} if table is DISTRIBUTIONS else {})}
        warehouse.replace(table, rows, key)
    return warehouse


@pytest.fixture
def folder(tables: DeltaWarehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a recipe: settings name the tables, a source that has ended."""
    root = tables.root.parent
    settings = {
        "source": "landing",
        "landing": str(root / "landing"),
        "warehouse": str(root / "warehouse"),
        "series": SERIES,
        "models": ["naive", "random_walk"],
        "start_date": "2017-07-01",
        "end_date": str(SPAN[-1]),
    }
    (tmp_path / "platform.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("FORECAST_PLATFORM_CONFIG", str(tmp_path / "platform.yaml"))
    monkeypatch.chdir(tmp_path)
    HERE["/data/warehouse"] = str(root / "warehouse")
    load.cache_clear()
    yield tmp_path
    load.cache_clear()


def run(block: str, **names: Any) -> dict[str, Any]:
    """What a block leaves behind."""
    found: dict[str, Any] = dict(names)
    exec(compile(_here(block), "docs/reading.md", "exec"), found)
    return found


def write_views(capsys: pytest.CaptureFixture[str]) -> None:
    """Run the page's commands that write views of a folder's tables."""
    for dialect, target in re.findall(r"^forecast-platform views --dialect (\S+) > (\S+)", PAGE, flags=re.MULTILINE):
        assert main(["views", "--dialect", dialect]) == 0
        Path(target).write_text(capsys.readouterr().out)


def test_the_reader_s_recipes_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [block] = recipes("The reader")
    run(block)
    assert "Alpha by naive v1.0 (champion), forecast of 2018-01-12" in capsys.readouterr().out
    [block] = recipes("Portfolios")
    found = run(block)
    assert len(found["history"]) == 4 * len(SPAN)
    assert "portfolio in USD, forecast of 2018-01-12, held to day 10" in capsys.readouterr().out


def test_duckdb_reads_the_views_without_its_delta_extension(
    folder: Path, tables: DeltaWarehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    write_views(capsys)
    [block] = recipes("DuckDB without the Delta extension")
    found = run(block)
    assert found["frame"]["forecast_date"].dt.date.tolist() == SPAN
    figures = Reader().portfolio({"Alpha": 10, "Beta": -50}, "naive").risk([0.95], 10)
    assert found["loss"][0][0] == pytest.approx(float(figures[0.95].var[0]), rel=1e-6)

    db = found["db"]
    for view in views.VIEWS:
        assert db.sql(f"FROM {view.name}").columns == view.columns(tables.horizon)
    dates = "SELECT DISTINCT forecast_date FROM {} WHERE commodity = 'Alpha' AND model_name = 'naive'"
    for name in ("paths", "points", "scores"):
        assert LEAKED not in {row[0] for row in db.sql(dates.format(name)).fetchall()}, name
    assert db.sql("SELECT DISTINCT model_name FROM paths ORDER BY 1").fetchall() == [("naive",), ("random_walk",)]
    assert db.sql(dates.format("latest_points")).fetchall() == [(SPAN[-1],)]
    assert db.sql("SELECT count(*) FROM actuals").fetchall() == [(len(SPAN),)]
    assert db.sql("SELECT commodity, model_name FROM champion").fetchall() == [("Alpha", "naive")]
    assert np.array_equal(db.sql("FROM complete_runs ORDER BY forecast_date").df()["forecast_date"].dt.date, SPAN[:3])
    assert "delta_scan(" in Path("views.sql").read_text()


def test_duckdb_reads_the_views_with_its_delta_extension(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import duckdb

    try:
        duckdb.connect().execute("LOAD delta")
    except duckdb.Error:
        pytest.skip("duckdb's delta extension is not installed here: `INSTALL delta` needs a network")
    write_views(capsys)
    [block] = recipes("DuckDB with the Delta extension")
    assert len(run(block)["frame"]) == 14


STAND_IN = """db.execute(\"\"\"
    CREATE MACRO delta_scan(folder) AS TABLE FROM read_parquet(
        folder || '/**/*.parquet', hive_partitioning = true, hive_types_autocast = false, union_by_name = true)
\"\"\")
"""
"""What reads a table whose folder holds no file that was replaced as the Delta extension does."""


def test_the_sql_for_duckdb_s_delta_extension_runs_where_something_else_reads_the_tables(
    folder: Path, tables: DeltaWarehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extension itself comes from the network alone; views and recipe are the same without it."""
    alone = tmp_path / "alone"
    for table in TABLES:
        for file in tables.files(table):
            copied = alone / Path(file).relative_to(tables.root)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copied)
    write_views(capsys)
    Path("views.sql").write_text(Path("views.sql").read_text().replace(str(tables.root), str(alone)))
    [block] = recipes("DuckDB with the Delta extension")
    lines = [line for line in block.splitlines(keepends=True) if "INSTALL delta" not in line]
    [place] = [number for number, line in enumerate(lines) if "LOAD delta" in line]
    lines[place] = STAND_IN
    found = run("".join(lines))
    assert len(found["frame"]) == 14
    [block] = recipes("DuckDB without the Delta extension")
    other = run(block)["db"]
    for view in views.VIEWS:
        rows = [sorted(db.sql(f"FROM {view.name}").fetchall(), key=str) for db in (found["db"], other)]
        assert rows[0] == rows[1], view.name


def test_polars_and_pandas_read_the_tables(folder: Path) -> None:
    [block] = recipes("polars")
    frame = run(block)["frame"]
    assert frame["model_name"].to_list() == ["naive"] * 14 + ["random_walk"] * 14
    [block] = recipes("pandas")
    frame = run(block)["frame"]
    assert frame["forecast_date"].tolist() == SPAN * 2


@needs_sail
@pytest.mark.slow
def test_spark_with_delta_reads_the_views(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from forecast_platform.clients.spark_session import session_on

    write_views(capsys)
    [block] = recipes("Spark with Delta")
    found = run(block, spark=session_on("sail", load()))
    assert len(found["frame"]) == 14
    assert found["frame"]["target_date"].iloc[0] == SPAN[-1]


@needs_java
@pytest.mark.slow
def test_spark_without_delta_reads_the_files_and_databricks_sql_is_spark_s(folder: Path) -> None:
    """In a process of its own: a sail session of another test would stand in this one's way."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    top = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "forecast_platform_tests.read.jvm_recipes", HERE["/data/warehouse"]],
        cwd=folder,
        env={**environment, "PYTHONPATH": top},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-3:] == [f"{len(SPAN)} dates", "14 rows", f"{len(SPAN)} rows"]


def test_views_are_made_for_the_tables_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path))
    load.cache_clear()
    assert main(["views"]) == 0
    told = capsys.readouterr().out
    assert "-- paths: commodity.forecast.distributions does not exist yet" in told
    assert "CREATE" not in told
    assert main(["views", "--dialect", "databricks"]) == 2
    assert "the tables are in a folder: use duckdb, duckdb-files or spark" in capsys.readouterr().err
    load.cache_clear()


def test_unity_s_views_stand_beside_its_tables() -> None:
    def relation(table: Table) -> str:
        return f"main.{table.name.split('.', 1)[1]}"

    text = views.sql("databricks", 14, relation, "main.forecast.")
    assert "CREATE OR REPLACE VIEW main.forecast.points AS SELECT t.commodity," in text
    assert "FROM main.forecast.point_forecasts t WHERE t.has_data_leakage = false AND t.model_success = true;" in text
