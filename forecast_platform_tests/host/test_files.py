"""What a killed writer leaves is cleared away, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from forecast_platform.host import files
from forecast_platform.host.files import remove_leftovers, write_whole


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "language" / "small"
    folder.mkdir(parents=True)
    # As a SIGKILL leaves it: written, neither renamed nor removed.
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        patched.setattr(files, "_sync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        for name in ("corpus.json", "young.json"):
            with pytest.raises(KeyboardInterrupt):
                write_whole(folder / name, "half")
    write_whole(folder / "corpus.json", "whole")
    others = [folder / name for name in (".corpus.json.tmp", "notes.0123456789ab.tmp", ".a.0123456789ag.tmp")]
    for other in others:
        other.touch()
    old = time.time() - 25 * 3600
    for path in folder.iterdir():
        if "young" not in path.name:
            os.utime(path, (old, old))
    assert remove_leftovers(tmp_path, 24) == 1
    kept = {path.name for path in folder.iterdir()}
    assert {"corpus.json", *(other.name for other in others)} < kept
    assert [name for name in kept if name.startswith(".young.json.")]
    assert len(kept) == 5
