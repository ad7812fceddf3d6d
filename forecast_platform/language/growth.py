"""How much a source of documents has grown since the corpus was made of it."""

from __future__ import annotations

import json
from pathlib import Path

from forecast_platform.language.config import Config
from forecast_platform.language.corpus import MANIFEST
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.run import corpus_folder
from forecast_platform.settings import Settings


def rows_now(config: Config, settings: Settings) -> int:
    """Rows that the documents' table or file has, without reading a text.

    Raises LanguageError, and SparkUnavailableError where a table needs a session that cannot be had.
    """
    data = config.data
    if data.train_table is not None:
        name = data.table(data.train_table)
        from forecast_platform.language.tables import spark_of

        session = spark_of(settings)
        if session is not None:
            return int(session.table(name).count())
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        folder = settings.warehouse.joinpath(*name.split("."))
        try:
            return int(DeltaTable(str(folder)).count())
        except TableNotFoundError as error:
            raise LanguageError(f"table {name}: none in {folder}: write it there, or name another") from error
    path = Path(data.train_file or "")
    if not path.is_file():
        raise LanguageError(f"{path}: no such file: name the documents' file (data.train_file), or a table")
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    with path.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def rows_then(config: Config) -> int | None:
    """Rows that the corpus was made of; None where there is none yet."""
    path = corpus_folder(config) / MANIFEST
    if not path.is_file():
        return None
    return int(json.loads(path.read_text(encoding="utf-8"))["rows"]["train"]["rows"])


def grown(now: int, then: int, share: float) -> bool:
    """Whether a source has grown by `share` of what it was."""
    return now >= then * (1 + share) and now > then
