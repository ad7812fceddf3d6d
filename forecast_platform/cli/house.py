"""Commands of daily operation: health, backup, restore, repair, migrate, maintain, daily-page."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forecast_platform.cli.terminal import day, port
from forecast_platform.host.severity import SIGNAL
from forecast_platform.host.times import in_zone
from forecast_platform.settings import Settings

Operation = Callable[[Settings, argparse.Namespace], bool]


def register(commands: Any) -> None:
    """Add the commands of this module to the command line's subparsers."""
    one = _command(commands, "health", health, "is everything as it should be? one line a fact; exit code 1 where not")
    one.set_defaults(looks=True)
    one.add_argument("--http", type=port, metavar="PORT", help="serve it as JSON under /health instead")
    one.add_argument("--host", default="127.0.0.1", help="address that --http binds; keep it on loopback")
    one.add_argument("--json", action="store_true", help="print JSON")

    one = _command(commands, "backup", backup, "tables, models, Dagster's and MLflow's records as one consistent set")
    one.add_argument("target", help="new folder, or file that ends in .tar, outside the warehouse")

    one = _command(commands, "restore", restore, "put a backup back: verified first, then swapped in one step")
    one.add_argument("source", help="folder or .tar file that `backup` wrote")
    one.add_argument("--force", action="store_true", help="also where the warehouse is not empty; it is set aside")
    one.set_defaults(exchanges=True)

    one = _command(commands, "repair", repair, "set damaged files of the tables aside and make what they held again")
    one.add_argument("--backup", metavar="FOLDER", help="a backup folder, whose files are put back where they match")

    one = _command(commands, "migrate", migrate, "bring existing tables to this version's schema; repeatable")
    one.add_argument("--dry-run", action="store_true", help="only say what would be done")

    _command(commands, "maintain", maintain, "the weekly maintenance, now: compact, vacuum, prune, archive")

    one = _command(commands, "daily-page", daily_page, "write the page for people who look rather than read")
    one.add_argument("--date", type=day, help="day of the page (default: today)")


