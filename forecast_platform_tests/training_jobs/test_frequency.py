"""Grids of stamps: recognised with the anchor that the data have, and nothing shifted."""

from __future__ import annotations

import numpy as np
import pytest

from forecast_platform.training_jobs.config import JobError
from forecast_platform.training_jobs.frequency import Frequency, recognise


def stamps(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[s]")


def every(first: str, step: int, n: int) -> np.ndarray:
    return (np.datetime64(first, "s") + step * np.arange(n)).astype("datetime64[s]")


CASES = {
    "D": (every("2024-02-27", 86_400, 10), 7),
    "B": (np.busday_offset("2024-02-26", np.arange(12)).astype("datetime64[s]"), 5),
    "W-MON": (every("2024-01-01", 7 * 86_400, 9), 52),
    "W-SUN": (every("2024-01-07", 7 * 86_400, 9), 52),
    "2W-WED": (every("2024-01-03", 14 * 86_400, 9), 1),
    "MS": (np.arange("2023-11", "2024-09", dtype="datetime64[M]").astype("datetime64[s]"), 12),
    "ME": ((np.arange("2023-11", "2024-09", dtype="datetime64[M]") + 1).astype("datetime64[D]") - 1, 12),
    "QS": (np.arange("2020-01", "2024-01", 3, dtype="datetime64[M]").astype("datetime64[s]"), 4),
    "YS": (np.arange("2001", "2012", dtype="datetime64[Y]").astype("datetime64[s]"), 1),
    "h": (every("2024-01-01T00:30:00", 3600, 30), 24),
    "15min": (every("2024-01-01", 900, 30), 96),
}


@pytest.mark.parametrize("alias", CASES)
def test_a_grid_is_recognised_and_goes_on_as_it_began(alias: str) -> None:
    whole, season = CASES[alias]
    whole = whole.astype("datetime64[s]")
    known, later = whole[:-3], whole[-3:]
    found = recognise(known, [0], ["a"], None)
    assert (found.alias, found.season_length) == (alias, season)
    index = found.index(known)
    assert (np.diff(index) == 1).all()
    assert (found.stamps(index) == known).all()
    assert (found.stamps(index[-1] + 1 + np.arange(3)) == later).all()


def test_months_keep_their_day_and_february_gets_its_last() -> None:
    found = recognise(stamps("2024-10-30", "2024-11-30", "2024-12-30", "2025-01-30"), [0], ["a"], None)
    assert [str(day)[:10] for day in found.stamps(found.index(stamps("2025-01-30")) + np.arange(1, 3))] == [
        "2025-02-28",
        "2025-03-30",
    ]


@pytest.mark.parametrize("asked", ["weekly", "W", "w", "W-SUN", "7D"])
def test_weeks_are_anchored_where_the_data_are_whatever_the_alias_says(asked: str) -> None:
    assert recognise(CASES["W-MON"][0], [0], ["a"], asked).alias == "W-MON"


def test_another_frequency_than_that_of_the_data_is_refused_with_the_first_stamp_that_does_not_fit() -> None:
    with pytest.raises(JobError, match=r"frequency: the stamp 2024-02-2\dT.* of series 'a' .* does not fit .*'weekly'"):
        recognise(CASES["D"][0], [0], ["a"], "weekly")


def test_a_finer_frequency_than_that_of_the_data_is_refused() -> None:
    with pytest.raises(JobError, match="series 'a' has 9 of the 57 rows that frequency 'daily' gives it"):
        recognise(CASES["W-MON"][0], [0], ["a"], "daily")


def test_series_of_different_frequencies_are_refused() -> None:
    both = np.concatenate([CASES["D"][0], CASES["W-MON"][0]]).astype("datetime64[s]")
    with pytest.raises(JobError, match="mixed frequencies"):
        recognise(both, [0, 10], ["a", "b"], None)


@pytest.mark.parametrize("text", ["fortnightly", "0D", "", "W2", "-W"])
def test_what_is_no_frequency_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="is no frequency: daily, weekly"):
        recognise(CASES["D"][0], [0], ["a"], text)


def test_stamps_off_every_grid_have_no_number() -> None:
    assert Frequency("business", 1).index(stamps("2024-03-02", "2024-03-04")).tolist()[0] == -1
