"""The reader's queries: which rows are wanted, without those that leaked or failed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.read.freshness import NoForecastError
from forecast_platform.read.tabular import days_text
from forecast_platform.settings import Settings
from forecast_platform.warehouse.base import Between, Warehouse, months_between, require_horizon
from forecast_platform.warehouse.schemas import (
    CHAMPIONS,
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    FORECAST_RUNS,
    POINT_FORECASTS,
    UNIFIED_DATA,
)

if TYPE_CHECKING:
    import pyarrow as pa

Span = tuple[dt.date, dt.date] | None
"""First and last forecast date, both included; None is all."""

FIRST_CHOICE = "chosen at the first scores"
"""How `why` of a champion begins that nobody promoted: the first score run has chosen it."""

FACTS = (
    "forecast_date",
    "data_cutoff_date",
    "training_cutoff_date",
    "last_observed_date",
    "staleness_days",
    "generation_timestamp",
)
"""What a forecast is known by beside its paths."""


@dataclass(frozen=True)
class Key:
    """Whose forecasts: series, model and version, and how the model was chosen."""

    series: str
    model: str
    version: str
    chosen: str = "asked for"

    @property
    def owner(self) -> dict[str, Any]:
        """The predicate of its rows."""
        return {"commodity": self.series, "model_name": self.model, "model_version": self.version}

    def __str__(self) -> str:
        return f"{self.series} by {self.model} {self.version}"

    def told(self, settings: Settings) -> str:
        """As a message on its age names it: of a model that is not configured, `infer` makes no newer ones."""
        if self.model in settings.models:
            return str(self)
        return f"{self} (not among the configured models: configure it, or promote another)"


@dataclass(frozen=True)
class Tables:
    """The queries over one warehouse."""

    warehouse: Warehouse

    def paths(
        self, key: Key, span: Span, columns: list[str], as_of: dt.datetime | None = None, **more: Any
    ) -> pa.Table:
        """Rows of distributions: the forecast dates of `span` with these columns, as published by `as_of`; `more`
        conditions."""
        where: dict[str, Any] = {**key.owner, "has_data_leakage": False, **more}
        if span is not None:
            first, last = span
            if (last - first).days < 3660:
                where["forecast_month"] = months_between(first, last)
            where["forecast_date"] = first if first == last else Between(first, last)
        wanted = list(dict.fromkeys(["forecast_date", *columns]))
        if as_of is None:
            return self.warehouse.read(DISTRIBUTIONS, wanted, where)
        return self._as_of(wanted, where, as_of)

    def _as_of(self, wanted: list[str], where: dict[str, Any], as_of: dt.datetime) -> pa.Table:
        """Of each date the generation that was newest at `as_of`, from the table and its archive."""
        import pyarrow as pa
        import pyarrow.compute as pc

        identity = ["forecast_date", "generation_timestamp"]
        columns = list(dict.fromkeys([*wanted, *identity]))
        stored, archived = (
            self.warehouse.read(table, columns, where) for table in (DISTRIBUTIONS, DISTRIBUTIONS_ARCHIVE)
        )
        # What is archived is still in the table until it is replaced.
        archived = archived.join(stored.group_by(identity).aggregate([]), identity, join_type="left anti")
        rows = pa.concat_tables([stored, archived.select(columns)], promote_options="permissive")
        rows = rows.filter(pc.less_equal(rows["generation_timestamp"], pa.scalar(as_of)))
        newest = rows.group_by("forecast_date").aggregate([("generation_timestamp", "max")])
        keys = newest.rename_columns(identity)
        return rows.join(keys, identity, join_type="inner")

    def one_day(self, key: Key, span: Span, column: str) -> tuple[Dates, NDArray[np.float32], pa.Table]:
        """Forecast dates ascending, each path's close of one day ahead, float32 [n_dates, n_paths], in the price's
        unit, and the dates' facts (`facts_of`).

        Raises ValueError where the dates do not hold the same number of paths.
        """
        rows = self.paths(key, span, [*FACTS, "path_id", column])
        dates = rows["forecast_date"].to_numpy().astype("datetime64[D]")
        order = np.lexsort((rows["path_id"].to_numpy(), dates))
        unique, counts = np.unique(dates, return_counts=True)
        if len(unique) and counts.min() != counts.max():
            raise ValueError(f"{key}: dates hold {counts.min()} to {counts.max()} paths; read them apart")
        n_paths = int(counts[0]) if len(unique) else 0
        closes = rows[column].to_numpy()[order].reshape(len(unique), n_paths)
        return unique, closes, self.facts_of(key.series, rows)

    def facts(self, key: Key, span: Span) -> pa.Table:
        """What `facts_of` says of the forecast dates of `span`."""
        return self.facts_of(key.series, self.paths(key, span, [*FACTS, "path_id"], path_id=0))

    def facts_of(self, series: str, rows: pa.Table) -> pa.Table:
        """FACTS of each forecast date of `rows`, which have them and path_id, ascending, and `last_close`: the close on
        its last_observed_date.

        Of the rows that hold the paths: read by themselves, they may be those of a forecast that was made anew since.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        first = rows.filter(pc.equal(rows["path_id"], 0)).select(list(FACTS)).sort_by("forecast_date")
        observed = first["last_observed_date"].to_numpy().astype("datetime64[D]")
        return first.append_column("last_close", pa.array(self.closes(series, observed)))

    def closes(self, series: str, days: Dates) -> Floats:
        """The close known on each of `days` [n], float64 [n], in the price's unit; nan where unified_data has no row of
        it."""
        found = np.full(len(days), np.nan)
        if not len(days):
            return found
        span = Between(days.min().item(), days.max().item())
        rows = self.warehouse.read(UNIFIED_DATA, ["date", "close"], {"commodity": series, "date": span}).sort_by("date")
        dates = rows["date"].to_numpy().astype("datetime64[D]")
        if len(dates):
            at = np.minimum(np.searchsorted(dates, days), len(dates) - 1)
            there = dates[at] == days
            found[there] = rows["close"].to_numpy()[at[there]]
        return found

    def dates(self, key: Key, span: Span = None) -> set[dt.date]:
        """The forecast dates that there are."""
        where: dict[str, Any] = {**key.owner, "day_ahead": 1, "has_data_leakage": False, "model_success": True}
        if span is not None:
            where["forecast_date"] = Between(*span)
        return set(self.warehouse.read(POINT_FORECASTS, ["forecast_date"], where)["forecast_date"].to_pylist())

    def complete(self, dates: set[dt.date]) -> set[dt.date]:
        """Those of the dates whose run is complete."""
        if not dates:
            return set()
        where = {"status": "complete", "forecast_date": Between(min(dates), max(dates))}
        rows = self.warehouse.read(FORECAST_RUNS, ["forecast_date"], where)
        return dates & set(rows["forecast_date"].to_pylist())

    def forecasters(self, series: str) -> list[tuple[str, str]]:
        """Models and versions that have forecasts of the series, sorted."""
        rows = self.warehouse.read(
            POINT_FORECASTS, ["model_name", "model_version"], {"commodity": series, "day_ahead": 1}
        )
        pairs = rows.group_by(["model_name", "model_version"]).aggregate([]).to_pylist()
        return sorted((row["model_name"], row["model_version"]) for row in pairs)

    def promotion(self, series: str, as_of: dt.datetime | None = None) -> Key | None:
        """Model and version of the newest promotion, of those made by `as_of`; None where there is none."""
        rows = self.warehouse.read(CHAMPIONS, where={"commodity": series}).to_pylist()
        rows = [row for row in rows if as_of is None or row["valid_from"] <= as_of]
        if not rows:
            return None
        newest = max(rows, key=lambda row: row["valid_from"])
        how = "champion by its first scores" if newest["why"].startswith(FIRST_CHOICE) else "champion"
        return Key(series, newest["model_name"], newest["model_version"], how)

    def nothing(self, key: Key, when: str, require_complete: bool = False) -> NoForecastError:
        """That there is no such forecast, and what there is in its place."""
        there = self.dates(key)
        text = f"no {'complete ' if require_complete else ''}forecast of {key} {when.strip()}".rstrip()
        if there:
            span = days_text(min(there), max(there))
            return NoForecastError(f"{text}; there are {len(there)}, {span}: see `forecast-platform coverage`")
        others = [f"{model} {version}" for model, version in self.forecasters(key.series)]
        if others:
            return NoForecastError(f"{text}; {key.series} has forecasts by {', '.join(others)}")
        return NoForecastError(
            f"{text}: {key.series} has no forecast at all; make one with `forecast-platform infer --train --commodity "
            f"{key.series}`, see `forecast-platform coverage`"
        )


def only(rows: pa.Table, days: Sequence[dt.date]) -> pa.Table:
    """The rows of these forecast dates."""
    kept = np.isin(rows["forecast_date"].to_numpy().astype("datetime64[D]"), np.array(list(days), "datetime64[D]"))
    return rows.filter(kept)


def span_text(span: Span) -> str:
    """` from 2018-01-02 to 2018-01-12`, ` for 2018-01-02`, or nothing where all are meant."""
    if span is None:
        return ""
    return f" from {span[0]} to {span[1]}" if span[0] != span[1] else f" for {span[0]}"


def open_warehouse(settings: Settings) -> Warehouse:
    """The settings' tables, with the horizon that they have. Raises HorizonError where the settings name another."""
    from forecast_platform.work.platform import Platform

    warehouse = Platform.from_settings(settings).warehouse
    if "horizon" in settings.model_fields_set:
        require_horizon(warehouse)
        return warehouse
    stored = warehouse.stored_horizon()
    if stored is None or stored[0] == warehouse.horizon:
        return warehouse
    return Platform.from_settings(settings.model_copy(update={"horizon": stored[0]})).warehouse
