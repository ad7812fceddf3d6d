"""Landing files: a folder with market/<series>, <series>_chain, macro and weather, each CSV or Parquet."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.sources import validate
from forecast_platform.sources.base import WEATHER_COLUMNS, RawData, Rejection, requirements
from forecast_platform.sources.contracts import joined
from forecast_platform.sources.files import SUFFIXES, FileProblem, RawTable, content_of, table_of

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.settings import SeriesSettings

MACRO, WEATHER = "macro", "weather"


def chain_of(series: SeriesSettings) -> str:
    """Name, without its ending, of the file with both contracts of a series: beside macro and weather."""
    return f"{series.stem}_chain"


Checked = tuple["pd.DataFrame | None", list[Rejection]]


@dataclass(frozen=True)
class LandingSource:
    """Reads and checks the landing folder; each file is accepted or refused as a whole.

    today: the newest date that a row may have, asked at each read.
    declared: macro columns beyond vix and usd_* that any configured series names as a covariate.
    """

    folder: Path
    today: Callable[[], dt.date]
    declared: Collection[str] = ()

    def read(self, series: Sequence[SeriesSettings]) -> RawData:
        """The files of `series`, macro and weather. A rejection names the series that it keeps out."""
        raw = RawData(market={})
        today = self.today()
        for one in series:
            frame = self._load(
                raw, f"market/{one.stem}", (one.name,), True, lambda table: validate.check_market(table, today), today
            )
            frame = None if frame is None else self._with_chain(raw, one, frame, today)
            if frame is not None:
                raw.market[one.name] = frame
                raw.warnings += validate.glitches(self._name(f"market/{one.stem}"), frame, ["close"])
        macro_users = tuple(one.name for one in series if set(one.covariates) - set(WEATHER_COLUMNS))
        declared = {*self.declared, *(name for one in series for name in one.covariates)} - set(WEATHER_COLUMNS)
        raw.macro = self._load(
            raw,
            MACRO,
            macro_users,
            False,
            lambda table: validate.check_macro(table, today, declared),
            (today, *sorted(declared)),
        )
        if raw.macro is not None:
            # A volatility index does jump and return; its moves are no glitches.
            levels = [name for name in raw.macro.columns if name not in ("date", "vix")]
            raw.warnings += validate.glitches(self._name(MACRO), raw.macro, levels)
        weather_users = tuple(one.name for one in series if one.regions != ())
        raw.weather = self._load(
            raw, WEATHER, weather_users, False, lambda table: validate.check_weather(table, today), today
        )
        refused = {name for rejection in raw.rejections for name in rejection.series}
        raw.market = {name: frame for name, frame in raw.market.items() if name not in refused}
        requirements(series, raw, self._name(MACRO), self._name(WEATHER))
        return raw

    def fingerprint(self, series: Sequence[SeriesSettings]) -> dict[str, str]:
        """blake2b of each file's bytes, 32 hex digits; a file that is not there is left out."""
        found = {}
        files = [name for one in series for name in (f"market/{one.stem}", chain_of(one))]
        for name in (*files, MACRO, WEATHER):
            for path in self._paths(name):
                try:
                    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
                except OSError as error:
                    digest = f"unreadable: {error.strerror}"
                found[f"{name}{path.suffix}"] = digest
        return found

    def _paths(self, name: str) -> list[Path]:
        candidates = (self.folder / f"{name}{suffix}" for suffix in SUFFIXES)
        return [path for path in candidates if path.exists()]

    def _name(self, name: str) -> str:
        """The file's name inside the folder; with .csv where there is no such file."""
        paths = self._paths(name)
        return f"{name}{paths[0].suffix if paths else SUFFIXES[0]}"

    def _with_chain(
        self, raw: RawData, one: SeriesSettings, frame: pd.DataFrame, today: dt.date
    ) -> pd.DataFrame | None:
        """A series' market file with what its chain file adds, where there is one; None where that is refused."""
        name = chain_of(one)
        if not self._paths(name):
            return frame
        if "close_2" in frame.columns:
            reason = f"market/{one.stem} has the column close_2 itself: ambiguous, remove one of the two"
            raw.rejections.append(Rejection(self._name(name), None, reason, (one.name,)))
            return None
        chain = self._load(raw, name, (one.name,), False, lambda table: validate.check_chain(table, today), today)
        return None if chain is None else joined(raw, one.name, frame, chain, self._name(name))

    def _load(
        self,
        raw: RawData,
        name: str,
        users: tuple[str, ...],
        required: bool,
        check: Callable[[RawTable], Checked],
        facts: Hashable,
    ) -> pd.DataFrame | None:
        """The checked file, or None with its rejections, which name `users`, added to `raw`.

        facts: what `check` depends on beside the file.
        """
        paths, file = self._paths(name), self._name(name)
        if len(paths) > 1:
            reason = f"there is {name}.csv and {name}.parquet: ambiguous, remove one"
            raw.rejections.append(Rejection(file, None, reason, users))
            return None
        if not paths:
            if required:
                reason = f"no such file in {self.folder}: add it as .csv or .parquet"
                raw.rejections.append(Rejection(file, None, reason, users))
            return None
        try:
            frame, rejections = _checked(paths[0], file, check, facts)
        except FileProblem as problem:
            frame, rejections = None, [Rejection(file, problem.row, str(problem))]
        raw.rejections.extend(replace(rejection, series=users) for rejection in rejections)
        return frame


_last: dict[Path, tuple[Hashable, Checked]] = {}
"""By file: of what bytes and facts its last check in this process was, and what came of it. A command that ingests
reads the source twice, once to see what is new; a code server does so every minute."""


def _checked(path: Path, file: str, check: Callable[[RawTable], Checked], facts: Hashable) -> Checked:
    """What `check` makes of the file's table, whose content is parsed once. Raises FileProblem."""
    content = content_of(path)
    known = (file, hashlib.blake2b(content, digest_size=16).digest(), facts)
    kept = _last.get(path)
    if kept is None or kept[0] != known:
        kept = (known, check(table_of(content, path.suffix, file)))
        _last[path] = kept
    frame, rejections = kept[1]
    return None if frame is None else frame.copy(), list(rejections)
