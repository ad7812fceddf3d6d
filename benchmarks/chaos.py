"""Seeded faults against every command that writes; after each the command is run again and all is compared.

    python benchmarks/chaos.py [--faults 200] [--seed 1] [--only kill,power,damage,disk,clock]

kill: SIGKILL at a random file operation, or at a random moment, of a command. power: the same, and what was not synced
by then is lost: files are cut to what was synced of them, names that their folder was not synced for are gone (SQLite's
own files excepted: SQLite syncs them itself, and is asked whether it does by a test). damage: a file of a table, a log
entry, a checkpoint is emptied, cut, flipped or removed, then `repair`. disk: the file system (a tmpfs, where one may be
mounted) fills up during a command. clock: the clock jumps by days in the middle. After each the command is run again;
then every table must hold what an undisturbed run leaves, every byte must be what was written, and no command may be
refused. A fault has a number, and the same seed gives the same ones but for the moments.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("kill", "power", "damage", "disk", "clock")
SPAN = ("--start-date", "2018-03-15", "--end-date", "2018-03-24")
EARLIER = ("--start-date", "2018-03-08", "--end-date", "2018-03-14")
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


@dataclass
class World:
    """One warehouse to break, and what commands leave in it undisturbed."""

    root: Path
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By command: the tables' contents after it."""
    operations: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def copy(self, to: Path) -> Path:
        """A copy of the base, at `to`."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.root, to, symlinks=True)
        return to


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, comma-separated")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if kind in options.only.split(",")]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        if "disk" in kinds and not _mountable(Path(folder)):
            print("disk: left out, no file system can be mounted here")
            kinds.remove("disk")
        world = build(Path(folder) / "world")
        wrong: list[str] = []
        counts: Counter[str] = Counter()
        for number in range(options.faults):
            rng = random.Random(f"{options.seed}/{number}")
            kind = kinds[number % len(kinds)]
            what, faults = FAULTS[kind](world, Path(folder) / "work", rng)
            counts[kind] += 1
            wrong += [f"fault {number} ({kind}: {what}): {text}" for text in faults]
            print(f"{number:>4} {kind:<7}{what}: {'; '.join(faults) or 'as undisturbed'}", flush=True)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    lost, silent, stuck = (sum(word in text for text in wrong) for word in ("LOST", "DIFFERS", "STUCK"))
    print(f"{options.faults} faults of seed {options.seed} ({told}): lost rows {lost}, silent differences {silent}, "
          f"stuck states {stuck}")  # fmt: skip
    sys.exit(1 if wrong else 0)


def build(root: Path) -> World:
    """A small platform with forecasts, scores and a backup, and each command's undisturbed result."""
    from forecast_platform_tests.worlds import write_landing

    write_landing(root / "landing")
    for arguments in (("backfill", "--train", *EARLIER), ("maintain",), ("backup", "{root}/base")):
        done = run(root, arguments)
        if done.returncode:
            sys.exit(f"{arguments[0]} without a fault: {done.stderr[-2000:]}")
    world = World(root)
    work = root.parent / "undisturbed"
    for name, arguments in COMMANDS.items():
        world.copy(work)
        started = time.perf_counter()
        done = run(work, arguments, record=work / "operations.json")
        if done.returncode:
            sys.exit(f"{name} without a fault: {done.stderr[-2000:]}")
        world.seconds[name] = time.perf_counter() - started
        world.operations[name] = json.loads((work / "operations.json").read_text())["count"]
        world.results[name] = contents(work)
    shutil.rmtree(work)
    return world


def environment(root: Path) -> dict[str, str]:
    values = {"SOURCE": "landing", "LANDING": root / "landing", "WAREHOUSE": root / "warehouse", "N_PATHS": 100,
              "MODELS": "naive,random_walk", "LOOKBACK_YEARS": 3, "START_DATE": "2018-01-01", "MIN_FREE_GB": 0,
              "WORKERS": 1, "AUTOMATION": "false"}  # fmt: skip
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("FORECAST_PLATFORM_", "DAGSTER_"))}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**kept, **threads, **{f"FORECAST_PLATFORM_{name}": str(value) for name, value in values.items()}}


