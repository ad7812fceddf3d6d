"""The commands that are broken: what each is given, what there is for it to do, and what it leaves beside the tables.

Left out of those that `forecast-platform --help` lists: `coverage`, `compare`, `plan`, `health`, `doctor`, `views`,
`source check`, `ensemble check | plan | status | results | schema` look and write nothing (`ensemble check --fix`
replaces the user's file in one step, as `import` does); `up`, `webserver`, `api`, `workbench`, `workflows` and
`reports` serve, and what they start is these commands' work; the other `databricks` verbs write in a workspace;
`pretrain`, `perplexity` and `recommend` need the extra `language`, whose own tests kill a training.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPAN = ("--start-date", "2018-03-15", "--end-date", "2018-03-20")
EARLIER = ("--start-date", "2018-03-11", "--end-date", "2018-03-14")
WORKFLOW = "flow.yaml"


@dataclass(frozen=True)
class Command:
    """One command line; `{root}` is the folder of the platform that it runs on."""

    arguments: tuple[str, ...]
    prepare: Callable[[Path], None] | None = None
    """Makes something for it to do, in a copy of the base."""
    first: tuple[tuple[str, ...], ...] = ()
    """Commands that run before it, undisturbed."""
    done: str = ""
    """What it is refused with where the run that was cut short had come to its end."""


def damage_tables(root: Path) -> None:
    """A table's file that is cut, one that is gone, an emptied log entry."""
    tables = root / "warehouse" / "commodity" / "forecast"
    first = sorted((tables / "distributions").rglob("*.parquet"))[0]
    first.write_bytes(first.read_bytes()[:100])
    sorted((tables / "point_forecasts").rglob("*.parquet"))[0].unlink()
    sorted((tables / "forecast_metadata" / "_delta_log").glob("*.json"))[-1].write_bytes(b"")


def earlier_version(root: Path) -> None:
    """Tables as a version before this one left them: without some columns, and open to others."""
    from deltalake import DeltaTable, write_deltalake

    from forecast_platform.warehouse.delta import DeltaWarehouse
    from forecast_platform.warehouse.schemas import FORECAST_METADATA, POINT_FORECASTS, TRAINED_MODELS

    warehouse = DeltaWarehouse(root / "warehouse")
    for table in (POINT_FORECASTS, FORECAST_METADATA, TRAINED_MODELS):
        lacking = [column.name for column in table.columns if column.nullable and column.name not in table.key][-2:]
        opened = DeltaTable(str(warehouse.path(table)))
        rows = warehouse.read(table).drop_columns(lacking)
        write_deltalake(
            opened, rows, mode="overwrite", schema_mode="overwrite", partition_by=list(table.partition_by) or None
        )
        warehouse.settle(table, opened.version())
    for path in (root / "warehouse").rglob("*.parquet"):
        path.chmod(0o644)


def newer_rows(root: Path) -> None:
    """Landing files with the days that the base lacks."""
    from forecast_platform_tests.worlds import LAST, write_landing

    write_landing(root / "landing", span=landing_span(), last=LAST)


def landing_span() -> tuple[Any, Any]:
    """First and last day of the files with all days."""
    import datetime as dt

    from forecast_platform_tests.worlds import LAST

    return dt.date(2016, 12, 1), LAST


def workflow(root: Path) -> None:
    """A small workflow of ensembles beside its table."""
    from forecast_platform_tests.ensembles.shops import classes
    from forecast_platform_tests.ensembles.workflows import text_of

    classes(n=120).to_parquet(root / "table.parquet")
    tasks = (
        {"task": "stack_top_any", "stack": {"top_n": 2}},
        {"task": "vote_weight", "depends_on": [{"task": "stack_top_any"}]},
    )
    source = {"path": str(root / "table.parquet")}
    (root / WORKFLOW).write_text(text_of(*tasks, bases=["linear", "neighbours"], folds=2, source=source))


def nothing_yet(root: Path) -> None:
    """No warehouse."""
    shutil.rmtree(root / "warehouse")


def documents(root: Path) -> None:
    """Texts for a corpus."""
    import json

    lines = [
        {"text": f"Report {n}: the price of coffee moved by {n % 7} cents after rain in region {n * 31 % 101}. " * 3}
        for n in range(200)
    ]
    (root / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


_RUN = ("ensemble", "run", f"{{root}}/{WORKFLOW}")

COMMANDS: dict[str, Command] = {
    "backfill": Command(("backfill", *SPAN)),
    "train": Command(("train", *EARLIER, "--models", "naive", "--overwrite")),
    "infer": Command(("infer", "--date", "2018-03-15")),
    "ingest": Command(("infer", "--date", "2018-03-30"), newer_rows),
    "maintain": Command(("maintain",)),
    "backup": Command(("backup", "{root}/saved")),
    "restore": Command(("restore", "{root}/base", "--force")),
    "promote": Command(
        ("promote", "--commodity", "Beta", "--model", "naive", "--why", "chaos", "--force"), done="is the champion"
    ),
    "rollback": Command(("rollback", "--commodity", "Alpha", "--force"), done="has no champion before"),
    "repair": Command(("repair",), damage_tables),
    "migrate": Command(("migrate",), earlier_version),
    "evaluate": Command(("evaluate",)),
    "daily-page": Command(("daily-page", "--date", "2018-03-15")),
    "quickstart": Command(("quickstart",), nothing_yet),
    "ensemble": Command(_RUN, workflow),
    "import": Command(("ensemble", "import", f"{{root}}/{WORKFLOW}"), workflow),
    "export": Command(
        ("ensemble", "export", f"{{root}}/{WORKFLOW}", "--to", "{root}/model"), workflow, (_RUN,), "is not empty"
    ),
    "prepare": Command(("prepare", "--source", "{root}/texts.jsonl", "--output-dir", "{root}/corpus"), documents),
    "wheel": Command(("databricks", "wheel", "{root}/wheels")),
}

_TIMES = re.compile(
    r"20[2-9]\d-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?|\d\d:\d\d(:\d\d)?( \w+)?|[0-9a-f]{8}-?[0-9a-f-]{24,28}"
)
"""Times and days of today (the data are older), and random names, which differ from run to run."""


def beside(root: Path) -> dict[str, str]:
    """What commands leave beside the tables: the hash of each file, without the times at which it was made; of pages,
    which tell of the day and of runs that were killed, only that they are there and whole."""
    warehouse, found = root / "warehouse", {}
    folders = [warehouse / "_reports", warehouse / "_workflows", root / "model", root / "corpus", root / "wheels"]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                content = path.read_bytes()
                if path.suffix in _TEXTS:
                    content = _TIMES.sub("-", content.decode(errors="replace")).encode()
                if path.suffix == ".html":
                    content = content.rstrip()[-len("</html>") :]
                name = _TIMES.sub("-", str(path.relative_to(root)))
                found[name] = hashlib.blake2b(content, digest_size=16).hexdigest()
    return found


_TEXTS = {".html", ".json", ".yaml", ".txt", ".svg", ".css", ".js"}
