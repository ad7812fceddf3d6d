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
import re
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

from _clock import jump as jump_clock
from _commands import COMMANDS, EARLIER, WORKFLOW, beside, landing_span

OF_THE_MAKING = {
    *("scored_at", "updated_at", "inference_seconds", "training_seconds", "created_at", "mlflow_run_id", "valid_from"),
    *("started_at", "finished_at", "seconds", "cpu_seconds", "attempts", "fits", "run_id", "artifact_sha256"),
    *("generation_timestamp", "archived_at", "created_by", "by"),
}
"""Columns that say when, by whom and how fast something was made."""

MODELS = ("naive", "random_walk")

_TOOK = re.compile(r'"(cpu_seconds|seconds|fits|mlflow_run_id|sha256|registered)": [^,}]+')

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
    """One warehouse to break, and what commands leave in it undisturbed, which is looked up once for each."""

    root: Path
    work: Path
    """Where commands run, so that paths in what they leave are the same."""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By command: the tables' contents after it, and what it leaves beside them."""
    operations: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def copy(self, to: Path, name: str) -> Path:
        """A copy of the base at `to`, with something to do for the command `name`."""
        self.know(name)
        return self._copy(to, name)

    def know(self, name: str) -> None:
        """Look what the command `name` leaves undisturbed; what is in the place of work stays as it is."""
        if name in self.results:
            return
        held = self.work.with_name("held")
        if self.work.exists():
            self.work.rename(held)
        self._copy(self.work, name)
        started = time.perf_counter()
        self.operations[name] = _undisturbed(self.work, COMMANDS[name].arguments)["count"]
        self.seconds[name] = time.perf_counter() - started
        damaged, self.results[name] = apart(look, self.work)
        if damaged:
            sys.exit(f"{name} without a fault: {damaged[0]}")
        shutil.rmtree(self.work)
        if held.exists():
            held.rename(self.work)

    def _copy(self, to: Path, name: str) -> Path:
        """The base; prepared for the command once, since that may take commands of its own."""
        command = COMMANDS[name]
        ready = self.root.with_name("ready") / name
        if not ready.exists() and command.prepare is not None:
            shutil.rmtree(self.work, ignore_errors=True)
            shutil.copytree(self.root, self.work, symlinks=True)
            apart(command.prepare, self.work)
            for arguments in command.first:
                _undisturbed(self.work, arguments)
            ready.parent.mkdir(exist_ok=True)
            self.work.rename(ready)
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(ready if command.prepare is not None else self.root, to, symlinks=True)
        return to


def build(root: Path) -> World:
    """A small platform with forecasts, scores, champions and a backup."""
    from forecast_platform_tests.worlds import LAST, write_landing

    for name in COMMON:
        importlib.import_module(name)
    write_landing(root / "landing", span=landing_span(), last=LAST - dt.timedelta(days=2))
    champions = [("promote", "--commodity", "Alpha", "--model", model, "--why", "chaos", "--force") for model in MODELS]
    for arguments in (("backfill", "--train", *EARLIER), *champions, ("maintain",), ("backup", "{root}/base")):
        _undisturbed(root, arguments)
    return World(root, root.parent / "work")


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
              "MODELS": ",".join(MODELS), "LOOKBACK_YEARS": 1, "START_DATE": "2018-01-01", "MIN_FREE_GB": 0,
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
    """Run a command; die at file operation `die_at`, with a record of what was synced; jump the clock at `jump_at`."""
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
        if count == spec.get("jump_at"):
            jump_clock(spec["jump"])

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
            if event == "os.rename":
                _renamed(str(given[0]), str(given[1]), synced, folders)
            step()

    os.fsync = fsync
    sys.addaudithook(audit)
    code = command(spec["arguments"])
    ended()
    return code


def _where(there: Any, wanted: Any) -> str:
    """The first row that is another, by the columns in which it is."""
    if not isinstance(there, list) or len(there) != len(wanted):
        return ""
    one, other = next((one, other) for one, other in zip(there, wanted, strict=True) if one != other)
    if not isinstance(one, dict):
        return f": {one} in place of {other}"
    return ": " + ", ".join(f"{name} {one[name]!r:.80} in place of {other[name]!r:.80}"
                            for name in one if one[name] != other[name])  # fmt: skip


def _renamed(old: str, new: str, *known: dict[str, Any]) -> None:
    """What is known of a file, or of all that is in a folder, goes with it to its new name."""
    for one in known:
        for path in [path for path in one if path == old or path.startswith(f"{old}/")]:
            one[new + path[len(old) :]] = one.pop(path)


def look(root: Path) -> tuple[list[str], dict[str, Any]]:
    """What is damaged, each byte looked at; and every table's rows in the order of its key, but for what says when
    they were made."""
    from forecast_platform.ensembles.reading import read_workflow
    from forecast_platform.ensembles.store import states_table
    from forecast_platform.warehouse.damage import examine
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import CHAMPIONS, TABLES, TRAINED_MODELS

    warehouse, found = DeltaWarehouse(root / "warehouse"), dict[str, Any](beside(root))
    damaged = [str(one) for table in TABLES for one in examine(warehouse, table, deep=True)]
    if damaged:
        return damaged, {}
    tables = list(TABLES)
    if (root / WORKFLOW).is_file():
        tables.append(states_table(read_workflow((root / WORKFLOW).read_text()).context))
    for table in tables:
        rows = warehouse.read(table)
        if table is TRAINED_MODELS:  # a fit that was made again keeps the one before, inactive
            rows = rows.filter(rows["is_active"])
        rows = rows.drop_columns([name for name in rows.column_names if name in OF_THE_MAKING])
        rows = rows.sort_by([(name, "ascending") for name in table.key if name in rows.column_names])
        lines = rows.to_pylist()
        for line in lines:
            if line.get("result"):
                line["result"] = _TOOK.sub("", line["result"])
        found[table.short_name] = sorted({str(line) for line in lines}) if table is CHAMPIONS else lines
    return [], found


def check(world: World, work: Path, name: str, arguments: tuple[str, ...] | None = None) -> Iterator[str]:
    """Run the command again, and say what is not as after an undisturbed run."""
    command = COMMANDS[name]
    arguments = arguments or command.arguments
    if name == "backup":
        shutil.rmtree(Path(arguments[1].format(root=work)), ignore_errors=True)
    done = run(work, arguments)
    if done.returncode and "forecast-platform repair" in done.stderr + done.stdout:
        run(work, ("repair",))
        done = run(work, arguments)
    if done.returncode and not (command.done and command.done in done.stderr):
        yield f"STUCK: {name} again: {(done.stderr or done.stdout).strip()[-400:]}"
        return
    damaged, found = apart(look, work)
    if damaged:
        yield f"DIFFERS: {damaged[0]}"
        return
    for what, wanted in world.results[name].items():
        there = found.get(what)
        if there is None:
            yield f"LOST: {what}"
        elif isinstance(wanted, list) and len(there) < len(wanted):
            yield f"LOST: {what} holds {len(there)} of {len(wanted)} rows"
        elif there != wanted:
            yield f"DIFFERS: {what}{_where(there, wanted)}"
    for what in found.keys() - world.results[name].keys():
        yield f"DIFFERS: {what} is not left by an undisturbed run"
