"""Where the Dagster instance keeps its files, the same place for every process that opens it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forecast_platform.host.databases import why_foreign
from forecast_platform.host.files import write_whole
from forecast_platform.settings import Settings, SettingsError, load

_PACKAGE = Path(__file__).resolve().parents[1]

_MOVED = {
    "forecast_platform.dagster_storage": "forecast_platform.graph.event_storage",
    "forecast_platform.dagster_home": "forecast_platform.graph.instance_storage",
}
"""Modules that the dagster.yaml of an instance made before version 0.2 names, and where they are now."""


def instance_home(settings: Settings | None = None) -> Path:
    """DAGSTER_HOME, or a folder in the warehouse where it is unset."""
    chosen = os.environ.get("DAGSTER_HOME")
    return Path(chosen).expanduser().absolute() if chosen else (settings or load()).warehouse / "_dagster"


@contextmanager
def one_creates(folder: Path) -> Iterator[None]:
    """Within this, no other process of the instance makes `folder`'s databases: two commands that are the first ones
    would else trip over each other's tables."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder / ".create.lock")):
        yield


def shipped_file(name: str) -> Path:
    """A configuration file of the project: beside the package in a checkout, inside it once installed.

    Raises FileNotFoundError.
    """
    for folder in (_PACKAGE.parent, _PACKAGE):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} is neither in {_PACKAGE.parent} nor in {_PACKAGE}: install the package again")


def prepare_home(settings: Settings) -> Path:
    """Create the instance's folder with our dagster.yaml where it has none, and point this process at it.

    Raises SettingsError where the folder cannot be made or written to, or what it holds is not an instance's: a lost
    database is never replaced by an empty one. Raises OSError where the disk is full.
    """
    home = instance_home(settings)
    target = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _refuse_unreadable(target)
            _name_todays_modules(target)
        else:
            write_whole(target, shipped_file("dagster.yaml").read_bytes(), 0o644)
        refuse_foreign(home)
        _require_writable(home)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # another folder would be no mend
        raise SettingsError(
            f"DAGSTER_HOME = {str(home)!r}: {error.strerror}: name a folder that this account can write to "
            "(unset, it is _dagster in the warehouse)"
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    return home


def _require_writable(home: Path) -> None:
    if not os.access(home, os.W_OK):
        raise PermissionError(errno.EACCES, "not writable")


def _name_todays_modules(target: Path) -> None:
    """Let an earlier version's dagster.yaml name the modules that its classes are in now; the rest stays as it is."""
    text = target.read_text(encoding="utf-8")
    mended = re.sub("|".join(rf"\b{re.escape(name)}\b" for name in _MOVED), lambda found: _MOVED[found[0]], text)
    if mended != text:
        write_whole(target, mended, target.stat().st_mode & 0o777)


def _refuse_unreadable(target: Path) -> None:
    import yaml

    try:
        found = yaml.safe_load(target.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{target}: not readable as YAML ({str(error).splitlines()[0]}): {_COPY}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{target}: it configures nothing (empty, cut short, or another file): {_COPY}")


_COPY = "put the backup's back, or remove it: the next command writes the one that this package ships"


def refuse_foreign(home: Path) -> None:
    """Raise SettingsError where a database of the instance is lost while the logs of runs that it lists are there, or
    where that of schedules and sensors is an empty or another one."""
    history = home / "history"
    shards = history / "runs"
    records = shards.is_dir() and any(path.name != "index.db" for path in shards.glob("*.db"))
    for path, table in ((history / "runs.db", "runs"), (shards / "index.db", "event_logs")):
        why = why_foreign(path, table, records=records)
        if why is not None:
            raise SettingsError(
                f"{path} {why}; it is left as it is: `forecast-platform restore` a backup, or move {history} away to "
                "begin with no record of runs (the tables are not touched)"
            )
    schedules = home / "schedules" / "schedules.db"
    # One that is gone was moved away on purpose: that is how to begin anew.
    why = why_foreign(schedules, "instigators", records=records) if schedules.is_file() else None
    if why is not None:
        raise SettingsError(
            f"{schedules} {why}; it is left as it is: `forecast-platform restore` a backup, or move it away to begin "
            "with schedules and sensors as this package starts them, without their cursors"
        )
