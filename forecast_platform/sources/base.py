"""What a source of raw prices, macro series and weather hands over, and how it says what it refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.settings import SeriesSettings

MARKET_COLUMNS = ("open", "high", "low", "close", "volume")
"""Numeric columns of a market file; only close is required."""

WEATHER_COLUMNS = (
    "temp_max_c",
    "temp_min_c",
    "temp_mean_c",
    "precipitation_mm",
    "humidity_mean_pct",
    "wind_speed_max_kmh",
)
"""Weather of a series' regions, as files and feeds give it and `unified_data` has it: °C, mm, %, km/h."""

LISTED = 20
"""Problems or suspicious values of one file that are listed; the rest are counted."""


class SourceError(ValueError):
    """Raw data cannot become a table; the message names the series or file, the value and the mend."""


@dataclass(frozen=True)
class Rejection:
    """One reason why a file was refused.

    file: path inside the source, such as market/coffee.csv.
    row: 1-based line of the file, the header being line 1 (a Parquet file's first record is 2); None for all of it.
    series: names of the series that cannot be ingested because of it.
    held: nothing is wrong with the file but that it may still be being written: it is read some seconds later.
    """

    file: str
    row: int | None
    reason: str
    series: tuple[str, ...] = ()
    held: bool = False

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True)
class Suspect:
    """One value that looks wrong, kept or read as missing; `reason` says which.

    file: path inside the source. row: its line, None where the source has none. value: in the column's unit.
    """

    file: str
    row: int | None
    column: str
    date: str
    value: float
    reason: str

    def __str__(self) -> str:
        place = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{place}: {self.column} {self.value:g} on {self.date} {self.reason}"


@dataclass
class RawData:
    """What a source read, unchanged but for its types.

    market: series name -> date (datetime64[ns], ascending, unique) and those of MARKET_COLUMNS and CHAIN_COLUMNS that
        its files have, float64, NaN where a cell is missing. A series whose files were rejected is not in it.
    macro: date and float64 columns, or None. weather: date, region and float64 columns, or None.
    warnings: what a person should know of files, one line each: what was left out, what looks unfinished.
    suspects: suspicious values, each with its file and row.
    unread: files that are read as nothing, each with the reason.
    """

    market: dict[str, pd.DataFrame]
    macro: pd.DataFrame | None = None
    weather: pd.DataFrame | None = None
    rejections: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """Suspects and warnings as lines; of one kind of value in a file those beyond LISTED are counted."""
        kinds: dict[tuple[str, str, str], list[Suspect]] = {}
        for one in self.suspects:
            kinds.setdefault((one.file, one.column, one.reason.split(":")[0]), []).append(one)
        lines = []
        for (file, column, reason), found in kinds.items():
            lines += [str(one) for one in found[:LISTED]]
            if len(found) > LISTED:
                lines.append(f"{file}: {column} {reason} on {len(found) - LISTED:,} more days ({len(found):,} in all)")
        return [*lines, *self.warnings]

    def rejections_of(self, name: str) -> list[Rejection]:
        """The reasons why the series `name` is not in `market`; empty where it is."""
        return [rejection for rejection in self.rejections if name in rejection.series]


class Source(Protocol):
    """Where raw data come from."""

    def read(self, series: Sequence[SeriesSettings]) -> RawData:
        """All raw data of `series`. A bad file becomes rejections, never an exception: other series go on."""
        ...

    def fingerprint(self, series: Sequence[SeriesSettings]) -> dict[str, str]:
        """File (or package) -> content hash (or version): equal exactly where `read` would give the same."""
        ...


def requirements(series: Sequence[SeriesSettings], raw: RawData, macro_file: str, weather_file: str) -> None:
    """Reject, in `raw`, the series whose covariates or regions are neither in the macro nor in the weather data."""
    for one in series:
        if one.name not in raw.market:
            continue
        reasons = _unmet(one, raw, macro_file, weather_file)
        if reasons:
            raw.rejections.extend(reasons)
            del raw.market[one.name]


def _unmet(one: SeriesSettings, raw: RawData, macro_file: str, weather_file: str) -> list[Rejection]:
    found = []
    for name in one.covariates:
        in_weather = name in WEATHER_COLUMNS
        table, file = (raw.weather, weather_file) if in_weather else (raw.macro, macro_file)
        if table is None:
            reason = f"no such file, but {one.name} has the covariate {name!r}: add it or drop the covariate"
            found.append(Rejection(file, None, reason, (one.name,)))
        elif name not in table.columns:
            known = ", ".join(column for column in table.columns if column not in ("date", "region"))
            reason = f"no column {name!r}, which {one.name} has as a covariate; columns: {known}"
            found.append(Rejection(file, 1, reason, (one.name,)))
        elif in_weather and one.regions == ():
            reason = f"{one.name} has the covariate {name!r} but regions is empty: name its regions"
            found.append(Rejection(file, None, reason, (one.name,)))
    if one.regions and raw.weather is None:
        reason = f"no such file, but {one.name} has regions {', '.join(one.regions)}: add it or set regions to []"
        found.append(Rejection(weather_file, None, reason, (one.name,)))
    return found
