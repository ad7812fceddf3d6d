"""Tables of documents: in the warehouse's folder, known to Spark, or read from a workspace over its SQL interface."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

from forecast_platform.language.corpus import Tables
from forecast_platform.language.documents import Documents, from_delta, from_file, from_spark
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.models import require_hub
from forecast_platform.language.record import is_databricks
from forecast_platform.settings import Settings

_POLL_SECONDS = 1.0
_LINK_SECONDS = 120.0


def tables_of(settings: Settings) -> Tables:
    """What opens a table by its name: on a cluster or with Unity Catalog by Spark; with DATABRICKS_HOST and
    DATABRICKS_TOKEN over the workspace's SQL interface; else from the warehouse's folder."""

    def opened(name: str, column: str, limit: int | None) -> Documents:
        if (session := spark_of(settings)) is not None:
            return from_spark(session, name, column, limit)
        if os.environ.get("DATABRICKS_HOST") and os.environ.get("DATABRICKS_TOKEN"):
            return Documents(f"table {name}", _over_sql(name, column, limit))
        return from_delta(settings.warehouse.joinpath(*name.split(".")), name, column, limit)

    return opened


def spark_of(settings: Settings) -> Any:
    """The Spark session that knows the tables, the cluster's or Unity Catalog's; None where they are a folder's.

    Raises SparkUnavailableError where the session cannot be had.
    """
    if is_databricks():
        from pyspark.sql import SparkSession

        return SparkSession.builder.getOrCreate()
    if settings.tables != "unity_catalog":
        return None
    from forecast_platform.clients.spark import session_for

    return session_for(settings)


def _over_sql(name: str, column: str, limit: int | None) -> Iterator[Any]:
    """A column's values by the SQL statement interface of the workspace that the environment names."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.errors import DatabricksError
    from databricks.sdk.service.sql import Disposition, Format, StatementState

    client = WorkspaceClient()
    statement = f"SELECT {_quoted(column)} FROM {'.'.join(map(_quoted, name.split('.')))}"  # noqa: S608 - quoted
    if limit is not None:
        statement += f" LIMIT {int(limit)}"
    try:
        warehouse = os.environ.get("DATABRICKS_WAREHOUSE_ID") or next(
            (one.id for one in client.warehouses.list()), None
        )
        if warehouse is None:
            raise LanguageError(f"table {name}: the workspace has no SQL warehouse; make one, or read it on a cluster")
        # Behind links there is no limit; in the answer itself a result of more than 25 MiB is refused.
        found = client.statement_execution.execute_statement(
            statement,
            warehouse,
            wait_timeout="30s",
            disposition=Disposition.EXTERNAL_LINKS,
            format=Format.JSON_ARRAY,
        )
        while found.status and found.status.state in (StatementState.PENDING, StatementState.RUNNING):
            time.sleep(_POLL_SECONDS)
            found = client.statement_execution.get_statement(str(found.statement_id))
        if found.status is None or found.status.state != StatementState.SUCCEEDED:
            error = found.status.error if found.status else None
            raise LanguageError(f"table {name}: {error.message if error else 'the statement did not succeed'}")
        part = found.result
        while part is not None:
            following = None
            for link in part.external_links or ():
                yield from (row[0] for row in _behind(link, name))
                following = link.next_chunk_index
            if following is None:
                return
            # A link is good for minutes: each is asked for when the one before has been read.
            part = client.statement_execution.get_statement_result_chunk_n(str(found.statement_id), following)
    except DatabricksError as error:
        raise LanguageError(f"table {name}: {error}") from error


def _behind(link: Any, name: str) -> list[list[Any]]:
    """A part of a result, from the storage that it was put into. The link is the permission: no token goes with it."""
    import requests

    try:
        headers = dict(link.http_headers or {})
        reply = requests.get(str(link.external_link), headers=headers, timeout=_LINK_SECONDS, auth=_no_token)
        reply.raise_for_status()
        return list(reply.json())
    except (requests.RequestException, ValueError) as error:
        # Not as its cause: what it says has the link in it, a secret while it lasts.
        raise LanguageError(
            f"table {name}: a part of the result cannot be read ({type(error).__name__}): run it again, or on a cluster"
        ) from None


def _no_token(request: Any) -> Any:
    # Without one requests looks for a password of the host in ~/.netrc.
    return request


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def general_text(name: str, column: str, most: int) -> Documents:
    """General documents, at most `most`: from a JSONL or Parquet file, or a hub's data set read as a stream.

    Raises LanguageError: replay that is asked for is never left out silently.
    """
    from pathlib import Path

    path = Path(name).expanduser()
    if path.suffix or path.is_file():
        return from_file(path, column, most)
    from importlib.util import find_spec

    if find_spec("datasets") is None:
        raise LanguageError(
            f"data.replay_dataset {name!r}: reading a hub's needs `pip install 'forecast-platform[language]'`"
        )
    require_hub(f"data.replay_dataset {name!r}")
    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train", streaming=True)
    except (OSError, ValueError) as error:
        raise LanguageError(f"data.replay_dataset {name!r}: {str(error).splitlines()[0]}") from error
    return Documents(name, itertools.islice((row.get(column) for row in rows), most))
