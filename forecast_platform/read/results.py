"""What the reader's questions are answered with; each carries the forecasts that it was made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from forecast_platform.forecasting import portfolio as figures
from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.horizon import day_columns
from forecast_platform.host.prices import price_text
from forecast_platform.read.asking import as_day
from forecast_platform.read.forecast import Forecast, Paths, behind_text, close_text, in_unit
from forecast_platform.read.tables import Key
from forecast_platform.read.tabular import Tabular, days_text
from forecast_platform.work.results import ranges_text

if TYPE_CHECKING:
    import pyarrow as pa

_Figures = TypeVar("_Figures", covariant=True)


class _ByLevel(Mapping[float, _Figures]):
    """A mapping from each level to what `figures` holds of it."""

    figures: Mapping[float, _Figures]

    def __getitem__(self, level: float) -> _Figures:
        return self.figures[level]

    def __iter__(self) -> Iterator[float]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)


@dataclass(frozen=True, repr=False, eq=False)
class Risk(Tabular, _ByLevel[Mapping[str, float]]):
    """Risk of a position in one series by level: `risk[0.95]["var"]`; with the forecast that it was made of."""

    forecast: Forecast
    position: float
    day_ahead: int
    figures: Mapping[float, Mapping[str, float]]
    """By level: `var`, the loss exceeded with probability 1 - level, and `cvar`, the mean loss beyond it."""

    def heading(self) -> list[str]:
        """The position, and the forecast's own heading."""
        until = self.forecast.target_dates[self.day_ahead - 1]
        side = "long" if self.position >= 0 else "short"
        return [
            *self.forecast.heading(),
            f"{abs(self.position):g} units {side}, held to day {self.day_ahead} ({until}){in_unit(self.forecast.unit)}",
        ]

    def to_arrow(self) -> pa.Table:
        """One row a level."""
        import pyarrow as pa

        one, n = self.forecast, len(self.figures)
        return pa.table(
            {
                "series": pa.array([one.series] * n, pa.string()),
                "model": pa.array([one.model] * n, pa.string()),
                "version": pa.array([one.version] * n, pa.string()),
                "forecast_date": pa.array([one.forecast_date] * n, pa.date32()),
                "last_observed_date": pa.array([one.last_observed_date] * n, pa.date32()),
                "last_close": pa.array([one.last_close] * n, pa.float64()),
                "sessions_behind": pa.array([one.sessions_behind] * n, pa.int32()),
                "day_ahead": pa.array([self.day_ahead] * n, pa.int32()),
                "position": pa.array([float(self.position)] * n, pa.float64()),
                "level": pa.array(list(self.figures), pa.float64()),
                "var": pa.array([found["var"] for found in self.figures.values()], pa.float64()),
                "cvar": pa.array([found["cvar"] for found in self.figures.values()], pa.float64()),
            }
        )


_T = TypeVar("_T")


class ByDate(dict[dt.date, _T]):
    """A dict by date, whose keys may be given in any form: text, dates, numpy and pandas times. What is no date raises
    ValueError."""

    def __missing__(self, day: Any) -> _T:
        wanted = as_day(day, "date")
        if dict.__contains__(self, wanted):
            return self[wanted]
        there = f"{len(self)} dates, {days_text(min(self), max(self))}" if self else "none"
        raise KeyError(f"no {wanted} among those read: {there}")

    def __contains__(self, day: object) -> bool:
        return dict.__contains__(self, as_day(day, "date"))

    def get(self, day: Any, default: Any = None, /) -> Any:
        """The value of a date, `default` where there is none."""
        return dict.get(self, as_day(day, "date"), default)


