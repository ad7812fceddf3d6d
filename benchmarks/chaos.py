"""Seeded faults against every command that writes; after each the command is run again and all is compared.

    python benchmarks/chaos.py [--faults 200] [--seed 1] [--only kill,power,damage,disk,clock] [--first NUMBER]

kill: SIGKILL at a random file operation, or at a random moment, of a command. power: the same, and what was not synced
by then is lost: files are cut to what was synced of them, names that their folder was not synced for are gone (SQLite's
own files excepted: SQLite syncs them itself, and is asked whether it does by a test). damage: a file is emptied, cut,
flipped, removed or replaced by another: of a table, its log or the journal, then `repair`; a database or the
configuration of Dagster or MLflow, which is to be named and left until the right one is put back; of the backup, which
is to be refused. disk: the file system (a tmpfs, where one may be mounted) fills up during a command. clock: the
system's clock (`_clock.py`) jumps by an hour to 400 days in the middle. After each the command is run again; then every
table must hold what an undisturbed run leaves, every byte must be what was written, what is left beside the tables must
be whole, and no command may be refused. The commands are those of `_commands.py`. A fault has a number, and the same
seed gives the same ones but for the moments.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _clock
from _breakable import World, build, check, run
from _commands import COMMANDS

KINDS = ("kill", "power", "damage", "disk", "clock")

CHOSEN: set[str] = set()
"""Commands to break; all where empty."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, comma-separated")
    parser.add_argument("--first", type=int, default=0, help="the number to begin with, such as one that went wrong")
    parser.add_argument("--commands", default="", help="commands to break, comma-separated (default: all)")
    options = parser.parse_args()
    CHOSEN.update(filter(None, options.commands.split(",")))
    if unknown := CHOSEN - COMMANDS.keys():
        sys.exit(f"--commands {', '.join(sorted(unknown))}: there are {', '.join(COMMANDS)}")
    kinds = [kind for kind in KINDS if kind in options.only.split(",")]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        if "disk" in kinds and not _mountable(Path(folder)):
            print("disk: left out, no file system can be mounted here")
            kinds.remove("disk")
        if "clock" in kinds and not _clock.ready(Path(folder)):
            print("clock: left out, there is no C compiler to build what the system's clock is replaced by")
            kinds.remove("clock")
        world = build(Path(folder) / "world")
        wrong: list[str] = []
        counts: Counter[str] = Counter()
        for number in range(options.first, options.first + options.faults):
            rng = random.Random(f"{options.seed}/{number}")
            kind = kinds[number % len(kinds)]
            what, faults = FAULTS[kind](world, Path(folder) / "work", rng)
            counts[kind] += 1
            wrong += [f"fault {number} ({kind}: {what}): {text}" for text in faults]
            print(f"{number:>4} {kind:<7}{what}: {'; '.join(faults) or 'as undisturbed'}", flush=True)
    _clock.done()
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    lost, silent, stuck = (sum(word in text for text in wrong) for word in ("LOST", "DIFFERS", "STUCK"))
    spent = os.times()
    print(f"{options.faults} faults of seed {options.seed} ({told}): lost rows {lost}, silent differences {silent}, "
          f"stuck states {stuck}; {sum(spent[:4]):.0f} s of processor time")  # fmt: skip
    sys.exit(1 if wrong else 0)


