"""Exchange sessions: known holidays, requests beyond what an exchange has published, unknown names."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from forecast_platform.sources.base import SourceError
from forecast_platform.sources.calendars import last_session_on_or_before, next_session_after, sessions


def test_new_york_is_shut_on_the_first_monday_of_2023() -> None:
    found = sessions("XNYS", dt.date(2022, 12, 28), dt.date(2023, 1, 4))
    assert found.astype(str).tolist() == ["2022-12-28", "2022-12-29", "2022-12-30", "2023-01-03", "2023-01-04"]
    assert last_session_on_or_before(found, dt.date(2023, 1, 2)) == dt.date(2022, 12, 30)
    assert next_session_after(found, dt.date(2022, 12, 30)) == dt.date(2023, 1, 3)


def test_a_request_is_the_slice_of_a_wider_one() -> None:
    wide = sessions("XNYS", dt.date(1999, 1, 1), dt.date(2031, 1, 1))
    start, end = np.datetime64("2009-12-30"), np.datetime64("2020-01-03")
    assert np.array_equal(sessions("XNYS", start, end), wide[(wide >= start) & (wide <= end)])
    assert np.all(np.diff(wide) > np.timedelta64(0, "D"))


@pytest.mark.parametrize(("exchange", "start"), [("XSHG", 2080), ("XSHG", 1970), ("XSAU", 2080), ("XSAU", 2010)])
def test_outside_its_published_years_an_exchange_keeps_its_week(exchange: str, start: int) -> None:
    found = sessions(exchange, dt.date(start, 3, 1), dt.date(start, 3, 28))
    inside = sessions(exchange, dt.date(2024, 3, 1), dt.date(2024, 3, 28))

    def weekdays(days: np.ndarray) -> set[int]:
        return {day.item().weekday() for day in days}

    assert len(found) == 20
    assert weekdays(found) == weekdays(inside)


def test_calendar_that_ends_within_the_request_is_continued() -> None:
    found = sessions("XBOM", dt.date(2024, 1, 1), dt.date(2045, 1, 1))
    assert np.diff(found).max() < np.timedelta64(12, "D")
    assert found[-1] >= np.datetime64("2044-12-28")


def test_unknown_exchange_is_named_with_close_matches() -> None:
    with pytest.raises(SourceError, match=r"exchange 'XNYZ' is no calendar .*XNYS"):
        sessions("XNYZ", dt.date(2020, 1, 1), dt.date(2020, 2, 1))


def test_empty_request_has_no_sessions() -> None:
    assert len(sessions("XNYS", dt.date(2020, 1, 2), dt.date(2020, 1, 1))) == 0
    with pytest.raises(SourceError, match="no session on or before 2020-01-01"):
        last_session_on_or_before(np.empty(0, "datetime64[D]"), dt.date(2020, 1, 1))
