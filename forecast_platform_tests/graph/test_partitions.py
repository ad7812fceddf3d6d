"""The lineage is the leakage proof: what each partition depends on, at half-year boundaries and for today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from dagster import AssetKey, DagsterInstance, MultiPartitionKey, MultiPartitionsDefinition, PartitionKeyRange
from dagster._core.test_utils import freeze_time

from forecast_platform.definitions import build_definitions
from forecast_platform.graph.partitions import Partitions, RememberedPartitions, by_series, key, range_tags
from forecast_platform.settings import SeriesSettings, Settings, build

NOW = dt.datetime(2025, 11, 17, 20, 0, tzinfo=dt.timezone.utc)


@pytest.fixture
def settings() -> Settings:
    series = (SeriesSettings(name="Coffee"), SeriesSettings(name="Sugar"))
    return build(source="sample", end_date=None, series=series, models=("naive",))


@pytest.fixture
def frozen() -> Iterator[None]:
    with freeze_time(NOW):
        yield


def upstream(settings: Settings, child: list[str], parent: list[str], day: str) -> list[str]:
    graph = build_definitions(settings).resolve_asset_graph()
    mapping = graph.get_partition_mapping(AssetKey(child), AssetKey(parent))
    child_def, parent_def = graph.get(AssetKey(child)).partitions_def, graph.get(AssetKey(parent)).partitions_def
    wanted = child_def.subset_with_partition_keys([key(day, "Coffee")])
    with DagsterInstance.ephemeral():
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(wanted, child_def, parent_def, NOW)
    keys = list(found.partitions_subset.get_partition_keys())
    assert all(isinstance(item, MultiPartitionKey) and item.keys_by_dimension["series"] == "Coffee" for item in keys)
    return sorted(item.keys_by_dimension["date"] for item in keys)


def dates_of(definition: object) -> list[str]:
    return sorted({item.keys_by_dimension["date"] for item in definition.get_partition_keys(NOW)})  # type: ignore


@pytest.mark.usefixtures("frozen")
def test_windows_and_days_of_2018_to_2025_are_16_and_2878(settings: Settings) -> None:
    partitions = Partitions(settings, settings.series_groups[0])
    windows, days = dates_of(partitions.windows), dates_of(partitions.days)
    assert (len(windows), windows[0], windows[-1]) == (16, "2018-01-01", "2025-07-01")
    assert (len(days), days[0], days[-1]) == (2878, "2018-01-01", "2025-11-17")
    history = dates_of(partitions.history_days)
    assert (history[0], history[-1]) == ("2017-12-31", "2025-11-16")


@pytest.mark.parametrize(
    ("window", "first", "last"),
    [
        ("2018-01-01", "2017-12-31", "2017-12-31"),
        ("2018-07-01", "2017-12-31", "2018-06-30"),
        ("2023-01-01", "2018-01-01", "2022-12-31"),
        ("2024-01-01", "2019-01-01", "2023-12-31"),
        ("2024-07-01", "2019-07-01", "2024-06-30"),
        ("2025-07-01", "2020-07-01", "2025-06-30"),
    ],
)
@pytest.mark.usefixtures("frozen")
def test_a_window_is_trained_on_five_years_that_end_the_day_before_it_those_before_the_first_window_as_one_partition(
    settings: Settings, window: str, first: str, last: str
) -> None:
    days = upstream(settings, ["trained_models", "naive"], ["unified_data"], window)
    assert (days[0], days[-1]) == (first, last)
    assert len(days) == (dt.date.fromisoformat(last) - dt.date.fromisoformat(first)).days + 1


@pytest.mark.parametrize(
    ("day", "window"),
    [
        ("2024-06-30", "2024-01-01"),
        ("2024-07-01", "2024-07-01"),
        ("2018-01-01", "2018-01-01"),
        ("2025-11-17", "2025-07-01"),
    ],
)
@pytest.mark.usefixtures("frozen")
def test_a_forecast_uses_the_window_that_contains_its_day_and_data_of_the_day_before(
    settings: Settings, day: str, window: str
) -> None:
    assert upstream(settings, ["distributions", "naive"], ["trained_models", "naive"], day) == [window]
    before = (dt.date.fromisoformat(day) - dt.timedelta(days=1)).isoformat()
    assert upstream(settings, ["distributions", "naive"], ["unified_data"], day) == [before]


@pytest.mark.usefixtures("frozen")
def test_point_forecasts_depend_on_the_paths_of_their_own_day(settings: Settings) -> None:
    assert upstream(settings, ["point_forecasts", "naive"], ["distributions", "naive"], "2024-03-05") == ["2024-03-05"]


@pytest.mark.usefixtures("frozen")
def test_metadata_of_a_window_depend_on_all_its_days(settings: Settings) -> None:
    days = upstream(settings, ["forecast_metadata", "naive"], ["distributions", "naive"], "2024-01-01")
    assert (days[0], days[-1], len(days)) == ("2024-01-01", "2024-06-30", 182)


@pytest.mark.parametrize(
    ("frequency", "start", "second"),
    [
        ("daily", "2018-01-01", "2018-01-02"),
        ("weekly", "2018-01-01", "2018-01-08"),
        ("semimonthly", "2018-01-01", "2018-01-15"),
        ("monthly", "2018-01-01", "2018-02-01"),
        ("quarterly", "2018-01-01", "2018-04-01"),
        ("semiannually", "2018-01-01", "2018-07-01"),
        ("annually", "2018-01-01", "2019-01-01"),
    ],
)
def test_every_train_frequency_gives_the_windows_of_its_cron(frequency: str, start: str, second: str) -> None:
    settings = build(source="sample", train_frequency=frequency, start_date=dt.date(2018, 1, 1))
    windows = dates_of(Partitions(settings, settings.series_groups[0]).windows)
    assert windows[:2] == [start, second]
    assert windows == [day.isoformat() for day in _starts(settings)]


def _starts(settings: Settings) -> list[dt.date]:
    from forecast_platform.forecasting.windows import FREQUENCIES

    return FREQUENCIES[settings.train_frequency].starts(settings.start_date, settings.end_date or settings.today())


def test_an_ended_source_has_no_partitions_after_its_end() -> None:
    settings = build(source="sample", start_date=dt.date(2018, 1, 1))
    partitions = Partitions(settings, settings.series_groups[0])
    assert dates_of(partitions.days)[-1] == "2019-01-04"
    history = dates_of(partitions.history_days)
    assert (history[0], history[-1]) == ("2017-12-31", "2019-01-03")
    assert dates_of(partitions.windows) == ["2018-01-01", "2018-07-01", "2019-01-01"]


def test_keys_are_grouped_by_series_in_configured_order() -> None:
    keys = [key("2020-01-02", "Sugar"), key("2020-01-01", "Coffee"), key("2020-01-01", "Sugar")]
    found = by_series(keys, ["Coffee", "Sugar"])
    assert list(found) == ["Coffee", "Sugar"]
    assert found["Sugar"] == [dt.date(2020, 1, 1), dt.date(2020, 1, 2)]


def test_the_keys_of_a_range_are_dagsters_own_and_made_once(
    settings: Settings, frozen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = Partitions(settings, settings.series_groups[0]).days
    theirs = MultiPartitionsDefinition({one.name: one.partitions_def for one in days.partitions_defs})
    spans = [(f"2024-01-0{first}", "2025-03-01") for first in range(1, 8)]
    ranges = [PartitionKeyRange(key(first, "Coffee"), key(last, "Sugar")) for first, last in spans]
    for wanted in ranges:
        assert days.get_partition_keys_in_range(wanted) == theirs.get_partition_keys_in_range(wanted)
    assert days == theirs
    monkeypatch.setattr(MultiPartitionsDefinition, "get_partition_keys_in_range", lambda *_: pytest.fail("again"))
    found = days.get_partition_keys_in_range(ranges[-1])
    found.clear()
    assert len(days.get_partition_keys_in_range(ranges[-1])) == 2 * 420


def test_range_tags_name_the_first_and_last_partition() -> None:
    tags = range_tags(dt.date(2020, 1, 1), dt.date(2020, 1, 31), ["Coffee", "Sugar"])
    assert tags == {
        "dagster/asset_partition_range_start": "2020-01-01|Coffee",
        "dagster/asset_partition_range_end": "2020-01-31|Sugar",
    }


def test_the_keys_of_a_range_are_made_once_and_those_of_old_ranges_of_all_groups_are_let_go(
    settings: Settings,
) -> None:
    made = [Partitions(settings, settings.series_groups[0]).days for _ in range(RememberedPartitions._KEPT + 1)]
    span = PartitionKeyRange(key("2024-01-01", "Coffee"), key("2024-01-03", "Sugar"))
    keys = [days.get_partition_keys_in_range(span) for days in made]
    assert len(keys[0]) == 6
    assert keys == [keys[0]] * len(made)
    again = made[-1].get_partition_keys_in_range(span)
    assert all(one is other for one, other in zip(again, keys[-1], strict=True))
    held = {id(owner) for owner, _, _ in RememberedPartitions._ranges}
    assert held == {id(days) for days in made[1:]}
