"""Tables in files of users: CSV and Parquet as they come, with columns whose names are theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.host.memory import LARGE, give_back_memory

if TYPE_CHECKING:
    import pandas as pd

_TIME_TEXT = r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?"
"""How a day or a time is written where nothing else can be meant (ISO 8601, without a zone)."""


def _with_times(frame: pd.DataFrame) -> pd.DataFrame:
    """A CSV file's rows, with columns of times where every value is written as one: the format has none of its own."""
    import pandas as pd

    found = {}
    for name in frame.select_dtypes(object).columns:
        known = frame[name].dropna()
        if not len(known) or re.fullmatch(_TIME_TEXT, str(known.iloc[0])) is None:
            continue
        if known.astype(str).str.fullmatch(_TIME_TEXT).all():
            times = pd.to_datetime(frame[name], format="ISO8601", errors="coerce")
            if len(times.dropna()) == len(known):
                found[name] = times
    return frame.assign(**found)


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV file as pandas has it, texts that are times as such. Raises ValueError where two columns have one name: the
    second would be given another by pandas."""
    import pandas as pd

    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = [] if first.empty else [name for name in first.iloc[0] if name]
    _require_once(names)
    return _with_times(pd.read_csv(path))


def _require_once(names: Sequence[str]) -> None:
    """Raises ValueError where two columns have one name."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"more than one column is called {', '.join(map(repr, twice))}")


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as pandas has it, with an index that has a name as a column, and each column given up by Arrow as
    it is taken over.

    Raises ValueError where two columns have one name.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    # Not the whole file in memory before its columns are made of it: that would be the table twice.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        _require_once(names)
        # `a.b` names a field of `a` too, where that has some: by itself neither can be read.
        large = file.metadata.num_rows * file.metadata.num_columns >= LARGE
        if not large or any(name.startswith(f"{other}.") for name in names if "." in name for other in names):
            frame = file.read().to_pandas(split_blocks=True, self_destruct=True)
            named = [name for name in frame.index.names if name in names]
            return frame.reset_index(level=named) if named else frame
        levels = (file.schema_arrow.pandas_metadata or {}).get("index_columns", ())
        named = [name for name in levels if name in names and not name.startswith("__index_level_")]
        columns = {}
        for name in [*named, *(one for one in names if one not in levels)]:
            # What was needed to decode one is there for the next; a copy has the size of the column, and no more.
            found = file.read(columns=[name]).to_pandas()
            found = found.reset_index() if name in named else found
            columns[found.columns[0]] = found.iloc[:, 0].copy()
            del found
            give_back_memory()
    return pd.DataFrame(columns, copy=False)
