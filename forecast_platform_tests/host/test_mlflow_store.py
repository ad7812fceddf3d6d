"""MLflow's local database is whole or not there, wherever its making is cut off."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from forecast_platform.host.mlflow_store import client_with
from forecast_platform.settings import Settings, build
from forecast_platform.work.run_files import log_files
from forecast_platform_tests.waiting import until

_MAKE = "import sys; from forecast_platform.host.mlflow_store import client_with as c; from forecast_platform.settings "
_MAKE += "import build; from pathlib import Path; c(build(warehouse=Path(sys.argv[1])), 'fits')"


def _killed_in_the_middle(warehouse: Path) -> Path:
    """The file that a process was making when it was killed, some migrations before the end."""
    made = warehouse / "_mlflow" / ".mlflow.db.being-made"
    process = subprocess.Popen([sys.executable, "-c", _MAKE, str(warehouse)], stderr=subprocess.DEVNULL)

    def begun() -> bool:
        assert process.poll() is None
        if not made.is_file() or not made.stat().st_size:
            return False
        with contextlib.closing(sqlite3.connect(f"file:{made}?mode=ro", uri=True)) as store:
            try:
                return store.execute("SELECT count(*) FROM registered_models").fetchone() == (0,)
            except sqlite3.OperationalError:
                return False

    until(begun, "some migrations", pause=0.01)
    process.kill()
    process.wait()
    return made


def _works(settings: Settings) -> None:
    client, experiment = client_with(settings, "fits")
    run = client.create_run(experiment)
    assert client_with(settings, "fits")[0].get_run(run.info.run_id).info.experiment_id == experiment


@pytest.mark.slow
def test_one_whose_making_was_killed_is_made_by_the_next_process(tmp_path: Path) -> None:
    made = _killed_in_the_middle(tmp_path)
    assert made.is_file()
    database = tmp_path / "_mlflow" / "mlflow.db"
    assert not database.exists()
    # What the version before left: the same under the final name.
    older = tmp_path / "older"
    (older / "_mlflow").mkdir(parents=True)
    (older / "_mlflow" / "mlflow.db").write_bytes(made.read_bytes())
    for warehouse in (tmp_path, older):
        _works(build(warehouse=warehouse))
    assert sorted(one.name for one in database.parent.iterdir() if one.suffix == ".being-made") == []


def test_one_that_holds_no_table_yet_is_made(tmp_path: Path) -> None:
    (tmp_path / "_mlflow").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "_mlflow" / "mlflow.db")) as store:
        store.execute("PRAGMA user_version = 1")
    _works(build(warehouse=tmp_path))


@pytest.mark.parametrize(
    "elsewhere", ["", "dbfs:/databricks/mlflow-tracking/1/artifacts", "file://server/share/artifacts"]
)
def test_files_become_a_run_s_artifacts_also_where_its_folder_is_not_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    client, experiment = client_with(build(warehouse=tmp_path / "with a space"), "fits")
    run = client.create_run(experiment)
    files = {"model/fits/a.zip": b"\x00\x01", "report.html": b"<html>"}
    sent: list[str] = []
    real = client.log_artifacts
    monkeypatch.setattr(client, "log_artifacts", lambda *given: (sent.append(given[0]), real(*given))[1])
    if elsewhere:
        monkeypatch.setattr(run.info, "_artifact_uri", elsewhere)
    with pytest.raises(ValueError, match=r"'\.\./x' is no place"):
        log_files(client, run, {**files, "../x": b""})
    log_files(client, run, files)
    assert sent == ([run.info.run_id] if elsewhere else [])
    for name, data in files.items():
        assert Path(client.download_artifacts(run.info.run_id, name)).read_bytes() == data
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {"model", "report.html"}