def run(root: Path, arguments: tuple[str, ...], **spec: Any) -> subprocess.CompletedProcess[str]:
    """One command on the platform in `root`, in a process of its own; `spec` says what befalls it."""
    asked = {"arguments": [one.format(root=root) for one in arguments], "root": str(root)}
    asked |= {name: str(value) if isinstance(value, Path) else value for name, value in spec.items()}
    command = [sys.executable, __file__, "--child", json.dumps(asked)]
    # Files, because a pipe is read until whoever inherited it has ended, too.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment(root), stdout=out, stderr=said)
        try:
            process.wait(timeout=spec.get("seconds", 900))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        texts = []
        for stream in (out, said):
            stream.seek(0)
            texts.append(stream.read())
    return subprocess.CompletedProcess(command, process.returncode, *texts)


def child(spec: dict[str, Any]) -> None:
    """Run a command; die at file operation `die_at`, with a record of what was synced; jump the clock half-way."""
    from forecast_platform.cli.main import main as command

    root, count, synced, folders = spec["root"], 0, {}, {}
    real = os.fsync

    def ended() -> None:
        if "record" in spec:
            Path(spec["record"]).write_text(json.dumps({"count": count, "synced": synced, "folders": folders}))

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
        import datetime as dt

        from forecast_platform.settings import root as settings_root

        began = time.perf_counter()
        settings_root._system_clock = lambda: (
            dt.datetime.now(dt.timezone.utc)
            + (dt.timedelta(days=jump) if time.perf_counter() - began > spec["after"] else dt.timedelta())
        )
    code = command(spec["arguments"])
    ended()
    sys.exit(code)


def contents(root: Path) -> dict[str, Any]:
    """Every table's rows in the order of its key, but for what says when they were made."""
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import CHAMPIONS, TABLES, TRAINED_MODELS

    warehouse, found = DeltaWarehouse(root / "warehouse"), {}
    for table in TABLES:
        rows = warehouse.read(table)
        if table is TRAINED_MODELS:  # a fit that was made again keeps the one before, inactive
            rows = rows.filter(rows["is_active"])
        rows = rows.drop_columns([name for name in rows.column_names if name in OF_THE_MAKING])
        rows = rows.sort_by([(name, "ascending") for name in table.key if name in rows.column_names])
        lines = rows.to_pylist()
        found[table.short_name] = sorted({str(line) for line in lines}) if table is CHAMPIONS else lines
    return found


def check(world: World, work: Path, name: str, expected: str | None = None) -> Iterator[str]:
    """Run the command again, and say what is not as after an undisturbed run."""
    from forecast_platform.warehouse.damage import examine
    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import TABLES

    shutil.rmtree(work / "saved", ignore_errors=True) if name == "backup" else None
    done = run(work, COMMANDS[name])
    if done.returncode and "forecast-platform repair" in done.stderr + done.stdout:
        run(work, ("repair",))
        done = run(work, COMMANDS[name])
    if done.returncode and not (name == "promote" and "is the champion" in done.stderr):
        yield f"STUCK: {name} again: {(done.stderr or done.stdout).strip()[-400:]}"
        return
    damaged = [one for table in TABLES for one in examine(DeltaWarehouse(work / "warehouse"), table, deep=True)]
    if damaged:
        yield f"DIFFERS: {damaged[0]}"
        return
    for table, rows in contents(work).items():
        wanted = world.results[expected or name][table]
        if len(rows) < len(wanted):
            yield f"LOST: {table} holds {len(rows)} of {len(wanted)} rows"
        elif rows != wanted:
            yield f"DIFFERS: {table}"


