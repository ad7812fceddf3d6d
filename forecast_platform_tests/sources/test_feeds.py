"""Feeds: the real clients against a local server that answers in the services' recorded shapes, and the merging."""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from forecast_platform.settings import SeriesSettings, SettingsError, build
from forecast_platform.settings.feeds import FeedSettings
from forecast_platform.sources.choose import source_for
from forecast_platform.sources.feeds import FeedError, FeedSource, open_meteo, yahoo_prices
from forecast_platform.sources.landing import LandingSource

TODAY = dt.date(2023, 1, 10)
COFFEE = SeriesSettings(name="Coffee", ticker="KC=F", covariates=("vix",))
DAYS = pd.bdate_range("2023-01-02", "2023-01-09")


@dataclass
class Service:
    """What the local server answers with, and what it was asked."""

    asked: list[str] = field(default_factory=list)
    status: int = 200
    failures: int = 0
    """Answers with `status` before it answers well."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    address: str = ""


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            status, body = 200, found.bodies.get(urlsplit(self.path).path, b"{}")
            if found.failures:
                found.failures -= 1
                status, body = found.status, b'{"reason": "told to fail"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        found.address = f"http://127.0.0.1:{listening.server_port}"
        yield found
        listening.shutdown()
        thread.join()


def _chart(closes: dict[str, float | None]) -> bytes:
    """A recorded answer of Yahoo's chart service, with these closes: bars are stamped at New York's midnight."""
    stamps = [int(pd.Timestamp(day, tz="America/New_York").timestamp()) for day in closes]
    values = list(closes.values())
    period = {"timezone": "EST", "start": 1673326800, "end": 1673413140, "gmtoffset": -18000}
    meta = {
        "currency": "USX",
        "symbol": "KC=F",
        "exchangeName": "NYB",
        "instrumentType": "FUTURE",
        "firstTradeDate": 946875600,
        "regularMarketTime": stamps[-1],
        "gmtoffset": -18000,
        "timezone": "EST",
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": values[-1],
        "chartPreviousClose": 167.3,
        "priceHint": 2,
        "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "max"],
    }
    quote = {"open": values, "high": values, "low": values, "close": values, "volume": [12345] * len(values)}
    result = {
        "meta": meta,
        "timestamp": stamps,
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": values}]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


@pytest.fixture
def yahoo(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The real yfinance, sent to the local server: it has no setting for the address."""
    yfinance = pytest.importorskip("yfinance", reason="the extra `feeds` is not installed")
    yfinance.set_tz_cache_location(str(tmp_path / "zones"))
    monkeypatch.setattr("yfinance.base._BASE_URL_", service.address)
    monkeypatch.setattr("yfinance.scrapers.history._BASE_URL_", service.address)
    return service


FEEDS = FeedSettings(attempts=1, timeout_seconds=3)


def test_yahoo_bars_become_exchange_days_with_the_digits_that_were_meant(yahoo: Service) -> None:
    # 149.3 as the service sends it: a float32 in float64 digits.
    yahoo.bodies["/v8/finance/chart/KC=F"] = _chart({"2023-01-05": 149.3000030517578, "2023-01-06": 158.5})
    bars = yahoo_prices(FEEDS, "KC=F", dt.date(2023, 1, 1), TODAY)
    assert [str(day.date()) for day in bars["date"]] == ["2023-01-05", "2023-01-06"]
    assert bars["close"].tolist() == [149.3, 158.5]
    assert bars["volume"].tolist() == [12345.0, 12345.0]


def test_a_day_in_progress_and_a_day_without_close_are_left_out(yahoo: Service) -> None:
    yahoo.bodies["/v8/finance/chart/KC=F"] = _chart({"2023-01-05": 1.5, "2023-01-06": None, "2023-01-10": 2.5})
    bars = yahoo_prices(FEEDS, "KC=F", dt.date(2023, 1, 1), TODAY)
    assert [str(day.date()) for day in bars["date"]] == ["2023-01-05"]