class PathsByDate(ByDate[Paths], Tabular):
    """Paths by forecast date, ascending: a dict of float32 [n_paths, horizon], whose keys may be given as any date.

    `facts` has a row a forecast date: its cutoffs, the newest close that it was made of and that close's date, how many
    days those lagged, and when it was generated.
    """

    def __init__(self, found: Mapping[dt.date, Paths], key: Key, facts: pa.Table, unit: str | None) -> None:
        super().__init__(found)
        self.series, self.model, self.version, self.chosen = key.series, key.model, key.version, key.chosen
        self.facts = facts
        self.unit = unit
        """What prices are counted in; None where the settings do not say."""

    def array(self) -> Paths:
        """All paths, float32 [n_dates, n_paths, horizon], in the price's unit. Raises ValueError where dates hold
        different numbers of paths."""
        counts = self._counts()
        if len(counts) > 1:
            held = ", ".join(f"{count:,} on {ranges_text(days, most=4)}" for count, days in counts.items())
            raise ValueError(
                f"{self.series} by {self.model} {self.version} has not as many paths on each date ({held}), since "
                "n_paths was changed: take dates that have as many, or make them anew with `forecast-platform backfill "
                f"--commodity {self.series} --models {self.model}`"
            )
        return np.stack(list(self.values()))

    def _counts(self) -> dict[int, list[dt.date]]:
        """The dates by how many paths they have."""
        found: dict[int, list[dt.date]] = {}
        for day, paths in self.items():
            found.setdefault(len(paths), []).append(day)
        return dict(sorted(found.items()))

    def heading(self) -> list[str]:
        """Whose paths, of when, in which unit, from which close."""
        counts, horizon = " or ".join(f"{count:,}" for count in self._counts()), next(iter(self.values())).shape[1]
        newest = self.facts.slice(self.facts.num_rows - 1).to_pylist()[0]
        return [
            f"{self.series} by {self.model} {self.version} ({self.chosen}), {len(self)} dates, "
            f"{days_text(min(self), max(self))}: {counts} paths over {horizon} days each{in_unit(self.unit)}",
            f"the newest from {close_text(newest['last_close'], newest['last_observed_date'], self.unit)}",
        ]

    __repr__ = Tabular.__repr__

    def to_arrow(self) -> pa.Table:
        """One row a path: forecast_date, path_id, day_1 to day_<horizon>."""
        import pyarrow as pa

        counts = [len(paths) for paths in self.values()]
        columns: dict[str, Any] = {
            "forecast_date": pa.array(np.repeat(np.array(list(self), "datetime64[D]"), counts)),
            "path_id": pa.array(np.concatenate([np.arange(count, dtype=np.int32) for count in counts])),
        }
        by_day = np.concatenate(list(self.values()))
        return pa.table({**columns, **{name: by_day[:, h] for h, name in enumerate(day_columns(by_day.shape[1]))}})


@dataclass(frozen=True, repr=False, eq=False)
class _ByDate(Tabular):
    """Figures over forecast dates, by target day."""

    series: str
    model: str
    version: str
    dates: Dates
    """Forecast dates, datetime64[D] [n_dates]."""
    last_closes: Floats
    """The newest close that each was made of, [n_dates]."""
    last_observed: Dates
    """Its date, [n_dates]."""
    behind: int | None
    """Sessions due that the forecast was made without; None where past dates were asked for."""
    unit: str | None

    def _about(self) -> list[str]:
        dates, closes, observed = self.dates, self.last_closes, self.last_observed
        span = days_text(dates[0].item(), dates[-1].item())
        lines = [f"{self.series} by {self.model} {self.version}, forecast{'s' * (len(dates) > 1)} of {span}"]
        lines[0] += in_unit(self.unit)
        if len(dates) == 1:
            lines.append(close_text(float(closes[0]), observed[0].item(), self.unit))
            lines[-1] += "" if self.behind is None else f", {behind_text(self.behind)}"
        return lines

    def _columns(self, each: int) -> dict[str, Any]:
        return {
            "forecast_date": np.repeat(self.dates, each),
            "last_observed_date": np.repeat(self.last_observed, each),
            "last_close": np.repeat(self.last_closes, each),
        }


