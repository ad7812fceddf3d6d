"""A small platform to break: commands in processes of their own, what they leave undisturbed, and how that is compared.

Each command runs in a process that is forked from this one, which has imported what commands import and built the
exchange's calendar, but has opened nothing: a process that is killed is a process, whether or not it began with an
interpreter's start, and that start is most of a short command's time.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPAN = ("--start-date", "2018-03-15", "--end-date", "2018-03-20")
EARLIER = ("--start-date", "2018-03-11", "--end-date", "2018-03-14")
COMMANDS: dict[str, tuple[str, ...]] = {
    "backfill": ("backfill", *SPAN),
    "train": ("train", *EARLIER, "--models", "naive", "--overwrite"),
    "infer": ("infer", "--date", "2018-03-15"),
    "maintain": ("maintain",),
    "backup": ("backup", "{root}/saved"),
    "restore": ("restore", "{root}/base", "--force"),
    "promote": ("promote", "--commodity", "Alpha", "--model", "naive", "--why", "chaos", "--force"),
    "repair": ("repair",),
}
OF_THE_MAKING = {
    *("scored_at", "updated_at", "inference_seconds", "training_seconds", "created_at", "mlflow_run_id", "valid_from"),
    *("generation_timestamp", "archived_at", "created_by", "by"),
}
"""Columns that say when, by whom and how fast something was made."""

COMMON = ("forecast_platform.cli.main", "forecast_platform.definitions", "forecast_platform.housekeeping.repair")
LIBRARIES = {"forecast_platform", "dagster", "deltalake", "pyarrow", "pandas", "sqlalchemy", "alembic", "mlflow"}

HARMLESS = {"jemalloc_bg_thd", "polars-ooc-clea"}
"""Threads that allocators and polars start at import, and that a fork does without."""

FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Done:
    """What a command came to; the code is negative where a signal ended it."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class World:
    """One warehouse to break, and what commands leave in it undisturbed."""

    root: Path
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By command: the tables' contents after it."""
    operations: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def copy(self, to: Path, name: str) -> Path:
        """A copy of the base at `to`, for the command `name`: one that is to be repaired has something to repair."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.root, to, symlinks=True)
        if name == "repair":
            tables = to / "warehouse" / "commodity" / "forecast"
            first = sorted((tables / "distributions").rglob("*.parquet"))[0]
            first.write_bytes(first.read_bytes()[:100])
            sorted((tables / "point_forecasts").rglob("*.parquet"))[0].unlink()
            sorted((tables / "forecast_metadata" / "_delta_log").glob("*.json"))[-1].write_bytes(b"")
        return to


def build(root: Path) -> World:
    """A small platform with forecasts, scores and a backup, and each command's undisturbed result."""
    from forecast_platform_tests.worlds import LAST, write_landing

    for name in COMMON:
        importlib.import_module(name)
    write_landing(root / "landing", span=(dt.date(2016, 12, 1), LAST))
    for arguments in (("backfill", "--train", *EARLIER), ("maintain",), ("backup", "{root}/base")):
        _undisturbed(root, arguments)
    world, work = World(root), root.parent / "work"
    for name, arguments in COMMANDS.items():
        world.copy(work, name)
        started = time.perf_counter()
        world.operations[name] = _undisturbed(work, arguments)["count"]
        world.seconds[name] = time.perf_counter() - started
        _, world.results[name] = apart(look, work)
    return world