def test_an_unknown_symbol_and_a_service_that_is_down_name_the_symbol(yahoo: Service) -> None:
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    yahoo.bodies["/v8/finance/chart/XX=F"] = json.dumps({"chart": {"result": None, "error": error}}).encode()
    with pytest.raises(FeedError, match="prices of XX=F: Yahoo"):
        yahoo_prices(FEEDS, "XX=F", dt.date(2023, 1, 1), TODAY)
    yahoo.status, yahoo.failures = 500, 100
    with pytest.raises(FeedError, match="prices of KC=F: Yahoo"):
        yahoo_prices(FEEDS, "KC=F", dt.date(2023, 1, 1), TODAY)


def _weather_answer(start: str, values: list[list[float | None]]) -> bytes:
    """An Open-Meteo answer as it was recorded, daily values by variable."""
    names = ("temperature_2m_max", "temperature_2m_min", "temperature_2m_mean", "precipitation_sum")
    names += ("relative_humidity_2m_mean", "wind_speed_10m_max")
    days = [str(day.date()) for day in pd.date_range(start, periods=len(values[0]))]
    daily = {"time": days, **dict(zip(names, values, strict=True))}
    return json.dumps({"latitude": -21.2, "utc_offset_seconds": -10800, "daily": daily}).encode()


@pytest.fixture
def meteo(service: Service) -> FeedSettings:
    return FeedSettings(attempts=3, timeout_seconds=3, weather_url=f"{service.address}/v1/archive")


def test_open_meteo_days_are_local_days_and_unpublished_ones_are_left_out(
    service: Service, meteo: FeedSettings
) -> None:
    service.bodies["/v1/archive"] = _weather_answer("2023-01-02", [[20.5 + n, None] for n in range(6)])
    found = open_meteo(meteo, (-21.2, -45.4), dt.date(2023, 1, 2), TODAY)
    assert [str(day.date()) for day in found["date"]] == ["2023-01-02"]
    assert found["temp_max_c"].tolist() == [20.5]
    assert found["wind_speed_max_kmh"].tolist() == [25.5]
    asked = parse_qs(urlsplit(service.asked[0]).query)
    assert (asked["start_date"], asked["end_date"]) == (["2023-01-02"], ["2023-01-09"])
    assert asked["latitude"] == ["-21.2"]


def test_open_meteo_is_asked_again_after_a_failure(service: Service, meteo: FeedSettings) -> None:
    service.bodies["/v1/archive"] = _weather_answer("2023-01-02", [[20.5]] * 6)
    service.status, service.failures = 502, 1
    assert len(open_meteo(meteo, (-21.2, -45.4), dt.date(2023, 1, 2), TODAY)) == 1
    assert len(service.asked) == 2


def test_open_meteo_that_refuses_is_named(service: Service, meteo: FeedSettings) -> None:
    service.status, service.failures = 400, 1
    with pytest.raises(FeedError, match=r"weather at \(-21.2, -45.4\): .*told to fail"):
        open_meteo(meteo, (-21.2, -45.4), dt.date(2023, 1, 2), TODAY)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"daily": {"time": ["2023-01-02"]}}'])
def test_an_answer_of_another_shape_is_named(service: Service, meteo: FeedSettings, body: bytes) -> None:
    service.bodies["/v1/archive"] = body
    with pytest.raises(FeedError, match=r"weather at \(-21.2, -45.4\)"):
        open_meteo(meteo, (-21.2, -45.4), dt.date(2023, 1, 2), TODAY)


def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(FeedError, match=r"yfinance is missing: install it with `pip install 'forecast-platform\[feeds"):
        yahoo_prices(FEEDS, "KC=F", dt.date(2023, 1, 1), TODAY)


