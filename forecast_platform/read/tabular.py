"""Results that print as a table and go to pandas, Arrow and polars, with dates as dates and no object columns."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from forecast_platform.host.prices import price_text

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_MOST_ROWS = 24
"""Rows that are printed of a table."""


class Tabular(ABC):
    """Something with rows. It prints as its heading and a table."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """All of it as an Arrow table."""

    @abstractmethod
    def heading(self) -> list[str]:
        """What stands above the table where it is printed: what it is of, how fresh, in what unit."""

    def printed(self) -> pa.Table:
        """The rows as they are printed below the heading."""
        return self.to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """All of it as a pandas frame: dates are datetime64, names are pandas strings."""
        return frame_of(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """All of it as a polars frame. Raises ImportError where polars is not installed."""
        try:
            import polars
        except ImportError as error:
            raise ImportError(f"to_polars needs polars ({error}): `pip install polars`, or use to_arrow") from error
        return polars.DataFrame(self.to_arrow())

    def __str__(self) -> str:
        return "\n".join([*self.heading(), *table_lines(self.printed())])

    def __repr__(self) -> str:
        return str(self)


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A pandas frame with dates as datetime64 and text as pandas strings: no column of Python objects."""
    import pandas as pd
    import pyarrow as pa

    text = {pa.string(): pd.StringDtype("pyarrow")}
    return table.to_pandas(date_as_object=False, types_mapper=text.get)


def table_lines(table: pa.Table) -> list[str]:
    """The rows as aligned text; of many, the first and how many more there are."""
    import pyarrow as pa

    shown = table.slice(0, _MOST_ROWS)
    columns = []
    for field in table.schema:
        texts = [_text(value, field.name) for value in shown[field.name].to_pylist()]
        width = max(map(len, [field.name, *texts]))
        left = pa.types.is_string(field.type)
        columns.append([text.ljust(width) if left else text.rjust(width) for text in [field.name, *texts]])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    if table.num_rows > _MOST_ROWS:
        lines.append(f"... {table.num_rows - _MOST_ROWS:,} rows more; to_pandas() has them all")
    return lines


_SHARES = ("level", "cvar_share", "above", "below", "touch")


def _text(value: Any, column: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        if column in _SHARES:
            return f"{100 * value:.4g} %" if column == "level" else f"{100 * value:.1f} %"
        return f"{value:,.0f}" if abs(value) >= 100_000 else price_text(value)
    return str(value)


def days_text(first: dt.date, last: dt.date) -> str:
    """`2018-01-02`, or `2018-01-02 to 2018-01-12`."""
    return str(first) if first == last else f"{first} to {last}"


def repeated(values: Sequence[Any], each: int) -> list[Any]:
    """Every value `each` times, one after another."""
    return [value for value in values for _ in range(each)]
