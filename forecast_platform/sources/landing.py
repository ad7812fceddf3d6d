"""Landing files: market/<series>, <series>_chain, macro and weather, each in our layout or as a vendor exports it."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.settings.landing import FileSettings, Found, look_into, series_name, stray_reason, unread_reason
from forecast_platform.sources import calendars, judging, validate
from forecast_platform.sources.base import WEATHER_COLUMNS, RawData, Rejection, SourceError, requirements
from forecast_platform.sources.contracts import joined
from forecast_platform.sources.formats.sheet import Meaning
from forecast_platform.sources.parts import FILE, ROW, Parts, load, seconds_held

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.settings import SeriesSettings

MACRO, WEATHER = "macro", "weather"


def chain_of(series: SeriesSettings) -> str:
    """Stem, in lower case, of the file with both contracts of a series: beside macro and weather."""
    return f"{series.stem}_chain".lower()


@dataclass(frozen=True)
class LandingSource:
    """Reads and checks the landing folder; each file is accepted or refused as a whole, and costs its own series only.

    today: the newest date that a row may have, asked at each read.
    declared: macro columns beyond vix and usd_* that any configured series names as a covariate.
    files: how columns and places of macro and weather files are called.
    settle_seconds: a file that was changed less than this ago may still be being written, which is said; where it is
        text whose last line has no end it is held: not read, and what was read of it before stays.
    """

    folder: Path
    today: Callable[[], dt.date]
    declared: Collection[str] = ()
    files: FileSettings = field(default_factory=FileSettings)
    settle_seconds: float = 0.0

    def read(self, series: Sequence[SeriesSettings]) -> RawData:
        """The files of `series`, macro and weather. A rejection names the series that it keeps out."""
        raw = RawData(market={})
        market = look_into(self.folder / "market")
        raw.unread = [f"market/{name} {unread_reason(name)}" for name in market.unread]
        stems = {one.stem.lower() for one in series}
        for key, found in market.files.items():
            if key not in stems and series_name(found.stem) is None:
                raw.rejections.append(Rejection(f"market/{found.paths[0].name}", None, stray_reason(found.stem)))
        for one in series:
            self._market(raw, one, market.files.get(one.stem.lower()))
        self._macro(raw, series)
        self._weather(raw, series)
        refused = {name for rejection in raw.rejections for name in rejection.series}
        raw.market = {name: frame for name, frame in raw.market.items() if name not in refused}
        judging.twins(raw, series)
        requirements(series, raw, self._name(MACRO), self._name(WEATHER))
        raw.warnings += self._young(raw, series)
        return raw

    def fingerprint(self, series: Sequence[SeriesSettings]) -> dict[str, str]:
        """blake2b of each file's bytes, 32 hex digits; a file that is not there is left out.

        A file that was changed while its series' session was open is marked, until it is changed again: its newest row
        is then not read; so is one that is held. What the settings say of columns and dates is an entry of its own,
        where they say anything.
        """
        found = {}
        exchanges = {one.stem.lower(): one.calendar for one in series}
        for name, path in self.paths(series).items():
            try:
                content = path.read_bytes()
                digest = hashlib.blake2b(content, digest_size=16).hexdigest()
                if seconds_held(path, content, self.settle_seconds):
                    digest += "~"
                stem = name.removeprefix("market/").split(" (")[0].rsplit(".", 1)[0].lower()
                if name.startswith("market/") and _during_session(path, exchanges.get(stem, "24/7")):
                    digest += "+"
            except OSError as error:
                digest = f"unreadable: {error.strerror}"
            found[name] = digest
        said = [(one.name, one.columns, one.dates, one.decimal, one.confirmed) for one in series]
        if self.files != FileSettings() or any(any(own) for _, *own in said):
            text = repr((self.files, said))
            found["settings"] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return found

    def paths(self, series: Sequence[SeriesSettings]) -> dict[str, Path]:
        """Every file that `read` looks into, by its name inside the folder."""
        market = look_into(self.folder / "market").files
        found = {
            f"market/{path.name}": path
            for one in series
            for path in (market[one.stem.lower()].paths if one.stem.lower() in market else ())
        }
        beside = look_into(self.folder).files
        chains = [beside[key] for key in map(chain_of, series) if key in beside]
        for one in (*chains, *self._found(MACRO), *self._found(WEATHER)):
            found |= {path.name: path for path in one.paths}
        return found

    def _market(self, raw: RawData, one: SeriesSettings, found: Found | None) -> None:
        if found is None:
            reason = f"no such file in {self.folder}: add it as .csv or .parquet"
            raw.rejections.append(Rejection(f"market/{one.stem}.csv", None, reason, (one.name,)))
            return
        today = self.today()
        meaning = Meaning(columns=one.columns, dates=one.dates, decimal=one.decimal, today=today)
        parts = load(
            [found],
            "market/",
            "market",
            lambda table: validate.check_market(table, today),
            lambda _: meaning,
            ("market", today),
            self.settle_seconds,
        )
        raw.warnings += parts.warnings
        raw.rejections += [replace(item, series=(one.name,)) for item in parts.rejections]
        if parts.frame is None or parts.rejections:
            return
        frame = judging.market(raw, one, parts.frame, self.folder)
        frame = None if frame is None else self._with_chain(raw, one, frame, today)
        if frame is not None:
            raw.market[one.name] = _plain(frame)

    def _with_chain(
        self, raw: RawData, one: SeriesSettings, frame: pd.DataFrame, today: dt.date
    ) -> pd.DataFrame | None:
        """A series' market rows with what its chain file adds, where there is one; None where that is refused."""
        found = look_into(self.folder).files.get(chain_of(one))
        if found is None:
            return frame
        file = found.paths[0].name
        if "close_2" in frame.columns:
            reason = f"market/{one.stem} has the column close_2 itself: ambiguous, remove one of the two"
            raw.rejections.append(Rejection(file, None, reason, (one.name,)))
            return None
        chain = load(
            [found],
            "",
            "market",
            lambda table: validate.check_chain(table, today),
            lambda _: Meaning(today=today),
            ("chain", today),
            self.settle_seconds,
        )
        raw.warnings += chain.warnings
        raw.rejections += [replace(item, series=(one.name,)) for item in chain.rejections]
        return None if chain.frame is None else joined(raw, one.name, frame, chain.frame, file)

    def _macro(self, raw: RawData, series: Sequence[SeriesSettings]) -> None:
        today, mapped = self.today(), set(self.files.macro.values())
        declared = {*self.declared, *mapped, *(name for one in series for name in one.covariates)}
        declared -= {*WEATHER_COLUMNS, "date"}
        parts = load(
            self._found(MACRO),
            "",
            "macro",
            lambda table: validate.check_macro(table, today, declared),
            lambda found: self._meaning(found, self.files.macro),
            (today, *sorted(declared)),
            self.settle_seconds,
        )
        raw.warnings += parts.warnings
        # What a held file has of which column is not known: all stay as they were.
        held = any(item.held for item in parts.rejections)
        raw.macro = None if parts.frame is None or held else _plain(judging.macro(raw, parts.frame))
        known = set() if raw.macro is None else set(raw.macro.columns)
        wanting = [one.name for one in series if set(one.covariates) - {*WEATHER_COLUMNS, *known}]
        raw.rejections += [replace(item, series=tuple(wanting)) for item in parts.rejections]
        if raw.macro is not None and parts.frame is not None:
            # A volatility index does jump and return; its moves are no glitches.
            levels = [name for name in raw.macro.columns if name not in ("date", "vix")]
            raw.suspects += validate.glitches(
                str(parts.frame[FILE].iloc[0]), raw.macro, levels, parts.frame[ROW].tolist()
            )

    def _weather(self, raw: RawData, series: Sequence[SeriesSettings]) -> None:
        today = self.today()
        parts: Parts = load(
            self._found(WEATHER),
            "",
            "weather",
            lambda table: validate.check_weather(table, today),
            lambda found: self._meaning(found, {}),
            today,
            self.settle_seconds,
        )
        raw.warnings += parts.warnings
        frame, rejections = parts.frame, list(parts.rejections)
        if frame is not None:
            frame, impossible = judging.weather(raw, frame)
            rejections += impossible
            # A file with values that cannot be is refused; the others' rows stand.
            frame = frame[~frame[FILE].isin({item.file for item in impossible})]
            raw.weather = _plain(frame) if len(frame) else None
        held = any(item.held for item in rejections)
        regions = set() if raw.weather is None or held else set(raw.weather["region"].unique())
        wanting = [one.name for one in series if one.regions is None or (one.regions and set(one.regions) - regions)]
        raw.rejections += [replace(item, series=tuple(wanting)) for item in rejections]

    def _found(self, kind: str) -> list[Found]:
        """The files of `kind`: macro.csv, and macro_<column>.csv beside it."""
        files = look_into(self.folder).files
        return [found for key, found in files.items() if key == kind or key.startswith(f"{kind}_")]

    def _meaning(self, found: Found, columns: dict[str, str]) -> Meaning:
        _, _, place = found.stem.partition("_")
        said = self.files
        return Meaning(columns, said.regions, said.dates, said.decimal, place or None, self.today())

    def _name(self, kind: str) -> str:
        """The name of the first file of `kind`; with .csv where there is none."""
        found = self._found(kind)
        return found[0].paths[0].name if found else f"{kind}.csv"

    def _young(self, raw: RawData, series: Sequence[SeriesSettings]) -> list[str]:
        """Files that were changed just now and were read."""
        lines, held = [], {item.file for item in raw.rejections if item.held}
        for name, path in self.paths(series).items():
            if name in held:
                continue
            try:
                age = time.time() - path.stat().st_mtime
            except OSError:
                continue
            if 0 <= age < self.settle_seconds:
                lines.append(f"{name}: changed {age:.0f} s ago: it may still be being written")
        return lines


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[FILE, ROW]).reset_index(drop=True)


def _during_session(path: Path, exchange: str) -> bool:
    """Whether a file was last changed on a session's day before that session closed."""
    changed = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.timezone.utc)
    try:
        closed = calendars.closing(exchange, changed.date())
    except SourceError:
        return False
    return closed is not None and changed < closed