@dataclass
class World:
    """Feeds made by hand: what each symbol and place has, and what was asked of them."""

    closes: dict[str, dict[str, float]]
    temperatures: dict[str, float] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[tuple[str, dt.date, dt.date]] = field(default_factory=list)
    now: float = 1_000_000.0

    def prices(self, feeds: FeedSettings, symbol: str, first: dt.date, end: dt.date) -> pd.DataFrame:
        self.asked.append((symbol, first, end))
        if symbol in self.broken:
            raise FeedError(f"prices of {symbol}: no network")
        rows = [(pd.Timestamp(day), close) for day, close in self.closes[symbol].items() if day >= str(first)]
        return pd.DataFrame(rows, columns=["date", "close"])

    def weather(self, feeds: FeedSettings, place: tuple[float, float], first: dt.date, end: dt.date) -> pd.DataFrame:
        rows = [(pd.Timestamp(day), value) for day, value in self.temperatures.items() if day >= str(first)]
        return pd.DataFrame(rows, columns=["date", "temp_mean_c"])

    def source(self, folder: Path, **feeds: object) -> FeedSource:
        settings = FeedSettings(**{"macro": {"vix": "^VIX"}, "revise_days": 3, **feeds})  # type: ignore[arg-type]
        landing = LandingSource(folder, lambda: TODAY)
        return FeedSource(settings, landing, dt.date(2022, 12, 1), self.prices, self.weather, clock=lambda: self.now)


@pytest.fixture
def world() -> World:
    coffee = {str(day.date()): 100.0 + n for n, day in enumerate(DAYS)}
    return World({"KC=F": coffee, "^VIX": {str(day.date()): 20.0 + n for n, day in enumerate(DAYS)}})


def test_what_is_fetched_is_kept_as_landing_files_and_read(tmp_path: Path, world: World) -> None:
    raw = world.source(tmp_path).read([COFFEE])
    assert not raw.rejections
    assert raw.market["Coffee"]["close"].tolist() == list(world.closes["KC=F"].values())
    assert raw.macro is not None
    assert raw.macro["vix"].tolist() == list(world.closes["^VIX"].values())
    assert (tmp_path / "market" / "coffee.csv").read_text().startswith("date,close\n2023-01-02,100.0\n")
    assert ("KC=F", dt.date(2022, 12, 1), TODAY) in world.asked


def test_new_days_are_added_revised_values_replace_and_no_row_is_lost(tmp_path: Path, world: World) -> None:
    source = world.source(tmp_path)
    source.read([COFFEE])
    world.now += 3600
    # The feed has forgotten the first days, corrects one and has a new one.
    world.closes["KC=F"] = {"2023-01-06": 999.5, "2023-01-09": 105.0, "2023-01-10": 106.0}
    raw = source.read([COFFEE])
    assert raw.market["Coffee"]["close"].tolist() == [100.0, 101.0, 102.0, 103.0, 999.5, 105.0, 106.0]
    assert world.asked[-2] == ("KC=F", dt.date(2023, 1, 6), TODAY)


def test_a_missing_cell_does_not_delete_a_known_one(tmp_path: Path, world: World) -> None:
    source = world.source(tmp_path)
    source.read([COFFEE])
    before = (tmp_path / "market" / "coffee.csv").read_text()
    world.now += 3600
    world.closes["KC=F"]["2023-01-06"] = float("nan")
    source.read([COFFEE])
    assert (tmp_path / "market" / "coffee.csv").read_text() == before


def test_within_the_refresh_time_nothing_is_asked_and_the_fingerprint_stays(tmp_path: Path, world: World) -> None:
    source = world.source(tmp_path, refresh_minutes=30)
    first = source.fingerprint([COFFEE])
    asked = len(world.asked)
    world.now += 29 * 60
    assert source.fingerprint([COFFEE]) == first
    assert len(world.asked) == asked
    world.now += 2 * 60
    # Asked again; nothing is new, so no file changes.
    stamp = (tmp_path / "market" / "coffee.csv").stat().st_mtime_ns
    assert source.fingerprint([COFFEE]) == first
    assert len(world.asked) == asked + 2
    assert (tmp_path / "market" / "coffee.csv").stat().st_mtime_ns == stamp


def test_what_was_fetched_while_the_clock_was_ahead_is_fetched_again(tmp_path: Path, world: World) -> None:
    source = world.source(tmp_path, refresh_minutes=30)
    world.now += 30 * 86_400
    source.read([COFFEE])
    asked = len(world.asked)
    world.now -= 30 * 86_400
    world.closes["KC=F"]["2023-01-10"] = 106.0
    assert source.read([COFFEE]).market["Coffee"]["close"].iloc[-1] == 106.0
    assert len(world.asked) == asked + 2


