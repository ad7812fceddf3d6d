"""Every bad upload over the API: its message, and nothing left behind but the file, which another config may read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast_platform_tests.api.desk import Desk
from forecast_platform_tests.training_jobs.tables import asked
from forecast_platform_tests.training_jobs.test_panel import BAD


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.over(tmp_path_factory.mktemp("desk"))


def left(desk: Desk) -> tuple[list[Path], list[Path], int, list[str]]:
    """Jobs' folders, uploads, jobs, partitions."""
    folder = desk.jobs.store.folder
    partitions = list(desk.instance.get_dynamic_partitions("training_jobs"))
    return list(folder.glob("jobs/*")), list(folder.glob("uploads/*")), desk.ask("GET", "/jobs")[1]["total"], partitions


def refused(desk: Desk, data: bytes, **changes: Any) -> str:
    """The message that a job of this file is refused with, or the file already; nothing of either is left."""
    before = left(desk)
    status, found = desk.ask("POST", "/uploads", content=data)
    if status == 201:
        config = asked(data=None, file=found["file"], **changes)
        status, fault = desk.ask("POST", "/jobs", json={"config": config})
        desk.jobs.uploads.path(found["file"]).unlink()
    else:
        fault = found
    assert status == 400, fault
    assert left(desk) == before
    return str(fault["detail"])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_is_400_with_its_message_and_leaves_no_job(desk: Desk, name: str) -> None:
    data, message = BAD[name]
    assert re.match(message.replace("file: the file is empty", "file: the body is empty"), refused(desk, data))


def parquet(folder: Path, rows: int) -> bytes:
    stamps = np.datetime64("2000-01-03T00:00", "m") + np.arange(rows)
    path = folder / "in.parquet"
    pq.write_table(
        pa.table({"week": stamps.astype("datetime64[ms]"), "sales": np.arange(rows) % 7.0}), path, compression="zstd"
    )
    return path.read_bytes()


def test_a_million_rows_of_one_series_are_refused(desk: Desk, tmp_path: Path) -> None:
    data = parquet(tmp_path, 1_000_000)
    assert refused(desk, data, id_col=None).startswith(
        "target_col: series 'sales' has over 20,000 rows: keep the newest"
    )


def test_an_upload_whose_declared_uncompressed_size_passes_the_limit_is_refused(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path, training_jobs={"max_uncompressed_mb": 0.1})
    data = parquet(tmp_path, 15_000)
    assert len(data) < 0.1e6, "the file itself is below the limit"
    assert re.match(
        r"file: the file says that it holds 0\.\d MB uncompressed; at most 0\.1 MB", refused(desk, data, id_col=None)
    )


def test_a_fault_of_the_server_is_500_with_one_text_as_every_error(tmp_path: Path) -> None:
    desk = Desk.over(tmp_path)
    desk.jobs.store.folder.mkdir(parents=True)
    (desk.jobs.store.folder / "uploads").write_text("a file where the folder should be")
    status, fault = desk.ask("POST", "/uploads", content=b"week,sales\n")
    assert (status, fault) == (500, {"detail": "an error of this server: its log has the cause"})