def _undisturbed(root: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Run a command without a fault, and import here what it imported, so that those after it need not."""
    record = root.parent / "record.json"
    done = run(root, arguments, record=record)
    if done.returncode:
        sys.exit(f"{arguments[0]} without a fault: {done.stderr[-2000:]}")
    known: dict[str, Any] = json.loads(record.read_text())
    for name in known["modules"]:
        if name.split(".")[0] in LIBRARIES:
            with suppress(ImportError):
                importlib.import_module(name)
    from forecast_platform.sources import calendars

    calendars.sessions("XNYS", dt.date(2016, 1, 1), dt.date(2029, 1, 1))
    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    if others := threads - {Path("/proc/self/comm").read_text().strip(), *HARMLESS}:
        sys.exit(f"threads in the process that is forked, which a fork would not have: {', '.join(sorted(others))}")
    return known


def environment(root: Path) -> dict[str, str]:
    values = {"SOURCE": "landing", "LANDING": root / "landing", "WAREHOUSE": root / "warehouse", "N_PATHS": 100,
              "MODELS": "naive,random_walk", "LOOKBACK_YEARS": 1, "START_DATE": "2018-01-01", "MIN_FREE_GB": 0,
              "WORKERS": 1, "AUTOMATION": "false", "RETRY_MINUTES": 0}  # fmt: skip
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("FORECAST_PLATFORM_", "DAGSTER_"))}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**kept, **threads, **{f"FORECAST_PLATFORM_{name}": str(value) for name, value in values.items()}}


def run(root: Path, arguments: tuple[str, ...], seconds: float = 900, **spec: Any) -> Done:
    """One command on the platform in `root`, in a process of its own; `spec` says what befalls it, and it is killed
    after `seconds`."""
    asked = {"arguments": [one.format(root=root) for one in arguments], "root": str(root), **spec}
    # Files, because a pipe is read until whoever inherited it has ended, too.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        process = FORK.Process(target=_child, args=(asked, out.fileno(), said.fileno()))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
        texts = []
        for stream in (out, said):
            stream.seek(0)
            texts.append(stream.read())
    return Done(process.exitcode or 0, *texts)


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, asked in a process of its own: this one opens no table."""
    with tempfile.TemporaryFile(buffering=0) as answer:
        process = FORK.Process(target=lambda: answer.write(pickle.dumps(function(*arguments))))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{function.__name__}{arguments}: exit code {process.exitcode}")
        answer.seek(0)
        return pickle.load(answer)


def _child(spec: dict[str, Any], out: int, said: int) -> None:
    from forecast_platform.settings.loading import load

    os.dup2(out, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    given = environment(Path(spec["root"]))
    os.environ.clear()
    os.environ.update(given)
    load.cache_clear()
    try:
        code = _command(spec)
    except BaseException:  # noqa: BLE001 - as an interpreter tells it
        traceback.print_exc()
        code = 1
    sys.exit(code)


def _command(spec: dict[str, Any]) -> int:
    """Run a command; die at file operation `die_at`, with a record of what was synced; jump the clock in the middle."""
    from forecast_platform.cli.main import main as command

    root, count, synced, folders = spec["root"], 0, {}, {}
    real = os.fsync

    def ended() -> None:
        if "record" in spec:
            known = {"count": count, "synced": synced, "folders": folders, "modules": sorted(sys.modules)}
            Path(spec["record"]).write_text(json.dumps(known))

    def step() -> None:
        nonlocal count
        count += 1
        if count == spec.get("die_at"):
            ended()
            os.kill(os.getpid(), signal.SIGKILL)

    def fsync(handle: int) -> None:
        step()
        path = Path(f"/proc/self/fd/{handle}").readlink()
        real(handle)
        if path.is_relative_to(root):
            if path.is_dir():
                folders[str(path)] = sorted(one.name for one in path.iterdir())
            else:
                synced[str(path)] = os.fstat(handle).st_size

    def audit(event: str, given: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree") and root in str(given):
            if event == "os.rename" and str(given[0]) in synced:
                synced[str(given[1])] = synced.pop(str(given[0]))
            step()

    os.fsync = fsync
    sys.addaudithook(audit)
    if jump := spec.get("jump"):
        from forecast_platform.settings import root as settings_root

        began = time.perf_counter()
        settings_root._system_clock = lambda: (
            dt.datetime.now(dt.timezone.utc)
            + (dt.timedelta(days=jump) if time.perf_counter() - began > spec["after"] else dt.timedelta())
        )
    code = command(spec["arguments"])
    ended()
    return code


def look(root: Path) -> tuple[list[str], dict[str, Any]]:
    """What is damaged, each byte looked at; and every table's rows in the order of its key, but for what says when
    they were made."""
    from forecast_platform.warehouse.damage import examine
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import CHAMPIONS, TABLES, TRAINED_MODELS

    warehouse, found = DeltaWarehouse(root / "warehouse"), {}
    damaged = [str(one) for table in TABLES for one in examine(warehouse, table, deep=True)]
    if damaged:
        return damaged, {}
    for table in TABLES:
        rows = warehouse.read(table)
        if table is TRAINED_MODELS:  # a fit that was made again keeps the one before, inactive
            rows = rows.filter(rows["is_active"])
        rows = rows.drop_columns([name for name in rows.column_names if name in OF_THE_MAKING])
        rows = rows.sort_by([(name, "ascending") for name in table.key if name in rows.column_names])
        lines = rows.to_pylist()
        found[table.short_name] = sorted({str(line) for line in lines}) if table is CHAMPIONS else lines
    return [], found


def check(world: World, work: Path, name: str, command: tuple[str, ...] | None = None) -> Iterator[str]:
    """Run the command again, and say what is not as after an undisturbed run."""
    command = command or COMMANDS[name]
    shutil.rmtree(Path(command[1].format(root=work)), ignore_errors=True) if name == "backup" else None
    done = run(work, command)
    if done.returncode and "forecast-platform repair" in done.stderr + done.stdout:
        run(work, ("repair",))
        done = run(work, command)
    if done.returncode and not (name == "promote" and "is the champion" in done.stderr):
        yield f"STUCK: {name} again: {(done.stderr or done.stdout).strip()[-400:]}"
        return
    damaged, found = apart(look, work)
    if damaged:
        yield f"DIFFERS: {damaged[0]}"
        return
    for table, rows in found.items():
        wanted = world.results[name][table]
        if len(rows) < len(wanted):
            yield f"LOST: {table} holds {len(rows)} of {len(wanted)} rows"
        elif rows != wanted:
            yield f"DIFFERS: {table}"
