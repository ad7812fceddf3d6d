"""Makes the warehouse of an earlier version that test_old_warehouse.py opens.

python -m forecast_platform_tests.housekeeping.old.make CHECKOUT: a checkout of that version with its .venv. Its own
code writes everything: instance, tables, MLflow store; what is kept is packed into warehouse-<version>.tar.xz here.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

SETTINGS = {
    "SOURCE": "landing",
    "MODELS": "naive,random_walk",
    "START_DATE": "2018-01-01",
    "N_PATHS": "100",
    "LOOKBACK_YEARS": "1",
    "TIMEZONE": "UTC",
    "SEED": "11",
}
"""What the earlier version was asked; the test asks the same of this one."""
FIRST, LAST = "2018-03-23", "2018-03-24"
COMMODITY = "Alpha"


def main() -> None:
    """Run the earlier version, and pack what it left."""
    checkout = Path(sys.argv[1]).resolve()
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        worlds = "from pathlib import Path; from forecast_platform_tests import worlds"
        _run(checkout, root, "-c", f"{worlds}; worlds.write_landing(Path({folder!r}, 'landing'))")
        (root / "landing" / "market" / "beta.csv").unlink()
        span = ["--commodity", COMMODITY, "--start-date", FIRST, "--end-date", LAST]
        _run(checkout, root, "-m", "forecast_platform.cli", "backfill", "--train", *span)
        for database in (root / "warehouse").rglob("*.db"):
            with closing(sqlite3.connect(database)) as opened:
                opened.execute("VACUUM")
        version = _run(checkout, root, "-c", "import forecast_platform; print(forecast_platform.__version__)").strip()
        with tarfile.open(here / f"warehouse-{version}.tar.xz", "w:xz", preset=9) as archive:
            archive.add(root / "warehouse", "warehouse", filter=_kept)


def _run(checkout: Path, root: Path, *arguments: str) -> str:
    ours = {f"FORECAST_PLATFORM_{name}": value for name, value in SETTINGS.items()}
    places = {
        "FORECAST_PLATFORM_LANDING": str(root / "landing"),
        "FORECAST_PLATFORM_WAREHOUSE": str(root / "warehouse"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORECAST_PLATFORM_", "DAGSTER"))}
    program = str(checkout / ".venv" / "bin" / "python")
    environment = {**kept, **ours, **places}
    return subprocess.run(
        [program, *arguments], cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out pages, step output and locks: nothing that the next version reads; name no account."""
    if any(part in ("_reports", "storage", ".locks") for part in Path(member.name).parts) or member.name.endswith(
        ".lock"
    ):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