def test_a_feed_that_fails_leaves_what_was_fetched_and_warns(tmp_path: Path, world: World) -> None:
    source = world.source(tmp_path)
    source.read([COFFEE])
    world.now += 3600
    world.broken = {"KC=F"}
    raw = source.read([COFFEE])
    assert len(raw.market["Coffee"]) == len(DAYS)
    assert "market/coffee.csv: prices of KC=F: no network; what was fetched before is used" in raw.warnings


def test_a_client_that_breaks_over_an_answer_is_a_feed_that_fails_and_is_not_asked_again_at_once(
    tmp_path: Path, world: World
) -> None:
    source = world.source(tmp_path)
    source.read([COFFEE])
    world.now += 3600

    def broken(*_: object) -> pd.DataFrame:
        world.asked.append(("KC=F", TODAY, TODAY))
        return [][0]

    changed = replace(source, prices=broken)
    raw = changed.read([COFFEE])
    assert len(raw.market["Coffee"]) == len(DAYS)
    told = "prices of KC=F: the feed's client failed (IndexError: list index out of range)"
    assert any(told in warning for warning in raw.warnings)
    asked = len(world.asked)
    assert changed.read([COFFEE]).warnings == raw.warnings
    assert len(world.asked) == asked


def test_a_series_of_which_nothing_was_ever_fetched_is_rejected_with_the_feeds_reason(
    tmp_path: Path, world: World
) -> None:
    world.broken = {"KC=F"}
    raw = world.source(tmp_path).read([COFFEE])
    assert "Coffee" not in raw.market
    assert any("prices of KC=F: no network" in str(one) for one in raw.rejections_of("Coffee"))


def test_one_macro_symbol_that_fails_keeps_no_other_from_being_kept(tmp_path: Path, world: World) -> None:
    world.broken = {"BRL=X"}
    raw = world.source(tmp_path, macro={"usd_brl": "BRL=X", "vix": "^VIX"}).read([COFFEE])
    assert raw.macro is not None
    assert list(raw.macro.columns) == ["date", "vix"]
    assert any("BRL=X" in text for text in raw.warnings)


def test_weather_of_several_regions_is_one_file_by_region(tmp_path: Path, world: World) -> None:
    world.temperatures = {"2023-01-02": 21.5, "2023-01-03": 22.5}
    source = world.source(tmp_path, regions={"Brazil": (-21.2, -45.4), "Colombia": (5.1, -75.5)})
    raw = source.read([COFFEE])
    assert raw.weather is not None
    assert sorted(zip(raw.weather["region"], raw.weather["temp_mean_c"], strict=True)) == [
        ("Brazil", 21.5),
        ("Brazil", 22.5),
        ("Colombia", 21.5),
        ("Colombia", 22.5),
    ]


def test_a_parquet_file_in_the_way_is_named(tmp_path: Path, world: World) -> None:
    (tmp_path / "market").mkdir()
    pd.DataFrame({"date": DAYS, "close": 1.0}).to_parquet(tmp_path / "market" / "coffee.parquet")
    failed = world.source(tmp_path).refresh([COFFEE])
    assert "move the Parquet file away" in failed["market/coffee"]
    assert not (tmp_path / "market" / "coffee.csv").exists()


def test_settings_name_the_series_without_a_symbol_and_give_the_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="series Coffee have no ticker"):
        build(source="feeds", warehouse=tmp_path, series=[{"name": "Coffee"}])
    with pytest.raises(SettingsError, match="no series is configured"):
        build(source="feeds", warehouse=tmp_path)
    nowhere = {"regions": {"Brazil": [210, 0]}}
    with pytest.raises(SettingsError, match="latitude -90 to 90"):
        build(source="feeds", warehouse=tmp_path, series=[{"name": "Coffee", "ticker": "KC=F"}], feeds=nowhere)
    settings = build(source="feeds", warehouse=tmp_path, series=[{"name": "Coffee", "ticker": "KC=F"}])
    assert settings.landing == tmp_path / "_landing"
    source = source_for(settings)
    assert isinstance(source, FeedSource)
    assert source.since == settings.history_start
