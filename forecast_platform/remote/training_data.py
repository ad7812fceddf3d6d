"""The first task of a delegated training job: its data, from a file of the volume, as a table of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from forecast_platform.clients.spark_session import cluster_session
from forecast_platform.remote.parameters import ParameterError
from forecast_platform.settings import load
from forecast_platform.warehouse.predicates import quoted

_UNPLAIN = re.compile(r"[ ,;{}()\n\t=]")
"""What Delta takes in a column's name only where columns are mapped by name."""


def make_table(parameters: Mapping[str, str]) -> str:
    """Make `data_table` of the Parquet file `data_file`; one that an earlier try left is replaced.

    Returns the number of rows as JSON. Raises ParameterError, and SparkUnavailableError where this is no Spark cluster.
    """
    import pyarrow as pa
    from pyarrow import parquet

    for name in ("data_file", "data_table"):
        if not parameters.get(name):
            raise ParameterError(f"{name} is missing")
    # Through Python's own file: Arrow's would not see a volume everywhere.
    table = parquet.read_table(pa.BufferReader(Path(parameters["data_file"]).read_bytes()))
    session, name = cluster_session(load()), quoted(parameters["data_table"])
    session.sql(f"DROP TABLE IF EXISTS {name}").collect()
    writer = session.createDataFrame(table).writeTo(name).using("delta")
    if any(_UNPLAIN.search(column) for column in table.column_names):
        writer = writer.tableProperty("delta.columnMapping.mode", "name")
    writer.create()
    return json.dumps({"rows": table.num_rows})
