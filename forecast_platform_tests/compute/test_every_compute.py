"""One suite over every compute: the same commands leave the same tables, to the bit, wherever the work is done."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from forecast_platform.warehouse.schemas import (
    DISTRIBUTIONS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    POINT_FORECASTS,
    TRAINED_MODELS,
    UNIFIED_DATA,
    Table,
)
from forecast_platform.work.platform import Platform
from forecast_platform_tests.compute.computes import COMPUTES, MODELS, SERIES, Serving, environment_of
from forecast_platform_tests.compute.engines import needs_java, needs_sail
from forecast_platform_tests.forked import Command
from forecast_platform_tests.worlds import settings_for, with_bars, write_landing

pytestmark = pytest.mark.slow

COMMANDS = {
    "train": ("train", "--start-date", "2017-07-01", "--end-date", "2018-02-28"),
    "backfill": ("backfill", "--commodity", "Alpha", "--start-date", "2017-12-21", "--end-date", "2018-01-10"),
    "daily": ("infer", "--date", "2018-02-28"),
}
"""In this order, each over what the one before left: two windows, a range over their boundary, one day of both."""

STEPS = {"train": 2, "backfill": 1, "daily": 2}
"""Fits or forecasts of a series by one model; each is at least one remote run, or plan, of its own."""
SHIPPED = {**STEPS, "daily": 1}
"""What the step launcher ships: a day's step forecasts all series by a model."""

TABLES = (UNIFIED_DATA, TRAINED_MODELS, DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA, FORECAST_RUNS)
OF_THE_RUN = {
    *("created_at", "created_by", "generation_timestamp", "updated_at", "scored_at"),
    *("training_seconds", "inference_seconds", "mlflow_run_id", "fitted_model_s3_path"),
}
"""What differs between two runs of the same work: clocks, accounts, timings, and where files are kept."""


@dataclass
class Made:
    """What the commands left: each one's exit code and output, and the tables after it."""

    models: tuple[str, ...]
    told: dict[str, tuple[int, str]] = field(default_factory=dict)
    worked: dict[str, int] = field(default_factory=dict)
    """Work that the compute itself did, as it counts it: remote runs, or plans that reached an engine."""
    tables: dict[str, dict[str, pa.Table]] = field(default_factory=dict)


def _rows(platform: Platform, table: Table) -> pa.Table:
    rows = platform.warehouse.read(table)
    rows = rows.drop_columns([name for name in rows.column_names if name in OF_THE_RUN])
    return rows.sort_by([(name, "ascending") for name in table.key if name in rows.column_names]).combine_chunks()


def _run(root: Path, serving: Serving) -> Made:
    """All commands, on a compute that is ready."""
    platform = Platform.from_settings(settings_for(root, models=serving.models, series=SERIES, **serving.tables))
    environment = {**environment_of(root, serving.models), **serving.environment}
    made, printed, before = Made(serving.models), "", 0
    for action, command in COMMANDS.items():
        done = Command(*command, env=environment)
        told = done.told(900)
        made.told[action] = (done.wait(), told)
        printed += made.told[action][1]
        until_now = serving.worked(printed)
        made.worked[action], before = until_now - before, until_now
        made.tables[action] = {table.name: _rows(platform, table) for table in TABLES}
        if made.told[action][0]:
            break
    shutil.rmtree(root / "dagster", ignore_errors=True)
    return made


def _needs(compute: str) -> Any:
    """The mark of a compute that is skipped where its engine is not installed."""
    if compute == "jvm":
        return needs_java
    return needs_sail if compute == "sail" or compute.startswith("step launcher") or "Unity" in compute else ()


_OTHERS = [pytest.param(name, marks=_needs(name)) for name in COMPUTES if name != "local"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """The commands on a compute, run once a compute; the local one with these models."""
    known: dict[tuple[str, ...], Made] = {}

    def once(compute: str, *models: str) -> Made:
        if (compute, *models) not in known:
            root = tmp_path_factory.mktemp(compute.replace(" ", "_"))
            write_landing(root / "landing")
            with_bars(root / "landing" / "market" / "alpha.csv")
            with COMPUTES[compute](root) as serving:
                known[(compute, *models)] = _run(root, replace(serving, models=models) if models else serving)
        return known[(compute, *models)]

    return once


@pytest.mark.parametrize("action", COMMANDS)
def test_the_local_compute_does_what_is_asked(ran: Callable[..., Made], action: str) -> None:
    """What the others are held against is itself whole."""
    made = ran("local", *MODELS)
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
def test_every_compute_leaves_the_same_tables(ran: Callable[..., Made], compute: str, action: str) -> None:
    made = ran(compute)
    expected = ran("local", *made.models)
    assert action in made.told, made.told
    assert made.told[action][0] == 0, made.told[action][1]
    for name, rows in expected.tables[action].items():
        found = made.tables[action][name]
        assert found.num_rows == rows.num_rows, name
        differing = [column for column in rows.column_names if not found[column].equals(rows[column])]
        assert not differing, (name, differing)


@pytest.mark.parametrize("action", COMMANDS)
@pytest.mark.parametrize("compute", _OTHERS)
def test_every_compute_does_the_work_itself(ran: Callable[..., Made], compute: str, action: str) -> None:
    """The same tables would be there too if the command had quietly worked in its own process."""
    made = ran(compute)
    assert action in made.worked, made.told
    least = SHIPPED if compute.startswith("step launcher") else STEPS
    assert made.worked[action] >= len(made.models) * least[action], (made.worked, made.told[action][1][-2000:])