@dataclass(frozen=True, repr=False, eq=False)
class RiskByDate(_ByDate, _ByLevel[Mapping[str, Floats]]):
    """Risk of a position in one series by level, over forecast dates: `risk[0.95]["var"]` is float64 [n_dates]."""

    position: float
    day_ahead: int
    figures: Mapping[float, Mapping[str, Floats]]
    """By level: `var` and `cvar` as in `Risk`, [n_dates] each."""

    def heading(self) -> list[str]:
        """The forecasts, and the position."""
        side = "long" if self.position >= 0 else "short"
        return [*self._about(), f"{abs(self.position):g} units {side}, held to day {self.day_ahead}"]

    def to_arrow(self) -> pa.Table:
        """One row a forecast date and level."""
        import pyarrow as pa

        n = len(self.figures)
        columns = self._columns(n)
        columns["target_date"] = columns["forecast_date"] + (self.day_ahead - 1)
        columns["level"] = np.tile(np.array(list(self.figures), np.float64), len(self.dates))
        for name in ("var", "cvar"):
            columns[name] = np.stack([found[name] for found in self.figures.values()], axis=1).ravel()
        return pa.table(columns)


def risk_of(found: Forecast, levels: Sequence[float], day_ahead: int | None, position: float) -> Risk:
    """Risk of one forecast; `day_ahead` as in `Forecast.profit`."""
    spread = _by_level(found.profit(None, day_ahead, position), levels)
    plain = {level: {name: float(value) for name, value in each.items()} for level, each in spread.items()}
    return Risk(found, position, day_ahead or found.horizon, plain)


def risk_by_date(
    about: Mapping[str, Any], paths: Paths, levels: Sequence[float], day_ahead: int | None, position: float
) -> RiskByDate:
    """Risk of the forecasts whose facts are `about`, and whose paths are [n_dates, n_paths, horizon]."""
    [profits] = figures.leg_profits(paths[None], about["last_closes"][None], [position], day_ahead)
    day = day_ahead or paths.shape[-1]
    return RiskByDate(**about, position=position, day_ahead=day, figures=_by_level(profits, levels))


def _by_level(profits: Floats, levels: Sequence[float]) -> dict[float, dict[str, Floats]]:
    return {
        level: {"var": figures.value_at_risk(profits, level), "cvar": figures.expected_shortfall(profits, level)}
        for level in levels
    }


@dataclass(frozen=True, repr=False, eq=False)
class Odds(_ByDate):
    """The odds of a price, by forecast date and target day: float64 [n_dates, horizon], 0 to 1."""

    price: float
    above: Floats
    """Of closing above it."""
    below: Floats
    """Of closing below it."""
    touch: Floats
    """Of having closed at or beyond it by then, from the last close's side."""

    def heading(self) -> list[str]:
        """The price, and the forecasts."""
        return [*self._about(), f"price {price_text(self.price)}{f' {self.unit}' if self.unit else ''}"]

    def to_arrow(self) -> pa.Table:
        """One row a forecast date and target day."""
        import pyarrow as pa

        horizon = self.above.shape[1]
        ahead = np.tile(np.arange(horizon), len(self.dates))
        columns = self._columns(horizon)
        columns["target_date"] = columns["forecast_date"] + ahead
        columns["day_ahead"] = (ahead + 1).astype(np.int32)
        columns |= {name: getattr(self, name).ravel() for name in ("above", "below", "touch")}
        return pa.table(columns)


@dataclass(frozen=True, repr=False, eq=False)
class Quantiles(_ByDate):
    """Quantiles of closes, by forecast date, level and target day."""

    levels: Sequence[float]
    values: Floats
    """[n_dates, n_levels, horizon]."""

    def heading(self) -> list[str]:
        """The forecasts."""
        return self._about()

    def to_arrow(self) -> pa.Table:
        """One row a forecast date and target day, one column a level: q0.05."""
        import pyarrow as pa

        horizon = self.values.shape[2]
        ahead = np.tile(np.arange(horizon), len(self.dates))
        columns = self._columns(horizon)
        columns["target_date"] = columns["forecast_date"] + ahead
        columns["day_ahead"] = (ahead + 1).astype(np.int32)
        columns |= {f"q{level:g}": self.values[:, place].ravel() for place, level in enumerate(self.levels)}
        return pa.table(columns)
