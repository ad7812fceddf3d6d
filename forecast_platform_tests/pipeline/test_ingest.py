"""unified_data: what the source holds, once, as known on each day; a refused file keeps back its series only."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from forecast_platform.pipeline.ingest import catch_up, ingest
from forecast_platform.warehouse.schemas import UNIFIED_DATA
from forecast_platform.work.platform import Platform
from forecast_platform_tests.worlds import FIRST, LAST, SERIES, settings_for, write_landing


def _platform(root: Path, **changes: object) -> Platform:
    return Platform.from_settings(settings_for(root, **changes))


def _frame(platform: Platform, series: str) -> pd.DataFrame:
    rows = platform.warehouse.read(UNIFIED_DATA, where={"commodity": series})
    return rows.to_pandas().sort_values("date", ignore_index=True)


def test_every_calendar_day_is_there_once_and_closed_days_repeat_the_close(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    frame = _frame(platform, "Alpha")
    start = platform.settings.history_start
    assert frame.date.tolist() == [start + dt.timedelta(days=n) for n in range((LAST - start).days + 1)]
    closed = ~frame.is_observed
    assert (frame.close[closed].to_numpy() == frame.close.shift(1)[closed].to_numpy())[1:].all()
    assert frame.filled_columns[closed].str.contains("close").all()
    assert not frame.filled_columns[frame.is_observed].str.contains("close").any()


def test_days_that_the_source_cannot_fill_fail_with_the_reason_and_the_others_are_written(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path, start_date=dt.date(2017, 1, 1), lookback_years=3)
    report = ingest(platform, ["Alpha"], dt.date(2014, 1, 1), dt.date(2018, 4, 5))
    outcome = report.outcomes["Alpha"]
    assert outcome.failed[dt.date(2014, 1, 1)] == f"data of Alpha begin on {FIRST}"
    # Good Friday and the weekend after the last close are closed days, known not to bring one.
    assert set(outcome.failed) == {dt.date(2014, 1, 1), *(dt.date(2018, 4, day) for day in (2, 3, 4, 5))}
    assert "data of Alpha end on 2018-04-01" in outcome.failed[dt.date(2018, 4, 2)]
    assert len(outcome.written) == (dt.date(2018, 4, 1) - FIRST).days + 1


def test_ingesting_again_writes_nothing(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    version = platform.warehouse.version(UNIFIED_DATA)
    report = ingest(platform, SERIES, platform.settings.history_start, LAST)
    assert all(not outcome.written and outcome.skipped for outcome in report.outcomes.values())
    assert platform.warehouse.version(UNIFIED_DATA) == version
    changed, refused = catch_up(platform, SERIES)
    assert {first for first, _ in changed.values()} == {dt.date(2018, 3, 30)}, "only the closed days after LAST"
    assert refused == []


def test_new_days_of_several_series_are_one_commit_and_the_rows_of_each_alone(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    together, alone = (_platform(tmp_path, warehouse=tmp_path / name) for name in ("together", "alone"))
    before, last = dt.date(2018, 3, 20), dt.date(2018, 3, 27)
    for platform in (together, alone):
        ingest(platform, SERIES, platform.settings.history_start, before)
    versions = [platform.warehouse.version(UNIFIED_DATA) or 0 for platform in (together, alone)]
    report = ingest(together, SERIES, before, last)
    assert [len(report.outcomes[name].written) for name in SERIES] == [7, 7]
    for name in SERIES:
        ingest(alone, [name], before, last)
        assert _frame(together, name).equals(_frame(alone, name))
    now = [platform.warehouse.version(UNIFIED_DATA) or 0 for platform in (together, alone)]
    assert (now[0] - versions[0], now[1] - versions[1]) == (1, 2)


def test_a_revised_price_changes_its_row_and_the_closed_days_that_repeat_it(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    file = tmp_path / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.date == "2018-01-05", "close"] += 1.0  # a Friday
    frame.to_csv(file, index=False)
    report = ingest(platform, SERIES, platform.settings.history_start, LAST)
    assert sorted(report.outcomes["Alpha"].written) == [dt.date(2018, 1, day) for day in (5, 6, 7)]
    assert not report.outcomes["Beta"].written


def test_a_refused_file_keeps_back_its_series_and_no_other(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    file = tmp_path / "landing" / "market" / "beta.csv"
    lines = file.read_text().splitlines()
    lines.insert(5, lines[5])
    file.write_text("\n".join(lines) + "\n")
    platform = _platform(tmp_path)
    report = ingest(platform, SERIES, platform.settings.history_start, LAST)
    assert report.outcomes["Alpha"].written
    assert not report.outcomes["Beta"].written
    [reason] = set(report.outcomes["Beta"].failed.values())
    assert "market/beta.csv, row 7" in reason
    assert "is there twice" in reason
    assert _frame(platform, "Beta").empty


def test_a_refused_macro_file_leaves_the_values_it_had_given_and_new_days_carry_them(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    write_landing(landing, last=dt.date(2018, 3, 23))
    series = [{"name": name, "covariates": [], "regions": []} for name in SERIES]
    platform = _platform(tmp_path, series=series)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    before = _frame(platform, "Alpha")
    whole = (landing / "macro.csv").read_bytes()
    write_landing(landing)
    mended = (landing / "macro.csv").read_bytes()
    (landing / "macro.csv").write_bytes(b"\xff" + whole[1:])
    changed, refused = catch_up(platform, ["Alpha"])
    assert "macro.csv, row 1" in refused[0]
    assert changed["Alpha"][0] == before.date.iloc[-1] + dt.timedelta(days=1)
    report = ingest(platform, SERIES, platform.settings.history_start, LAST)
    assert any("the values of vix are those known before" in note for note in report.outcomes["Alpha"].notes)
    after = _frame(platform, "Alpha")
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    new = after.iloc[len(before) :]
    assert len(new)
    assert new.vix.unique().tolist() == [before.vix.iloc[-1]]
    assert new.filled_columns.str.contains("vix").all()
    (landing / "macro.csv").write_bytes(mended)
    again = ingest(platform, ["Alpha"], platform.settings.history_start, LAST).outcomes["Alpha"]
    assert min(again.written) > before.date.iloc[-1]
    assert _frame(platform, "Alpha").vix.nunique() > before.vix.nunique()


def test_a_missing_close_is_filled_forward_and_counted(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    file = tmp_path / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.date == "2018-01-05", "close"] = np.nan
    frame.to_csv(file, index=False)
    platform = _platform(tmp_path)
    report = ingest(platform, ["Alpha"], platform.settings.history_start, LAST)
    assert any("1 exchange sessions have no close" in note for note in report.outcomes["Alpha"].notes)
    row = _frame(platform, "Alpha").set_index("date").loc[dt.date(2018, 1, 5)]
    assert row.is_trading_day
    assert not row.is_observed
    assert row.close == frame.close[frame.date == "2018-01-04"].item()


def test_roll_days_are_flagged_from_the_settings(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    series = [{"name": "Alpha", "roll_dates": ["2018-02-20"]}]
    platform = _platform(tmp_path, series=series)
    ingest(platform, ["Alpha"], platform.settings.history_start, LAST)
    frame = _frame(platform, "Alpha")
    assert frame.date[frame.is_roll_day].tolist() == [dt.date(2018, 2, 20)]


def _unit_changed(root: Path) -> Path:
    """Alpha's file in another unit, with a close more than what was ingested."""
    path = root / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(path)
    newer = {**frame.iloc[-1].to_dict(), "date": "2018-04-02"}
    prices = ["open", "high", "low", "close"]
    frame = pd.concat([frame, pd.DataFrame([newer])], ignore_index=True)
    frame[prices] = frame[prices] / 100
    frame.to_csv(path, index=False)
    return path


