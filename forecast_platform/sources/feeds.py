"""Public feeds: daily prices by yfinance and weather by Open-Meteo, kept as landing files. Needs the network.

What was fetched is merged into the landing folder (market/<series>.csv, macro.csv, weather.csv): new days are added,
revised values replace the ones before, no row is ever lost. Then the folder is read as any landing folder is, so that
a feed that fails, or vanishes, leaves everything fetched before. The packages are the extra `feeds`.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast_platform.host.files import write_whole
from forecast_platform.settings.feeds import FeedSettings
from forecast_platform.sources.base import MARKET_COLUMNS, RawData, Rejection, SourceError
from forecast_platform.sources.landing import MACRO, WEATHER, LandingSource

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.settings import SeriesSettings

INSTALL = "install it with `pip install 'forecast-platform[feeds]'`"

_WEATHER_NAMES = {
    "temp_max_c": "temperature_2m_max",
    "temp_min_c": "temperature_2m_min",
    "temp_mean_c": "temperature_2m_mean",
    "precipitation_mm": "precipitation_sum",
    "humidity_mean_pct": "relative_humidity_2m_mean",
    "wind_speed_max_kmh": "wind_speed_10m_max",
}
"""Our column -> Open-Meteo's daily variable."""

_STATE = ".feeds.json"
_DAY = dt.timedelta(days=1)


class FeedError(SourceError):
    """A feed did not answer, or not with what was asked; the message names it and what is kept."""


Prices = Callable[[FeedSettings, str, dt.date, dt.date], "pd.DataFrame"]
"""(settings, symbol, first day, first day not wanted) -> date and MARKET_COLUMNS. Raises FeedError."""

Weather = Callable[[FeedSettings, tuple[float, float], dt.date, dt.date], "pd.DataFrame"]
"""(settings, place, first day, first day not wanted) -> date and weather columns. Raises FeedError."""


def yahoo_prices(feeds: FeedSettings, symbol: str, first: dt.date, end: dt.date) -> pd.DataFrame:
    """Daily bars of `symbol` as traded (not adjusted), first..end - 1, a row a session; the session in progress is left
    out.

    Raises FeedError without the package, for no answer, and for an answer without a day.
    """
    import pandas as pd

    try:
        import yfinance
        from yfinance.config import YfConfig
        from yfinance.exceptions import YFException
    except ImportError as error:
        raise FeedError(f"prices of {symbol}: the package {error.name} is missing: {INSTALL}") from error
    YfConfig.network.retries = feeds.attempts - 1
    YfConfig.debug.hide_exceptions = False
    try:
        bars = yfinance.Ticker(symbol).history(
            start=first.isoformat(),
            end=end.isoformat(),
            auto_adjust=False,
            actions=False,
            timeout=feeds.timeout_seconds,
        )
    # OSError is the base of the client's network errors.
    except (YFException, OSError, ValueError, KeyError, TypeError) as error:
        raise FeedError(
            f"prices of {symbol}: Yahoo gave nothing ({type(error).__name__}: {error}): look at the network and "
            "whether the symbol is right"
        ) from error
    if bars.empty:
        raise FeedError(f"prices of {symbol}: Yahoo has no day from {first} on: is the symbol right?")
    days = pd.DatetimeIndex(bars.index)
    running = pd.Timestamp.now(tz=days.tz).date()
    frame = pd.DataFrame({"date": days.tz_localize(None).normalize()})
    for name in MARKET_COLUMNS:
        if name.title() in bars:
            values = bars[name.title()].to_numpy("float64")
            frame[name] = values if name == "volume" else _shortest(values)
    frame = frame[(frame["date"] < pd.Timestamp(min(running, end))) & frame["close"].notna()]
    return frame.drop_duplicates("date", keep="last")


