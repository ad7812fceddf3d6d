"""Who may read what this process writes: its owner alone, or its group, too (setting `readable_by`).

A process's umask covers what every library of it writes: tables, MLflow's and Dagster's records, backups.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from forecast_platform.host.home import instance_home
from forecast_platform.settings import Settings

_MASKS = {"owner": 0o077, "group": 0o027}
"""Permissions that no file has, by `readable_by`."""


def restrict(settings: Settings) -> None:
    """From now on this process, and those that it starts, write files for whom the settings say."""
    os.umask(_MASKS[settings.readable_by])


def too_open(settings: Settings) -> Iterator[Path]:
    """Files and folders of the warehouse and of Dagster's instance that more may read than the settings say."""
    if os.name == "nt":
        return
    mask = _MASKS[settings.readable_by]
    for path in _everything(settings):
        # Files come and go while the daily run writes.
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if mode & mask and not path.is_symlink():
            yield path


def keeps_modes(folder: Path) -> bool:
    """Whether a file in `folder` can be closed to others: some mounts (FAT, SMB, 9p of a virtual machine) give all
    files one mode. Raises OSError where no file can be made there."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".modes-") as probe:
        Path(probe.name).chmod(0o600)
        return not os.fstat(probe.fileno()).st_mode & _MASKS["owner"]


def close(settings: Settings) -> tuple[int, list[Path]]:
    """Take the permissions away that are too many, and no other: of how many files, and those that stay as they were,
    which are another account's or lie on a file system without permissions."""
    mask, count, left = _MASKS[settings.readable_by], 0, []
    for path in too_open(settings):
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~mask)
            closed = not path.stat().st_mode & mask
        except FileNotFoundError:
            continue
        except OSError:
            closed = False
        if closed:
            count += 1
        else:
            left.append(path)
    return count, left


def _everything(settings: Settings) -> Iterator[Path]:
    roots = {settings.warehouse, instance_home(settings)}
    for root in sorted(one for one in roots if one.is_dir()):
        yield root
        for folder, folders, files in os.walk(root):
            yield from (Path(folder) / name for name in (*folders, *files))