def kill(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """SIGKILL at a file operation, or at a moment."""
    name = rng.choice(list(COMMANDS))
    world.copy(work)
    if rng.random() < 0.5:
        at = rng.randint(1, world.operations[name])
        run(work, COMMANDS[name], die_at=at)
        what = f"{name} at operation {at} of {world.operations[name]}"
    else:
        seconds = rng.uniform(0.3, 1.0) * world.seconds[name]
        run(work, COMMANDS[name], seconds=seconds)
        what = f"{name} after {seconds:.1f} s"
    return what, list(check(world, work, name))


def power(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """A kill, and the loss of what was not synced."""
    name = rng.choice([one for one in COMMANDS if one not in ("repair",)])
    world.copy(work)
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    at = rng.randint(1, world.operations[name])
    record = work.with_name("record.json")
    record.unlink(missing_ok=True)
    run(work, COMMANDS[name], die_at=at, record=record)
    lost = _lose(
        work, before, json.loads(record.read_text()) if record.exists() else {"synced": {}, "folders": {}}, rng
    )
    return f"{name} at operation {at}, {lost} files lost or cut", list(check(world, work, name))


def _lose(work: Path, before: dict[Path, int], known: dict[str, Any], rng: random.Random) -> int:
    lost = 0
    for path in sorted(work.rglob("*")):
        if not path.is_file() or before.get(path) == path.stat().st_mtime_ns or ".db" in path.suffix:
            continue
        if path.suffix == ".lock" or path.name.startswith("."):
            continue
        size = known["synced"].get(str(path))
        named = path.name in known["folders"].get(str(path.parent), ())
        if size is not None and named and size == path.stat().st_size:
            continue
        lost += 1
        if not named and rng.random() < 0.5:
            path.unlink()
        elif size is None or size < path.stat().st_size:
            os.truncate(path, size or 0)
    return lost


def damage(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """A file of a table that is no longer what was written; then repair, and the next command."""
    from forecast_platform.warehouse.schemas import CHAMPIONS, DISTRIBUTIONS_ARCHIVE, TABLES, TRAINED_MODELS

    world.copy(work)
    spared = (TRAINED_MODELS, CHAMPIONS, DISTRIBUTIONS_ARCHIVE)
    files: list[Path] = []
    for table in TABLES:
        folder = work.joinpath("warehouse", *table.name.split("."))
        files += sorted((folder / "_delta_log").glob("*"))
        if table not in spared:  # those come back from a backup alone
            files += sorted(folder.rglob("*.parquet"))
    path = rng.choice([path for path in dict.fromkeys(files) if path.is_file()])
    how = rng.choice(["emptied", "cut", "flipped", "removed"])
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "flipped":
        at = rng.randrange(len(content))
        path.write_bytes(content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 64]) + content[at + 64 :])
    else:
        path.write_bytes(content[: 0 if how == "emptied" else rng.randrange(len(content))])
    done = run(work, ("repair",))
    faults = [f"STUCK: repair: {done.stderr.strip()[-400:]}"] if done.returncode else []
    return f"{path.relative_to(work / 'warehouse')} {how}", faults or list(check(world, work, "backfill"))


def disk(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """The file system fills up at a random write; then there is room again."""
    name = rng.choice(["backfill", "train", "infer", "maintain", "promote"])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    room = rng.randint(0, 3_000_000)
    with _small_disk(work) as resize:
        shutil.copytree(world.root, work, dirs_exist_ok=True)
        used = shutil.disk_usage(work).used
        resize(used + room)
        done = run(work, COMMANDS[name])
        resize(used + 500_000_000)
        faults = list(check(world, work, name))
    last = done.stderr.strip().splitlines()[-1:]
    if done.returncode and "Traceback" in done.stderr and not (last and last[0].startswith("forecast-platform: ")):
        faults.append(f"STUCK: a traceback in place of a line: {done.stderr.strip()[-300:]}")
    return f"{name} with {room:,} bytes left: exit {done.returncode}", faults


@contextmanager
def _small_disk(folder: Path) -> Iterator[Callable[[int], None]]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)], check=True)

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mountable(folder: Path) -> bool:
    probe = folder / "probe"
    probe.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)], capture_output=True
        ).returncode
    ):
        return False
    subprocess.run(["umount", "-l", str(probe)], check=True)
    return True


def clock(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """The clock jumps by days in the middle of a command."""
    name = rng.choice(["backfill", "infer", "train", "promote"])
    days = rng.choice([-400, -30, -1, 1, 30, 400])
    world.copy(work)
    after = rng.uniform(0, 0.5) * world.seconds[name]
    run(work, COMMANDS[name], jump=days, after=after)
    return f"{name}, {days:+d} days", list(check(world, work, name))


FAULTS: dict[str, Callable[[World, Path, random.Random], tuple[str, list[str]]]] = {
    "kill": kill, "power": power, "damage": damage, "disk": disk, "clock": clock
}  # fmt: skip

if __name__ == "__main__":
    main()
