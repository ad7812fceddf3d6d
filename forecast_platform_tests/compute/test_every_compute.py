"""One suite over every compute: the same commands leave the same tables, to the bit, wherever the work is done."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from forecast_platform.pipeline.platform import Platform
from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    TRAINED_MODELS,
    UNIFIED_DATA,
    Table,
)
from forecast_platform_tests.compute.engines import needs_java, needs_sail
from forecast_platform_tests.databricks_workspace import Workspace
from forecast_platform_tests.worlds import settings_for, write_landing

pytestmark = pytest.mark.slow

MODELS = ("naive", "xgboost")
COMMANDS = {
    "train": ("train", "--start-date", "2017-07-01", "--end-date", "2018-02-28"),
    "backfill": ("backfill", "--commodity", "Alpha", "--start-date", "2017-12-21", "--end-date", "2018-01-10"),
    "daily": ("infer", "--date", "2018-02-28"),
}
"""In this order, each over what the one before left: two windows, a range over their boundary, one day of both."""

TABLES = (UNIFIED_DATA, TRAINED_MODELS, DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA, FORECAST_RUNS)
OF_THE_RUN = {
    *("created_at", "created_by", "generation_timestamp", "updated_at", "scored_at"),
    *("training_seconds", "inference_seconds", "mlflow_run_id", "fitted_model_s3_path"),
}
"""What differs between two runs of the same work: clocks, accounts, timings, and where files are kept."""

Environment = dict[str, str]


@dataclass
class Made:
    """What the commands left: each one's exit code and output, and the tables after it."""

    told: dict[str, tuple[int, str]] = field(default_factory=dict)
    tables: dict[str, dict[str, pa.Table]] = field(default_factory=dict)


def _rows(platform: Platform, table: Table) -> pa.Table:
    rows = platform.warehouse.read(table)
    rows = rows.drop_columns([name for name in rows.column_names if name in OF_THE_RUN])
    return rows.sort_by([(name, "ascending") for name in table.key if name in rows.column_names]).combine_chunks()