def test_a_revision_by_one_factor_is_held_until_it_is_confirmed(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    before = _frame(platform, "Alpha")
    _unit_changed(tmp_path)
    report = ingest(platform, SERIES, platform.settings.history_start, dt.date(2018, 4, 2))
    [reason] = report.rejections
    observed = int(before["is_observed"].sum())
    assert f"Alpha: {observed:,} of {observed:,} closes are 0.01 of what they were: the unit has changed" in reason
    assert "`confirmed: [2018-04-02]`" in reason
    assert set(report.outcomes["Alpha"].failed.values()) == {reason}
    assert not set(report.outcomes["Beta"].failed.values()) & {reason}
    pd.testing.assert_frame_equal(_frame(platform, "Alpha"), before)
    changed, refused = catch_up(platform, SERIES)
    assert "Alpha" not in changed
    assert refused == [reason]
    series = [{"name": "Alpha", "confirmed": ["2018-04-02"]}, {"name": "Beta"}]
    confirmed = _platform(tmp_path, series=series)
    report = ingest(confirmed, SERIES, confirmed.settings.history_start, dt.date(2018, 4, 2))
    assert report.rejections == []
    assert _frame(confirmed, "Alpha").close.iloc[-1] == round(before.close.iloc[-1] / 100, 6)


def test_a_correction_and_a_back_adjustment_are_written(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    path = tmp_path / "landing" / "market" / "alpha.csv"
    frame = pd.read_csv(path)
    frame["close"] *= 1.03
    frame.to_csv(path, index=False)
    report = ingest(platform, ["Alpha"], platform.settings.history_start, LAST)
    assert report.rejections == []
    assert report.outcomes["Alpha"].written


def test_a_file_that_is_still_being_written_leaves_its_series_as_it_was_until_it_stands_still(tmp_path: Path) -> None:
    write_landing(tmp_path / "landing")
    platform = _platform(tmp_path)
    ingest(platform, SERIES, platform.settings.history_start, LAST)
    before = _frame(platform, "Alpha")
    path = tmp_path / "landing" / "market" / "alpha.csv"
    path.write_text(path.read_text().rstrip("\n")[:-3])
    report = ingest(platform, SERIES, platform.settings.history_start, LAST)
    [reason] = report.rejections
    assert reason.startswith("market/alpha.csv: still being written: its last line has no end")
    assert set(report.outcomes["Alpha"].failed.values()) == {reason}
    assert not report.outcomes["Beta"].failed
    pd.testing.assert_frame_equal(_frame(platform, "Alpha"), before)
    changed, refused = catch_up(platform, SERIES)
    assert "Alpha" not in changed
    assert len(refused) == 1
    os.utime(path, (time.time() - 60,) * 2)
    changed, refused = catch_up(platform, SERIES)
    assert changed["Alpha"][0] == LAST
    assert refused == []
