"""What a table's schema is made of: columns with their meaning, partitions, key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: its type ("string", "date", "timestamp", "bool", "int", "long", "float", "float32") and meaning."""

    name: str
    type: str
    description: str
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    """One table: three-level name, columns, the columns files are partitioned by, and those that identify a row."""

    name: str
    description: str
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...]
    key: tuple[str, ...]
    open_columns: bool = False
    """True where further float columns may be added (declared covariates of unified_data)."""
    whole: bool = False
    """True where each write replaces all of it: its columns, too, are those of the newest one."""
    horizon: int | None = None
    """Days of a forecast that the columns are made for; None where none follows from it."""
    maker: Callable[[int], Table] | None = field(default=None, repr=False)
    """Makes the table of another horizon; None where nothing follows from it."""

    @property
    def short_name(self) -> str:
        """The last part of the name."""
        return self.name.rsplit(".", 1)[-1]

    def at(self, horizon: int) -> Table:
        """This table as a warehouse of this horizon has it."""
        return self if self.maker is None or self.horizon == horizon else self.maker(horizon)

    def arrow_schema(self, extra: tuple[str, ...] = ()) -> pa.Schema:
        """The Arrow schema, with further float64 columns where the table is open to them.

        Raises ValueError where it is not.
        """
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "date": pa.date32(),
            "timestamp": pa.timestamp("us", tz="UTC"),
            "bool": pa.bool_(),
            "int": pa.int32(),
            "long": pa.int64(),
            "float": pa.float64(),
            "float32": pa.float32(),
        }
        if extra and not self.open_columns:
            raise ValueError(f"{self.name} has a fixed schema; it cannot take the columns {list(extra)}")
        fields = [pa.field(column.name, types[column.type], column.nullable) for column in self.columns]
        return pa.schema(fields + [pa.field(name, pa.float64()) for name in extra])


DELTA_TYPES = {
    "string": "string",
    "date": "date",
    "timestamp": "timestamp",
    "bool": "boolean",
    "int": "integer",
    "long": "long",
    "float": "double",
    "float32": "float",
}
"""Column types as Delta's log names them."""


def required(name: str, type_: str, description: str) -> Column:
    """A column that is never null."""
    return Column(name, type_, description, nullable=False)


def nullable(name: str, type_: str, description: str) -> Column:
    """A column that may be null."""
    return Column(name, type_, description)