def _command(commands: Any, name: str, operation: Operation, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
    parser.set_defaults(command=lambda options, settings: 0 if operation(settings, options) else 1)
    return parser


def health(settings: Settings, options: argparse.Namespace) -> bool:
    """Print one line a fact, or serve them as JSON under /health until interrupted; False where something is bad.

    Raises SettingsError where `--http` cannot be served.
    """
    from forecast_platform.housekeeping.health import health as look

    if options.http is not None:
        from forecast_platform.housekeeping.health_http import server as serving

        with serving(settings, options.http, options.host) as server:
            print(f"http://{options.host}:{server.server_port}/health  (Ctrl-C stops)", flush=True)
            server.serve_forever()
        return True
    report = look(settings)
    if options.json:
        print(report.to_json())
    else:
        print("\n".join(report.lines()))
        print(f"{SIGNAL[report.severity]}: {len(report.facts)} facts at {in_zone(report.at, settings.timezone)}")
    return report.healthy


def backup(settings: Settings, options: argparse.Namespace) -> bool:
    """Write a backup and say what it holds."""
    from forecast_platform.housekeeping.backup import backup as write

    started = time.perf_counter()
    target = Path(options.target)
    manifest = write(settings, target)
    seconds = time.perf_counter() - started
    print(f"{target}: {len(manifest.tables)} tables, {len(manifest.files):,} files, {manifest.size / 1e9:.2f} GB in "
          f"{seconds:.0f} s")  # fmt: skip
    for text in manifest.left_out:
        print(f"not in it: {text}")
    return True


def restore(settings: Settings, options: argparse.Namespace) -> bool:
    """Put a backup back and say what was set aside. Raises HousekeepingError as `housekeeping.restore`."""
    from forecast_platform.housekeeping.restore import restore as put_back

    done = put_back(settings, Path(options.source), force=options.force)
    print(f"{settings.warehouse} is as it was on {done.manifest.created_at}: {len(done.manifest.tables)} tables")
    for path in done.kept:
        print(f"what was there before is in {path}; delete it once all is well")
    print("next: `forecast-platform health`, then `forecast-platform up`")
    return True


def repair(settings: Settings, options: argparse.Namespace) -> bool:
    """Mend what is damaged and say how; False where something is still not right.

    Raises HousekeepingError where the backup is no folder.
    """
    from forecast_platform.housekeeping import HousekeepingError
    from forecast_platform.housekeeping.repair import repair as mend

    backup = None if options.backup is None else Path(options.backup).expanduser()
    if backup is not None and not backup.is_dir():
        raise HousekeepingError(f"--backup {backup}: no such folder; unpack a .tar file first")
    done = mend(settings, print, backup=backup)
    for text in done.failed:
        print(f"STILL DAMAGED: {text}", file=sys.stderr)
    if done.aside is not None:
        print(f"what was damaged is in {done.aside}; delete it once all is well")
    if not (done.mended or done.lost or done.failed):
        print("every file is what was written")
    return not done.failed


def migrate(settings: Settings, options: argparse.Namespace) -> bool:
    """Add the columns that this version's tables have and the stored ones lack, and close what others may read.

    Raises HousekeepingError and HorizonError before a table is touched.
    """
    from forecast_platform.host.home import prepare_home
    from forecast_platform.host.private_files import close, too_open
    from forecast_platform.housekeeping import exclusive
    from forecast_platform.housekeeping.migrate import migrate as bring_up
    from forecast_platform.housekeeping.migrate import plan
    from forecast_platform.work.platform import Platform

    warehouse = Platform.from_settings(settings).warehouse
    if options.dry_run:
        todo = plan(warehouse)
        for one in todo:
            for column in one.add:
                print(f"{one.table.name}: would add {column.name} ({column.type})")
            for text in one.refused:
                print(f"{one.table.name}: REFUSED: {text}")
        opened = sum(1 for _ in too_open(settings))
        if opened:
            print(f"{opened:,} files and folders that others may read would be closed (setting readable_by)")
        if not (todo or opened):
            print("nothing to migrate")
        return not any(one.refused for one in todo)
    prepare_home(settings)
    with exclusive(settings, "migrate"):
        added, (closed, left) = bring_up(warehouse), close(settings)
    if left:
        print(
            f"{len(left):,} files and folders that others may read stay as they are, such as {left[0]}: another "
            "account's, or on a file system without permissions"
        )
    if closed:
        print(f"{closed:,} files and folders closed to others (setting readable_by)")
    print(f"{added} columns added" if added else "no column to add" if closed or left else "nothing to migrate")
    return True


def maintain(settings: Settings, options: argparse.Namespace) -> bool:
    """Compact, vacuum, prune and archive now, as the weekly job does; False where a part failed."""
    from forecast_platform.housekeeping import exclusive
    from forecast_platform.housekeeping.maintenance import PARTS
    from forecast_platform.runs.launch import Launcher
    from forecast_platform.work.platform import Platform

    platform = Platform.from_settings(settings)
    instance = Launcher(settings).instance
    with exclusive(settings, "maintain", timeout=60):
        failed = []
        for name, part in PARTS.items():
            started = time.perf_counter()
            try:
                for line in part(platform, instance):
                    print(f"{name}: {line}", flush=True)
            # As in the job, a part that fails keeps no other from running.
            except Exception as error:  # noqa: BLE001
                failed.append(name)
                told = f"{type(error).__name__}: {error}"
                print(f"{name}: FAILED: {told}; the next run goes on from here", file=sys.stderr, flush=True)
            else:
                print(f"{name}: done in {time.perf_counter() - started:.1f} s", flush=True)
    return not failed


def daily_page(settings: Settings, options: argparse.Namespace) -> bool:
    """Write the daily page; say of when its data are, which series are stale, and where it is."""
    from forecast_platform.housekeeping.health import health
    from forecast_platform.pages.daily_page import daily_page as write
    from forecast_platform.work.platform import Platform

    for line in write(Platform.from_settings(settings), health, options.date).lines():
        print(line)
    return True