def _environment(root: Path) -> Environment:
    """The settings of `worlds.settings_for`, for a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORECAST_", "DATABRICKS_"))}
    return {
        **kept,
        "FORECAST_PLATFORM_SOURCE": "landing",
        "FORECAST_PLATFORM_LANDING": str(root / "landing"),
        "FORECAST_PLATFORM_WAREHOUSE": str(root / "warehouse"),
        "FORECAST_PLATFORM_MODELS": ",".join(MODELS),
        "FORECAST_PLATFORM_LOOKBACK_YEARS": "3",
        "FORECAST_PLATFORM_START_DATE": "2017-07-01",
        "FORECAST_PLATFORM_N_PATHS": "200",
        "FORECAST_PLATFORM_MIN_FREE_GB": "0",
        "DAGSTER_HOME": str(root / "dagster"),
        "OMP_NUM_THREADS": "1",
    }


def _run(root: Path, changes: Environment) -> Made:
    """All commands, on the compute that `changes` name."""
    platform = Platform.from_settings(settings_for(root, models=MODELS))
    environment, made = {**_environment(root), **changes}, Made()
    for action, command in COMMANDS.items():
        done = subprocess.run(
            [sys.executable, "-m", "forecast_platform.cli", *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        made.told[action] = (done.returncode, done.stdout + done.stderr)
        made.tables[action] = {table.name: _rows(platform, table) for table in TABLES}
        if done.returncode:
            break
    shutil.rmtree(root / "dagster", ignore_errors=True)
    return made


def _local(root: Path) -> Iterator[Environment]:
    yield {"FORECAST_PLATFORM_COMPUTE": "local"}


def _sail(root: Path) -> Iterator[Environment]:
    yield {"FORECAST_PLATFORM_COMPUTE": "spark", "FORECAST_PLATFORM_SPARK__MASTER": "sail"}


def _jvm(root: Path) -> Iterator[Environment]:
    yield {"FORECAST_PLATFORM_COMPUTE": "spark", "FORECAST_PLATFORM_SPARK__MASTER": "local[2,4]"}


def _workspace(compute: str, root: Path) -> Iterator[Environment]:
    """A workspace on loopback that is deployed to; its clusters see the same files."""
    with Workspace(root / "databricks", environment={"OMP_NUM_THREADS": "1"}) as workspace:
        workspace.spark = False
        cluster = {
            name.removeprefix("FORECAST_PLATFORM_").lower(): value
            for name, value in _environment(root).items()
            if name.startswith("FORECAST_PLATFORM_")
        }
        (root / "cluster.yaml").write_text(yaml.safe_dump(cluster))
        changes = {
            "FORECAST_PLATFORM_COMPUTE": compute,
            "FORECAST_PLATFORM_SPARK__MASTER": "sail",
            "FORECAST_PLATFORM_DATABRICKS__CONFIG": str(root / "cluster.yaml"),
            "FORECAST_PLATFORM_DATABRICKS__POLL_SECONDS": "0.3",
            "DATABRICKS_HOST": workspace.host,
            "DATABRICKS_TOKEN": workspace.token,
        }
        deploy = [sys.executable, "-m", "forecast_platform.cli", "databricks", "deploy"]
        subprocess.run(deploy, env={**_environment(root), **changes}, check=True, capture_output=True, timeout=120)
        yield changes


COMPUTES: dict[str, Callable[[Path], Iterator[Environment]]] = {
    "local": _local,
    "sail": _sail,
    "jvm": _jvm,
    "step launcher": partial(_workspace, "databricks"),
    "Pipes serverless": partial(_workspace, "databricks_serverless"),
    "Pipes classic": partial(_workspace, "databricks_classic"),
}
"""Each compute: what must be there while the commands run, and the settings that choose it."""

_MARKS = {"sail": needs_sail, "jvm": needs_java, "step launcher": needs_sail}
_OTHERS = [pytest.param(name, marks=_MARKS.get(name, ())) for name in COMPUTES if name != "local"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The commands on a compute, run once a compute."""
    known: dict[str, Made] = {}

    def once(compute: str) -> Made:
        if compute not in known:
            root = tmp_path_factory.mktemp(compute.replace(" ", "_"))
            write_landing(root / "landing")
            serving = COMPUTES[compute](root)
            changes = next(serving)
            try:
                known[compute] = _run(root, changes)
            finally:
                serving.close()  # type: ignore[attr-defined]
        return known[compute]

    return once


@pytest.mark.parametrize("action", COMMANDS)
def test_the_local_compute_does_what_is_asked(ran: Callable[[str], Made], action: str) -> None:
    """What the others are held against is itself whole."""
    made = ran("local")
    assert made.told[action][0] == 0, made.told[action][1]
    after = made.tables[action]
    assert after[TRAINED_MODELS.name].num_rows == 2 * 2 * len(MODELS)
    keys = {"train": 0, "backfill": 21, "daily": 23}[action] * len(MODELS)
    forecasts = after[DISTRIBUTIONS.name].filter(~pc.field("is_actuals"))
    assert forecasts.num_rows == keys * 200
    assert after[POINT_FORECASTS.name].num_rows == keys * 14
    if action == "daily":
        assert dt.date(2018, 2, 28) in after[FORECAST_RUNS.name]["forecast_date"].to_pylist()


@pytest.mark.parametrize("action", COMMANDS)
@pytest.mark.parametrize("compute", _OTHERS)
def test_every_compute_leaves_the_same_tables(ran: Callable[[str], Made], compute: str, action: str) -> None:
    expected, made = ran("local"), ran(compute)
    assert action in made.told, made.told
    assert made.told[action][0] == 0, made.told[action][1]
    for name, rows in expected.tables[action].items():
        found = made.tables[action][name]
        assert found.num_rows == rows.num_rows, name
        differing = [column for column in rows.column_names if not found[column].equals(rows[column])]
        assert not differing, (name, differing)