def open_meteo(feeds: FeedSettings, place: tuple[float, float], first: dt.date, end: dt.date) -> pd.DataFrame:
    """Daily weather at `place` (latitude, longitude in degrees), local days first..end - 1: a row a day, date and
    WEATHER_COLUMNS in their units; days not published are left out.

    Raises FeedError for no answer, a refusal, and an answer without the values.
    """
    import pandas as pd
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    again = Retry(
        feeds.attempts - 1, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
    )
    asked: dict[str, str | float] = {
        "latitude": place[0],
        "longitude": place[1],
        "start_date": first.isoformat(),
        "end_date": (end - _DAY).isoformat(),
        "daily": ",".join(_WEATHER_NAMES.values()),
        "timezone": "auto",
    }
    with requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        try:
            answer = session.get(feeds.weather_url, params=asked, timeout=feeds.timeout_seconds)
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise FeedError(f"weather at {place}: {feeds.weather_url} gave nothing: {error}") from error
    daily = found.get("daily") if isinstance(found, dict) else None
    if not answer.ok or not isinstance(daily, dict):
        reason = found.get("reason", "no reason given") if isinstance(found, dict) else "no reason given"
        raise FeedError(f"weather at {place}: {feeds.weather_url} answered {answer.status_code}: {reason}")
    try:
        frame = pd.DataFrame({"date": pd.to_datetime(daily["time"], format="%Y-%m-%d")})
        for name, theirs in _WEATHER_NAMES.items():
            frame[name] = pd.array(daily[theirs], dtype="Float64").to_numpy("float64", na_value=np.nan)
    except (KeyError, ValueError, TypeError) as error:
        raise FeedError(
            f"weather at {place}: {feeds.weather_url} answered without the daily values asked for: {error}"
        ) from error
    return frame.dropna(subset=list(_WEATHER_NAMES), how="all")


@dataclass(frozen=True)
class FeedSource:
    """Fetches what is due into the landing folder, then reads that.

    since: first day that a series without any file is fetched from. `prices` and `weather` are the clients.
    """

    feeds: FeedSettings
    landing: LandingSource
    since: dt.date = dt.date(2000, 1, 1)
    prices: Prices = yahoo_prices
    weather: Weather = open_meteo
    clock: Callable[[], float] = field(default=time.time)

    def read(self, series: Sequence[SeriesSettings]) -> RawData:
        """As LandingSource.read, after a refresh; a feed that failed is a warning, and a rejection of the series of
        which nothing was ever fetched."""
        failed = self.refresh(series)
        raw = self.landing.read(series)
        for one in series:
            file = f"market/{one.stem}"
            if file in failed and one.name not in raw.market:
                raw.rejections.append(Rejection(f"{file}.csv", None, failed[file], (one.name,)))
        raw.warnings += [f"{file}.csv: {text}; what was fetched before is used" for file, text in failed.items()]
        return raw

    def fingerprint(self, series: Sequence[SeriesSettings]) -> dict[str, str]:
        """As LandingSource.fingerprint, after a refresh: what watches the source drives the feeds, too."""
        self.refresh(series)
        return self.landing.fingerprint(series)

    def refresh(self, series: Sequence[SeriesSettings]) -> dict[str, str]:
        """Fetch what is older than refresh_minutes, file by file; returns what failed: file -> why.

        A file that failed is asked for again after as long. Processes take turns.
        """
        from filelock import FileLock

        folder = self.landing.folder
        (folder / "market").mkdir(parents=True, exist_ok=True)
        failed: dict[str, str] = {}
        with FileLock(str(folder / ".feeds.lock")):
            state = _state(folder)
            work: dict[str, Callable[[], None]] = {
                f"market/{one.stem}": partial(self._market, one) for one in series if one.ticker
            }
            if self.feeds.macro:
                work[MACRO] = self._macro
            if self.feeds.regions and any(one.regions != () for one in series):
                work[WEATHER] = self._weather
            for file, fetch in work.items():
                earlier = state.get(file, {})
                # What was fetched later than now was so before the clock was set back: it is as good as old.
                if abs(self.clock() - earlier.get("at", 0.0)) < 60 * self.feeds.refresh_minutes:
                    if earlier.get("error"):
                        failed[file] = earlier["error"]
                    continue
                try:
                    fetch()
                    state[file] = {"at": self.clock()}
                except FeedError as error:
                    failed[file] = str(error)
                    state[file] = {"at": self.clock(), "error": str(error)}
                write_whole(folder / _STATE, json.dumps(state, indent=1), 0o644)
        return failed

    def _market(self, one: SeriesSettings) -> None:
        path = self._file(f"market/{one.stem}")
        kept = _read(path)
        fresh = self._prices(str(one.ticker), self._first(kept))
        _keep(path, kept, fresh, ["date"])

    def _macro(self) -> None:
        """One column a symbol; those that were fetched are kept where another fails."""
        import pandas as pd

        path = self._file(MACRO)
        kept = _read(path)
        columns, failed = [], []
        for name, symbol in self.feeds.macro.items():
            known = None if kept is None or name not in kept else kept[["date", name]].dropna()
            try:
                bars = self._prices(symbol, self._first(known))
            except FeedError as error:
                failed.append(str(error))
            else:
                columns.append(bars.set_index("date")["close"].rename(name))
        if columns:
            _keep(path, kept, pd.concat(columns, axis=1).sort_index().reset_index(), ["date"])
        if failed:
            raise FeedError("; ".join(failed))

    def _weather(self) -> None:
        import pandas as pd

        path = self._file(WEATHER)
        kept = _read(path)
        regions, failed = [], []
        for name, place in self.feeds.regions.items():
            known = None if kept is None else kept[kept["region"] == name]
            try:
                rows = self._weather_at(place, self._first(known))
            except FeedError as error:
                failed.append(f"{name}: {error}")
            else:
                regions.append(rows.assign(region=name))
        if regions:
            _keep(path, kept, pd.concat(regions, ignore_index=True), ["region", "date"])
        if failed:
            raise FeedError("; ".join(failed))

    def _prices(self, symbol: str, first: dt.date) -> pd.DataFrame:
        with _client(f"prices of {symbol}"):
            return self.prices(self.feeds, symbol, first, self._end)

    def _weather_at(self, place: tuple[float, float], first: dt.date) -> pd.DataFrame:
        with _client(f"weather at {place}"):
            return self.weather(self.feeds, place, first, self._end)

    @property
    def _end(self) -> dt.date:
        """The first day that is not asked for: today, which is not over."""
        return self.landing.today()

    def _first(self, kept: pd.DataFrame | None) -> dt.date:
        if kept is None or kept.empty:
            return self.since
        newest: dt.date = kept["date"].max().date()
        return max(self.since, min(newest, self._end) - self.feeds.revise_days * _DAY)

    def _file(self, name: str) -> Path:
        path = self.landing.folder / f"{name}.csv"
        if (other := path.with_suffix(".parquet")).exists():
            raise FeedError(f"{other} is there: feeds write {path.name}; move the Parquet file away")
        return path


