"""How far a run is, in a file that others read."""

from __future__ import annotations

import errno
import os
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from forecast_platform.clients.databricks import progress_file
from forecast_platform.clients.databricks.progress_file import KeysDone, ProgressFile, is_progress_path, progress_path
from forecast_platform.remote import entry
from forecast_platform_tests.worlds import settings_for

WRONG = (
    b'{"what": "x", "done": "few", "total": 3, "left_seconds": null}',
    b'{"what": "x", "done": 1e999, "total": 3, "left_seconds": null}',
    b'{"what": "x", "done": 1, "total": 3, "left_seconds": Infinity}',
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_file, "_WRITE_SECONDS", 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list of one; tests move it."""
    now = [1000.0]
    # In that module only: threads wait by the process's own clock.
    monkeypatch.setattr(progress_file, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    return now


def test_the_pace_is_of_what_was_made_and_not_of_what_was_unchanged(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "progress" / "run.json"
    told = ProgressFile(str(path), pytest.fail)
    told.begin(1000)

    def read() -> KeysDone | None:
        return KeysDone.of(path.read_bytes())

    with told.step("forecasts A naive", 500) as report:
        report(400, 500, "")
        assert read() == KeysDone("forecasts A naive", 400, 1000, None)
        clock[0] += 10
        report(450, 500, "")
        assert read() == KeysDone("forecasts A naive", 450, 1000, 550 / 5)
        clock[0] += 10
        report(500, 500, "")
    clock[0] += 77  # scores, between two models
    with told.step("forecasts A xgboost", 500) as report:
        report(300, 500, "")
        assert read() == KeysDone("forecasts A xgboost", 800, 1000, 200 / 5)
    told.begin(10)
    with told.step("forecasts B naive", 10) as report:
        report(1, 10, "")
        assert read() == KeysDone("forecasts B naive", 1, 10, None), "another phase has a pace of its own"
    told.close()
    assert not path.exists()


def test_what_cannot_be_told_is_said_once_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("no folder")
    said: list[str] = []
    told = ProgressFile(str(tmp_path / "progress" / "run.json"), said.append)
    told.begin(9)
    with told.step("forecasts A naive", 9) as report:
        for done in range(1, 10):
            report(done, 9, "")
    told.close()
    [text] = said
    assert text.startswith("how far this run is cannot be told")


def test_a_write_that_fails_is_tried_again_and_the_file_removed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "progress" / "run.json"
    told = ProgressFile(str(path), pytest.fail)
    told.begin(9)
    write, calls = Path.write_text, count(1)

    def now_and_then(self: Path, text: str) -> int:
        if next(calls) % 2:
            raise OSError(errno.EIO, "the volume is away")
        return write(self, text)

    monkeypatch.setattr(Path, "write_text", now_and_then)
    mkdir, made = Path.mkdir, count(1)

    def not_at_first(self: Path, **more: bool) -> None:
        if next(made) == 1:
            raise OSError(errno.EIO, "the volume is away")
        mkdir(self, **more)

    monkeypatch.setattr(Path, "mkdir", not_at_first)
    with told.step("forecasts A naive", 9) as report:
        for done in range(1, 9):
            report(done, 9, "")
    found = KeysDone.of(path.read_bytes())
    assert found
    assert found.done == 7
    told.close()
    assert not path.exists()


def test_files_of_runs_that_were_killed_are_removed_after_days(tmp_path: Path) -> None:
    folder = Path(progress_path(str(tmp_path), "x")).parent
    folder.mkdir()
    old, recent = folder / "old.json", folder / "recent.json"
    for path in (old, recent):
        path.write_text("{}")
    long_ago = time.time() - 9 * 86_400
    os.utime(old, (long_ago, long_ago))
    told = ProgressFile(progress_path(str(tmp_path), "x"), pytest.fail)
    told.begin(1)
    with told.step("forecasts A naive", 1) as report:
        report(1, 1, "")
    assert sorted(path.name for path in folder.iterdir()) == ["recent.json", "x.json"]


@pytest.mark.parametrize("content", [None, b"", b'{"what": "fore', b"[]", b'{"other": 1}', *WRONG])
def test_a_file_that_is_not_whole_says_nothing(content: bytes | None) -> None:
    assert KeysDone.of(content) is None


def test_the_parameter_of_somebody_else_s_job_is_no_progress_file() -> None:
    assert is_progress_path(progress_path("/Volumes/a/b/c", f"forecast-platform-{32 * '0'}"))
    for path in ("", "yes", "/Volumes/a/b/c/progress/state.json", "progress/forecast-platform-0.json"):
        assert not is_progress_path(path)


def test_an_action_tells_the_keys_of_all_its_series_and_models(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(small)
    monkeypatch.setattr(entry, "settings_for", lambda given: settings)
    monkeypatch.setattr(ProgressFile, "close", lambda self: None)
    seen: list[KeysDone] = []
    write = Path.write_text

    def spy(path: Path, text: str) -> int:
        if path.name == "run.json":
            seen.append(KeysDone.of(text.encode()) or pytest.fail(text))
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", spy)
    span = {"start_date": "2018-02-01", "end_date": "2018-02-05", "models": "naive,random_walk", "compute": "local"}
    entry.run("backfill", {**span, "progress": str(tmp_path / "run.json")})
    names = settings.series_names
    assert [told.what for told in seen] == [
        f"forecasts {name} {model}" for name in names for model in ("naive", "random_walk")
    ]
    assert [told.done for told in seen] == [5 * (n + 1) for n in range(2 * len(names))]
    assert {told.total for told in seen} == {10 * len(names)}
