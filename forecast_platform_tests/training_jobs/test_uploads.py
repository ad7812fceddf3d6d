"""Uploads: how many and how much a user keeps, exact however many come in at once, and by whom they are taken in."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forecast_platform.host.admission import LimitReachedError, UnknownJobError
from forecast_platform.settings import Settings, build
from forecast_platform.training_jobs.uploads import FORM_BYTES, Arrival, UploadStore

MB = 1_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    limits = {"uploads_a_user": 5, "uploads_mb_a_user": 10, "max_upload_mb": 4}
    return build(warehouse=tmp_path / "warehouse", training_jobs=limits)


def begun(uploads: UploadStore, user: str, size: int | None) -> Arrival | None:
    try:
        return uploads.begin(user, size)
    except LimitReachedError:
        return None


def test_the_number_of_a_user_s_uploads_is_exact_however_many_come_in_at_once(settings: Settings) -> None:
    stores = [UploadStore(settings) for _ in range(4)]
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda k: begun(stores[k % 4], "ab"[k % 2], 1), range(40)))
    assert sum(one is not None for one in found[::2]) == 5
    assert sum(one is not None for one in found[1::2]) == 5


def test_the_bytes_of_a_user_s_uploads_are_exact_however_many_come_in_at_once(settings: Settings) -> None:
    stores = [UploadStore(settings) for _ in range(4)]
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda k: begun(stores[k % 4], "ann", 3 * MB), range(24)))
    taken = [one for one in found if one is not None]
    assert len(taken) == 3, "3 of 3 MB fit into 10 MB, a fourth does not"
    stores[0].keep(taken[0], "ann", "a.csv", 2 * MB)
    stores[0].give_up(taken[1])
    # 2 MB are there and 3 come in: 5 are left, of which one file has 4 at the most.
    assert stores[1].begin("ann").most == 4 * MB
    assert stores[1].begin("ann").most == 1 * MB
    assert stores[1].begin("bob").most == 4 * MB


def test_a_limit_is_told_with_its_value_and_what_mends_it(settings: Settings) -> None:
    now = [dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)]
    uploads = UploadStore(settings.with_clock(lambda: now[0]))
    for k in range(4):
        uploads.keep(uploads.begin("ann", 1), "ann", f"{k}.csv", 2 * MB)
        now[0] += dt.timedelta(hours=1)
    with pytest.raises(LimitReachedError, match=r"^file: you keep 8 MB of uploads, and 2\.5 MB more would pass the 10 "
                       r"MB that a user may keep \(uploads_mb_a_user\): DELETE /api/v2/uploads/<file> .* 24 hours"
                       ) as refused:  # fmt: skip
        uploads.begin("ann", 2_500_000)
    assert refused.value.retry_after == 20 * 3600, "the oldest came four hours ago"
    assert uploads.begin("ann", 2 * MB + FORM_BYTES).most == 2 * MB, "a form's own lines are not the file's"
    with pytest.raises(LimitReachedError, match=r"^file: you keep 5 uploads, the most that a user may \(uploads_a_u"):
        uploads.begin("ann", 1)
    newest, *_, oldest = uploads.listed("ann")
    assert (newest.name, oldest.name) == ("3.csv", "0.csv")
    with pytest.raises(UnknownJobError):
        uploads.remove(oldest.upload_id, "bob")
    uploads.remove(oldest.upload_id, "ann")
    assert [one.name for one in uploads.listed("ann")] == ["3.csv", "2.csv", "1.csv"]
    assert uploads.begin("ann", 1).most == 2 * MB


def test_what_a_killed_process_took_in_counts_no_more(settings: Settings, tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from forecast_platform.settings import build\n"
        "from forecast_platform.training_jobs.uploads import UploadStore\n"
        "limits = {'uploads_a_user': 5, 'uploads_mb_a_user': 10, 'max_upload_mb': 4}\n"
        "uploads = UploadStore(build(warehouse=Path(sys.argv[1]), training_jobs=limits))\n"
        "print([uploads.begin('ann', 1).most for _ in range(5)], flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(settings.warehouse)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == f"{[4 * MB] * 5}\n"
    uploads = UploadStore(settings)
    assert begun(uploads, "ann", 1) is None, "they come in"
    process.kill()
    process.communicate()
    assert uploads.begin("ann").most == 4 * MB


def test_a_reservation_of_another_host_goes_with_the_drafts(settings: Settings) -> None:
    uploads = UploadStore(settings)
    uploads.begin("ann")
    with uploads._file.open(write=True) as connection:
        connection.execute("UPDATE arriving_uploads SET owner = 'elsewhere:1:1', size = ?", (10 * MB,))
    assert begun(uploads, "ann", None) is None
    uploads.drop("2000-01-01T00:00:00.000+00:00")
    assert begun(uploads, "ann", None) is None
    uploads.drop("9999-01-01T00:00:00.000+00:00")
    assert begun(uploads, "ann", None) is not None