@contextmanager
def _client(what: str) -> Iterator[None]:
    """Any error of a feed's client as FeedError: a service that changes its answers makes it fail in ways of its own,
    and what is not kept as a failure is asked for again at once, for ever."""
    try:
        yield
    except FeedError:
        raise
    except Exception as error:
        raise FeedError(
            f"{what}: the feed's client failed ({type(error).__name__}: {error}): look for a newer version of it"
        ) from error


def _read(path: Path) -> pd.DataFrame | None:
    import pandas as pd

    if not path.exists():
        return None
    try:
        return pd.read_csv(path, parse_dates=["date"], float_precision="round_trip")
    except (ValueError, OSError) as error:
        raise FeedError(
            f"{path} cannot be read ({error}): mend it or move it away, so that it is fetched anew"
        ) from error


def _keep(path: Path, kept: pd.DataFrame | None, fresh: pd.DataFrame, key: list[str]) -> None:
    """Write the union of rows; a value in `fresh` replaces the one that was there, a missing one does not."""
    merged = fresh.set_index(key)
    if kept is not None:
        merged = merged.combine_first(kept.set_index(key))
        columns = [name for name in kept.columns if name not in key]
        merged = merged[columns + [name for name in merged.columns if name not in columns]]
    table = merged.sort_index().reset_index()
    table = table[["date", *(name for name in table.columns if name != "date")]]
    text = table.to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text, 0o644)


def _state(folder: Path) -> dict[str, Any]:
    path = folder / _STATE
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        # It only says when files were fetched: without it they are fetched again.
        return {}
    return found if isinstance(found, dict) else {}


def _shortest(values: Iterable[float]) -> np.ndarray:
    """float32 values that a feed sends as float64 digits (149.3000030517578), as what they stand for (149.3)."""
    exact = np.asarray(values, np.float64)
    single = exact.astype(np.float32)
    short = np.array([float(str(value)) for value in single])
    return np.where(single.astype(np.float64) == exact, short, exact)