def kill(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """SIGKILL at a file operation, or at a moment."""
    name, arguments = _drawn(rng)
    world.copy(work, name)
    if rng.random() < 0.5:
        at = rng.randint(1, world.operations[name])
        run(work, arguments, die_at=at)
        what = f"{name} at operation {at} of {world.operations[name]}"
    else:
        seconds = rng.uniform(0.1, 1.0) * world.seconds[name]
        run(work, arguments, seconds=seconds)
        what = f"{name} after {seconds:.1f} s"
    return what, list(check(world, work, name))


def power(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """A kill, and the loss of what was not synced."""
    name, arguments = _drawn(rng)
    world.copy(work, name)
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    at = rng.randint(1, world.operations[name])
    record = work.with_name("record.json")
    record.unlink(missing_ok=True)
    run(work, arguments, die_at=at, record=str(record))
    known = json.loads(record.read_text()) if record.exists() else {"synced": {}, "folders": {}}
    lost = _lose(work, before, known, rng)
    return f"{name} at operation {at}, {lost} files lost or cut", list(check(world, work, name))


def _drawn(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    name = rng.choice([name for name in COMMANDS if name in CHOSEN] if CHOSEN else list(COMMANDS))
    return name, COMMANDS[name].arguments


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
    """A file that is no longer what was written."""
    world.copy(work, "backfill")
    return rng.choice([_of_a_table, _of_a_table, _of_a_table, _of_records, _of_the_backup])(world, work, rng)


def _of_a_table(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """Then repair (with the backup, for what comes from there alone), and the next command."""
    from forecast_platform.warehouse.schemas import CHAMPIONS, DISTRIBUTIONS_ARCHIVE, TABLES, TRAINED_MODELS

    files: list[Path] = sorted((work / "warehouse" / "_journal").rglob("*"))
    for table in TABLES:
        folder = work.joinpath("warehouse", *table.name.split("."))
        files += sorted((folder / "_delta_log").glob("*"))
        files += sorted(folder.rglob("*.parquet"))
    path = rng.choice([path for path in dict.fromkeys(files) if path.is_file()])
    how = _harm(path, rng)
    kept = any(path.is_relative_to(work.joinpath("warehouse", *table.name.split(".")))
               for table in (TRAINED_MODELS, CHAMPIONS, DISTRIBUTIONS_ARCHIVE))  # fmt: skip
    done = run(work, ("repair", "--backup", "{root}/base") if kept else ("repair",))
    faults = [f"STUCK: repair: {done.stderr.strip()[-400:]}"] if done.returncode else []
    return f"{path.relative_to(work / 'warehouse')} {how}", faults or list(check(world, work, "backfill"))


def _of_records(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """The command names the file and leaves it as it is (MLflow's costs a link); then the right one is put back."""
    home = work / "warehouse" / "_dagster"
    mlflow = work / "warehouse" / "_mlflow" / "mlflow.db"
    path = rng.choice([mlflow, home / "dagster.yaml", home / "history" / "runs.db", home / "history/runs/index.db"])
    right = path.read_bytes()
    how = rng.choice(["emptied", "foreign"])
    path.write_bytes(b"" if how == "emptied" else b"- of another program\n")
    for log in path.parent.glob(f"{path.name}-*"):
        log.unlink()
    wrong, faults = path.read_bytes(), []
    world.know("train")
    done = run(work, COMMANDS["train"].arguments)
    if path.name not in done.stderr + done.stdout:
        faults.append(f"DIFFERS: {path.name} {how} is not named: {(done.stderr or done.stdout).strip()[-300:]}")
    if bool(done.returncode) != (path is not mlflow):
        faults.append(f"STUCK: {path.name} {how}: train ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    if not path.exists() or path.read_bytes() != wrong:
        faults.append(f"DIFFERS: {path.name} {how} was replaced")
    path.write_bytes(right)
    return f"{path.relative_to(work / 'warehouse')} {how}", faults or list(check(world, work, "train"))


def _of_the_backup(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """It is refused by name, before anything is touched; then it is whole again."""
    path = rng.choice([path for path in sorted((work / "base").rglob("*")) if path.is_file() and path.stat().st_size])
    right = path.read_bytes()
    how = _harm(path, rng)
    world.know("restore")
    done = run(work, COMMANDS["restore"].arguments)
    faults = []
    if not done.returncode or path.name not in done.stderr:
        faults.append(f"DIFFERS: {path.name} {how} was restored: {done.stderr.strip()[-300:]}")
    if any(work.glob("warehouse.before-restore-*")):
        faults.append(f"DIFFERS: the warehouse was exchanged for a backup whose {path.name} is {how}")
    path.write_bytes(right)
    return f"{path.relative_to(work)} {how}", faults or list(check(world, work, "restore"))


def _harm(path: Path, rng: random.Random) -> str:
    how = rng.choice(["emptied", "cut", "flipped", "removed"])
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "flipped":
        at = rng.randrange(max(1, len(content)))
        path.write_bytes(content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 64]) + content[at + 64 :])
    else:
        path.write_bytes(content[: 0 if how == "emptied" else rng.randrange(max(1, len(content)))])
    return how


PLACES: dict[str, tuple[str, ...]] = {
    ".": tuple(COMMANDS),
    "warehouse/_dagster": ("train", "infer", "ingest", "quickstart", "ensemble"),
    "warehouse/commodity": ("backfill", "infer", "ingest", "train", "promote", "rollback", "migrate", "quickstart"),
    "warehouse/_journal": ("infer", "promote", "rollback", "migrate"),
    "warehouse/_reports": ("infer", "backfill", "evaluate", "daily-page", "ensemble"),
    "warehouse/_mlflow": ("train", "ensemble"),
    "to": ("backup",),
}
"""Folders that are a file system of their own while it fills up, and commands that write there."""


def disk(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """The file system fills up at a random write; then there is room again."""
    there = {place: [name for name in names if not CHOSEN or name in CHOSEN] for place, names in PLACES.items()}
    place = rng.choice([place for place, names in there.items() if names])
    name = rng.choice(there[place])
    arguments = ("backup", "{root}/to/saved") if place == "to" else COMMANDS[name].arguments
    aside, folder = work.with_name("aside"), work / place
    world.copy(aside, name)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(aside, work, symlinks=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)  # `quickstart` begins without a warehouse
    room = rng.randint(0, 1_000_000 if place == "." else 200_000)
    with _small_disk(folder) as resize:
        if (aside / place).is_dir():
            shutil.copytree(aside / place, folder, dirs_exist_ok=True)
        used = shutil.disk_usage(folder).used
        resize(used + room)
        done = run(work, arguments)
        resize(used + 500_000_000)
        faults = list(check(world, work, name, arguments))
    said = done.stderr + done.stdout
    told = [line for line in said.splitlines() if "free some space" in line and str(folder.resolve()) in line]
    if done.returncode and not told:
        faults.append(f"STUCK: exit {done.returncode} without a line of {folder}: {said.strip()[-400:]}")
    last = done.stderr.strip().splitlines()[-1:]
    if done.returncode and "Traceback" in done.stderr and not (last and last[0].startswith("forecast-platform: ")):
        faults.append(f"STUCK: a traceback in place of a line: {done.stderr.strip()[-300:]}")
    return f"{name} with {room:,} bytes left at {place}: exit {done.returncode}", faults


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


HOUR, DAY = 3600, 86_400
JUMPS = {"a day forward": DAY, "an hour back": -HOUR, "a day back": -DAY, "30 days forward": 30 * DAY,
         "30 days back": -30 * DAY, "400 days forward": 400 * DAY}  # fmt: skip


def clock(world: World, work: Path, rng: random.Random) -> tuple[str, list[str]]:
    """The system's clock jumps in the middle of a command, which goes on; it is right again for the next one."""
    name, arguments = _drawn(rng)
    how = rng.choice(list(JUMPS))
    world.copy(work, name)
    at = rng.randint(1, world.operations[name])
    done = run(work, arguments, jump=JUMPS[how], jump_at=at)
    faults = [] if done.returncode == 0 else [f"STUCK: under it: {(done.stderr or done.stdout).strip()[-400:]}"]
    return f"{name}, {how} at operation {at} of {world.operations[name]}", faults + list(check(world, work, name))


FAULTS: dict[str, Callable[[World, Path, random.Random], tuple[str, list[str]]]] = {
    "kill": kill, "power": power, "damage": damage, "disk": disk, "clock": clock
}  # fmt: skip

if __name__ == "__main__":
    main()
