"""docs/tables.md, written from the schemas: `python3 tasks.py docs`."""

from __future__ import annotations

import sys

from forecast_platform.forecasting.horizon import DEFAULT, LONGEST, SHORTEST
from forecast_platform.warehouse.schemas import TABLES, Table

_HEAD = """\
# Tables

Written from `forecast_platform/warehouse/schemas.py` by `python3 tasks.py docs`; change it there.

Every table is a Delta table. Locally it lies in the warehouse folder under `catalog/schema/table`, where any Delta
reader opens it; with `tables: unity_catalog` it is a managed table of Unity Catalog ([databricks](databricks.md)).
`forecast_platform.read` hands out what a trading program needs. Every write replaces exactly the keys
that it names, in one commit. `date` is a calendar day, `timestamp` is UTC with microseconds, `int` has 32 bits,
`float` 64 and `float32` 32.

Forecasts cover the days of the warehouse's horizon, {default} where unset (setting `horizon`, {shortest} to {longest});
the columns below are those. With another one, H, paths have `day_1` to `day_<H>`, point forecasts the days ahead 1 to
H, and scores the spans of 1, 7 and H days: `crps_1d`, `crps_7d`, `crps_<H>d` (at H = 7 the last two are one).
The horizon is kept in these columns: a warehouse has one from its first forecast on, and whoever comes with another is
refused. A longer horizon begins with the days of a shorter one, bit for bit, from the same data and seed.

"""


def render() -> str:
    """The page, Markdown."""
    contents = "\n".join(f"- [{table.short_name}](#{table.short_name}): {table.description}" for table in TABLES)
    head = _HEAD.format(default=DEFAULT, shortest=SHORTEST, longest=LONGEST)
    return f"{head}{contents}\n\n" + "\n".join(_section(table) for table in TABLES)


def _section(table: Table) -> str:
    lines = [
        f"## {table.short_name}",
        "",
        f"`{table.name}`. {table.description}",
        "",
        f"- One row: {_names(table.key)}",
        f"- File partitions: {_names(table.partition_by) or 'none'}",
    ]
    if table.open_columns:
        lines.append(
            "- Further `float` columns: the covariates that the series declare, `usd_*` among them; `close_2`, the "
            "close of the second contract, where a file has it"
        )
    lines += ["", "| column | type | null | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {_cell(column.description)} |"
        for column in table.columns
    ]
    return "\n".join(lines) + "\n"


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
