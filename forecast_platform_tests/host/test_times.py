"""A moment is written in one zone, and the zone is said."""

from __future__ import annotations

import datetime as dt

import pytest

from forecast_platform.host.times import in_zone


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("America/Los_Angeles", "2019-01-04 08:03 PST"),
        ("Asia/Tokyo", "2019-01-05 01:03 JST"),
        ("America/Sao_Paulo", "2019-01-04 14:03 UTC-02"),
        ("UTC", "2019-01-04 16:03 UTC"),
    ],
)
def test_a_moment_is_written_with_its_zone(zone: str, text: str) -> None:
    moment = dt.datetime(2019, 1, 4, 16, 3, 59, tzinfo=dt.timezone.utc)
    assert in_zone(moment, zone) == in_zone(moment.timestamp(), zone) == text


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        in_zone(dt.datetime(2019, 1, 4), "UTC")  # noqa: DTZ001 - that is the point
