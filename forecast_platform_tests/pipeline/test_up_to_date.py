"""The source is read again wherever unified_data might not hold what it gives, and only there."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_platform.pipeline import up_to_date
from forecast_platform.pipeline.up_to_date import SourceMark
from forecast_platform.settings import load
from forecast_platform.sources.landing import LandingSource
from forecast_platform.warehouse.schemas import UNIFIED_DATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.pipeline.conftest import Shell
from forecast_platform_tests.worlds import SERIES, ingest_all, settings_for, write_landing

NOW = dt.datetime(2018, 5, 2, 12, tzinfo=dt.timezone.utc)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is kept of earlier tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "forecast_platform" / "up-to-date"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A platform whose unified_data holds all that its files give, which is kept as known."""
    write_landing(tmp_path / "landing")
    ingest_all(_platform(tmp_path))
    mark = _mark(tmp_path)
    assert not mark.is_up_to_date()
    mark.keep()
    assert _mark(tmp_path).is_up_to_date()
    return tmp_path


def _platform(root: Path, now: dt.datetime = NOW, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **changes).with_clock(lambda: now))


def _mark(root: Path, now: dt.datetime = NOW, **changes: object) -> SourceMark:
    return SourceMark(_platform(root, now, **changes), SERIES)


def _one_more_row(root: Path) -> None:
    with (root / "landing" / "market" / "alpha.csv").open("a") as file:
        file.write("2018-04-02,101.5,101,102,100,1000\n")


def _one_row_less(root: Path) -> None:
    platform = _platform(root)
    rows = platform.warehouse.read(UNIFIED_DATA, where={"commodity": "Alpha"}).sort_by("date")
    platform.warehouse.replace(UNIFIED_DATA, rows.slice(0, len(rows) - 1), {"commodity": "Alpha"})


def _made_anew_with_other_prices(root: Path) -> None:
    """The table is of the same version as before."""
    platform = _platform(root)
    version = platform.warehouse.version(UNIFIED_DATA)
    shutil.rmtree(root / "warehouse")
    write_landing(root / "other", seed=8)
    again = Platform.from_settings(settings_for(root, landing=root / "other"))
    ingest_all(again)
    assert again.warehouse.version(UNIFIED_DATA) == version


@pytest.mark.parametrize("change", [_one_more_row, _one_row_less, _made_anew_with_other_prices])
def test_what_changed_is_read_again(root: Path, change: Callable[[Path], None]) -> None:
    change(root)
    assert not _mark(root).is_up_to_date()


@pytest.mark.parametrize(
    "changes",
    [
        {"now": NOW + dt.timedelta(days=1)},
        {"lookback_years": 2},
        {"publication_lag_days": {"market": 1}},
        {"series": [{"name": "Alpha", "confirmed": ["2018-03-29"]}, {"name": "Beta"}]},
    ],
    ids=["day", "lookback", "lag", "confirmed"],
)
def test_another_day_or_setting_is_read_again(root: Path, changes: dict[str, Any]) -> None:
    assert not _mark(root, **changes).is_up_to_date()


def test_other_code_reads_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = up_to_date._code()
    assert "landing.py" in code
    assert "ingest.py" in code
    monkeypatch.setattr(up_to_date, "_code", lambda: code + " ")
    assert not _mark(root).is_up_to_date()


def test_a_file_that_changes_while_it_is_read_is_not_known(root: Path) -> None:
    _one_more_row(root)
    mark = _mark(root)
    _one_more_row(root)
    mark.keep()
    assert not mark.is_up_to_date()
    assert not _mark(root).is_up_to_date()


def test_a_source_that_cannot_tell_what_it_holds_is_asked_each_time(root: Path) -> None:
    series = [{"name": "Alpha", "ticker": "KC=F"}, {"name": "Beta", "ticker": "SB=F"}]
    mark = SourceMark(_platform(root, source="feeds", series=series), SERIES)
    mark.keep()
    assert not mark.is_up_to_date()


def test_marks_of_other_days_are_removed_and_none_is_needed(root: Path, cache: Path) -> None:
    [path] = cache.iterdir()
    old = time.time() - 3 * 24 * 3600
    os.utime(path, (old, old))
    _mark(root, lookback_years=2).keep()
    assert not path.exists()
    shutil.rmtree(cache)
    cache.touch()
    mark = _mark(root)
    mark.keep()
    assert not mark.is_up_to_date()


def test_commands_read_the_source_once_and_again_where_a_file_is_refused(
    small: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reads: list[int] = []
    read = LandingSource.read
    monkeypatch.setattr(LandingSource, "read", lambda self, series: reads.append(1) or read(self, series))

    def backfill(code: int) -> tuple[int, str]:
        reads.clear()
        span = ["--start-date", "2018-02-01", "--end-date", "2018-02-01"]
        assert shell("backfill", "--commodity", "Alpha", "--models", "naive", *span, "--no-score") == code
        return len(reads), capsys.readouterr().out

    assert backfill(0)[0] > 0
    assert backfill(0)[0] == 0
    file = small / "landing" / "market" / "alpha.csv"
    content = file.read_text()
    file.write_text(content.replace("2018-03-28", "yesterday"))
    for _ in range(2):
        count, said = backfill(1)
        assert count > 0
        assert "refused by the source" in said
    file.write_text(content)
    stored = np.unique(Platform.from_settings(load()).series_table("Alpha").dates)
    backfill(0)
    assert backfill(0)[0] == 0
    assert np.array_equal(np.unique(Platform.from_settings(load()).series_table("Alpha").dates), stored)
