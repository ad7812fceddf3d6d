"""What others may read is closed, and no more than that is changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.doctor.stores import privacy
from forecast_platform.host.private_files import close, restrict, too_open
from forecast_platform.settings import Settings, build

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A warehouse with a folder and two files that others may read, in a folder whose files get its group."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = build(warehouse=tmp_path / "warehouse", readable_by="group")
    folder = settings.warehouse / "table"
    folder.mkdir(parents=True)
    settings.warehouse.chmod(0o750)
    for name in ("a", "b"):
        (folder / name).touch()
        (folder / name).chmod(0o644)
    folder.chmod(0o2755)
    return settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_goes_on_to_give_its_group_to_new_files(opened: Settings) -> None:
    assert close(opened) == (3, [])
    assert mode(opened.warehouse / "table") == 0o2750
    assert mode(opened.warehouse / "table" / "a") == 0o640


def test_a_file_that_cannot_be_closed_is_named_and_keeps_no_other_from_it(
    opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, chmod = opened.warehouse / "table" / "a", Path.chmod

    def another_s(path: Path, *arguments: Any, **options: Any) -> None:
        if path == file:
            raise PermissionError(1, "Operation not permitted")
        chmod(path, *arguments, **options)

    monkeypatch.setattr(Path, "chmod", another_s)
    assert close(opened) == (2, [file])
    assert list(too_open(opened)) == [file]


def test_a_file_system_that_keeps_no_permissions_is_not_called_closed(
    opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_arguments, **_options: None)
    closed, left = close(opened)
    assert (closed, len(left)) == (0, 3)


def test_the_doctor_warns_of_what_can_be_closed_and_not_for_ever_of_a_mount_without_permissions(
    opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [found] = privacy(opened)
    assert (found.severity, found.mend) == ("warning", "run `forecast-platform migrate`")
    # As on FAT: whatever is asked, each file has the mode that the mount gives.
    plain = os.fstat
    monkeypatch.setattr(Path, "chmod", lambda *_arguments, **_options: None)
    monkeypatch.setattr(os, "fstat", lambda handle: os.stat_result((0o100777, *plain(handle)[1:])))
    [found] = privacy(opened)
    assert found.severity == "good"
    assert "keeps no permissions" in found.found


@pytest.mark.parametrize("before", [0o002, 0o077])
@pytest.mark.parametrize(("readable_by", "file", "folder"), [("owner", 0o600, 0o700), ("group", 0o640, 0o750)])
def test_what_is_written_is_for_whom_the_settings_say_whatever_the_shell_s_umask(
    tmp_path: Path, before: int, readable_by: str, file: int, folder: int
) -> None:
    was = os.umask(before)
    try:
        restrict(build(warehouse=tmp_path, readable_by=readable_by))
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "file").touch()
    finally:
        os.umask(was)
    assert (mode(tmp_path / "made" / "file"), mode(tmp_path / "made")) == (file, folder)
