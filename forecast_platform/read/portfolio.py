"""Positions in several series on shared scenarios: path p of every series is one scenario, so legs add up path by path.

The generator draws historical dates, the same for every series with the same training window (`forecasting.shocks`);
what moved together on those dates moves together in the paths.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.horizon import day_column
from forecast_platform.forecasting.portfolio import PortfolioRisk, leg_profits, portfolio_risk, quantiles
from forecast_platform.read.asking import Date, as_day, as_range
from forecast_platform.read.forecast import behind_text, close_text
from forecast_platform.read.freshness import NoForecastError, freshness, require_fresh, require_same_prices
from forecast_platform.read.results import ByDate
from forecast_platform.read.tables import Key, Tables, only
from forecast_platform.read.tabular import Tabular, days_text
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE, APART = "portfolio", "sum of legs"
"""Names of the rows beside the legs': all of them together, and each held alone, added up."""


class PortfolioError(ValueError):
    """Positions cannot be added up as given; the message names the series, and the mend."""


@dataclass(frozen=True)
class Leg:
    """A position in one series."""

    key: Key
    contracts: float
    """Negative: short."""
    multiplier: float
    """Money that one contract gains where the price rises by 1."""
    unit: str | None = None

    @property
    def size(self) -> float:
        """Money that the leg gains where the price rises by 1."""
        return self.contracts * self.multiplier


class _Reader(Protocol):
    """What a portfolio asks of the reader."""

    @property
    def settings(self) -> Settings: ...

    @property
    def horizon(self) -> int: ...

    @property
    def tables(self) -> Tables: ...


def legs_of(settings: Settings, positions: Mapping[str, float], keys: Mapping[str, Key]) -> tuple[list[Leg], str]:
    """The legs of these contracts by series, and their currency. `keys`: whose forecasts, by the name as given.

    Raises PortfolioError where there is no position, one is no number, a series is named twice, lacks its multiplier or
    currency, or the currencies differ.
    """
    if not positions:
        raise PortfolioError('no position: name contracts by series, such as {"Coffee": 10, "Sugar": -50}')
    lacking, currencies, legs = {}, {}, []
    for name, contracts in positions.items():
        series = settings.series_named(name)
        if (
            isinstance(contracts, bool)
            or not isinstance(contracts, (int, float, np.number))
            or not np.isfinite(contracts)
        ):
            raise PortfolioError(f"{series.name}: {contracts!r} contracts: a number, negative where short")
        if series.name in currencies or series.name in lacking:
            raise PortfolioError(f"{series.name} is named twice: add its contracts up")
        if series.multiplier is None or series.currency is None:
            lacking[series.name] = [one for one in ("multiplier", "currency") if getattr(series, one) is None]
            continue
        currencies[series.name] = series.currency
        legs.append(Leg(keys[name], float(contracts), series.multiplier, series.unit))
    if lacking:
        said = "; ".join(f"{name} has no {' and no '.join(what)}" for name, what in lacking.items())
        raise PortfolioError(
            f"{said}: set them in the series' entry of the YAML file, such as `multiplier: 375` (money that one "
            "contract gains where the price rises by 1) and `currency: USD`"
        )
    if len(set(currencies.values())) > 1:
        said = ", ".join(f"{name} in {currency}" for name, currency in currencies.items())
        raise PortfolioError(
            f"{said}: a portfolio is in one currency; ask for those of each by themselves, or express the multipliers "
            "in one (setting multiplier times the exchange rate)"
        )
    return legs, next(iter(currencies.values()))


@dataclass(frozen=True)
class Portfolio:
    """Positions in contracts, in one currency. Made by `Reader.portfolio`."""

    reader: _Reader = field(repr=False)
    legs: Sequence[Leg]
    currency: str

    def risk(
        self,
        levels: Sequence[float] = (0.95, 0.99),
        horizon: int | None = None,
        *,
        on: Date | None = None,
        start: Date | None = None,
        end: Date | None = None,
        require_complete: bool = False,
        strict: bool = True,
        max_age: int | None = 0,
    ) -> PortfolioFigures:
        """Risk of the positions held from the last close to day `horizon` (1 is the forecast date, None the last day).

        Of the newest forecast date that every leg has, for `on` or before, which must be fresh as in `Reader.latest`;
        with start or end, of every forecast date from start to end that every leg has (those that one lacks are in
        `left_out`). Raises NoForecastError, StaleForecastError, PortfolioError where the legs' paths do not belong
        together, and ValueError for a level or horizon out of range.
        """
        whole = self.reader.horizon
        day = whole if horizon is None else horizon
        if isinstance(day, bool) or not isinstance(day, int) or not 1 <= day <= whole:
            raise ValueError(f"horizon = {horizon!r}: 1 to {whole} days, the warehouse's horizon")
        if on is not None and not (start is None and end is None):
            raise ValueError("give `on` for one date, or `start` and `end` for many")
        keys = [leg.key for leg in self.legs]
        span = as_range(start, end)
        one_date = span is None
        if span is None:
            newest = _newest_date(self.reader, keys, on, require_complete)
            span = newest, newest
        read = [self.reader.tables.one_day(key, span, day_column(day)) for key in keys]
        dates, left_out = _common(keys, [found for found, _, _ in read])
        if require_complete:
            complete = self.reader.tables.complete(set(dates.tolist()))
            dates = np.array(sorted(complete), "datetime64[D]")
        if not len(dates):
            raise NoForecastError(
                f"no {'complete ' if require_complete else ''}forecast date from {span[0]} to {span[1]} that all of "
                f"{', '.join(map(str, keys))} have; see `forecast-platform coverage`"
            )
        facts = [only(found, dates.tolist()) for _, _, found in read]
        behind = [
            _behind(self.reader.settings, key, found, on, strict, max_age) if one_date else None
            for key, found in zip(keys, facts, strict=True)
        ]
        _require_shared(keys, facts, [len(paths[0]) for _, paths, _ in read])
        # One day of the horizon is read, so it is the only column.
        paths = [found[np.isin(own, dates)] for own, found, _ in read]
        closes = np.stack([found["last_close"].to_numpy() for found in facts])
        for key, own, found in zip(keys, closes, paths, strict=True):
            require_same_prices(key.series, key.model, dates.tolist(), own, found[..., None])
        sizes = [leg.size for leg in self.legs]
        profits = leg_profits(np.stack(paths)[..., None], closes, sizes)
        return PortfolioFigures(
            legs=tuple(self.legs),
            currency=self.currency,
            day_ahead=day,
            dates=dates,
            last_closes=closes,
            last_observed=np.stack([found["last_observed_date"].to_numpy().astype("datetime64[D]") for found in facts]),
            behind=tuple(behind),
            profits=profits,
            figures={level: portfolio_risk(profits, level) for level in levels},
            left_out=left_out,
        )


@dataclass(frozen=True, repr=False, eq=False)
class PortfolioFigures(Tabular, Mapping[float, PortfolioRisk]):
    """Risk of a portfolio by level: `found[0.95].cvar`, arrays [n_dates] and [n_legs, n_dates]; losses are positive."""

    legs: Sequence[Leg]
    currency: str
    day_ahead: int
    dates: Dates
    """Forecast dates, datetime64[D] [n_dates]."""
    last_closes: Floats
    """[n_legs, n_dates]."""
    last_observed: Dates
    """Dates of those, [n_legs, n_dates]."""
    behind: Sequence[int | None]
    """By leg, sessions due that its forecast was made without; None where past dates were asked for."""
    profits: Floats
    """Profit of each leg in each scenario, float64 [n_legs, n_dates, n_paths]."""
    figures: Mapping[float, PortfolioRisk]
    left_out: Mapping[dt.date, Sequence[str]]
    """Forecast dates that some legs have and others lack: date to the series that lack it."""

    def __getitem__(self, level: float) -> PortfolioRisk:
        return self.figures[level]

    def __iter__(self) -> Iterator[float]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    @property
    def profit(self) -> Floats:
        """Profit of the whole portfolio in each scenario, [n_dates, n_paths], in `currency`."""
        total: Floats = self.profits.sum(axis=0)
        return total

    def quantiles(self, levels: Sequence[float]) -> Floats:
        """Quantiles (0 to 1) of the portfolio's profit, [n_dates, n_levels], in `currency`. Raises ValueError for other
        levels."""
        return quantiles(self.profit[..., None], levels)[..., 0]

    def probability_of_loss(self, amount: float = 0.0) -> Floats:
        """The probability (0 to 1) of losing more than `amount` of `currency`, [n_dates]."""
        share: Floats = (self.profit < -amount).mean(axis=-1)
        return share

    def heading(self) -> list[str]:
        """The legs, how fresh they are, and what the figures are in."""
        held = np.datetime64(self.dates[-1], "D") + (self.day_ahead - 1)
        many = len(self.dates) > 1
        lines = [
            f"portfolio in {self.currency}, forecast{'s' * many} of "
            f"{days_text(self.dates[0].item(), self.dates[-1].item())}, held to day {self.day_ahead}"
            + ("" if many else f" ({held})")
            + f", {self.profits.shape[-1]:,} shared scenarios"
        ]
        for leg, closes, observed, behind in zip(
            self.legs, self.last_closes, self.last_observed, self.behind, strict=True
        ):
            side = "long" if leg.contracts >= 0 else "short"
            text = f"{side} {abs(leg.contracts):g} {leg.key} ({leg.key.chosen})"
            if not many:
                text += f", {close_text(float(closes[0]), observed[0].item(), leg.unit)}"
            lines.append(text + ("" if behind is None else f", {behind_text(behind)}"))
        if self.left_out:
            lines.append(f"left out, since a leg lacks them: {len(self.left_out)} forecast dates (left_out names them)")
        return lines

    def to_arrow(self) -> pa.Table:
        """One row a forecast date, level and leg; then the portfolio's, and that of the legs held alone, added up.

        `leg` is the series, or one of WHOLE and APART, which have no contracts, model, version, unit and close of
        their own. `exposure` is contracts x multiplier x last_close: of the portfolio the net of its legs, of their sum
        the gross. `exposure`, `var`, `cvar` and `cvar_contribution` are in `currency`, last_close in `unit`;
        `cvar_share` is the contribution over the portfolio's cvar, 0 to 1.
        """
        import pyarrow as pa

        n_dates, n_legs = len(self.dates), len(self.legs)
        names, n = [*(leg.key.series for leg in self.legs), WHOLE, APART], n_legs + 2

        def of_legs(values: Sequence[str | None]) -> list[str | None]:
            return [*values, None, None] * n_dates

        exposure = self.last_closes * np.array([leg.size for leg in self.legs])[:, None]
        nothing = np.full((2, n_dates), np.nan)
        contracts = np.repeat([[leg.contracts] for leg in self.legs], n_dates, 1)
        observed = np.vstack([self.last_observed, np.full((2, n_dates), np.datetime64("NaT"), "datetime64[D]")])
        parts = []
        for level, found in self.figures.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                share = found.contribution / found.cvar
            cells: dict[str, Floats] = {
                "contracts": np.vstack([contracts, nothing]),
                "last_close": np.vstack([self.last_closes, nothing]),
                "exposure": np.vstack([exposure, exposure.sum(axis=0), np.abs(exposure).sum(axis=0)]),
                "var": np.vstack([found.leg_var, found.var, found.leg_var.sum(axis=0)]),
                "cvar": np.vstack([found.leg_cvar, found.cvar, found.sum_of_legs]),
                "cvar_contribution": np.vstack([found.contribution, found.cvar, nothing[0]]),
                "cvar_share": np.vstack([share, np.ones(n_dates), nothing[0]]),
            }
            # By date, then by leg: [n_rows, n_dates] to one column.
            flat = {name: pa.array(cell.T.ravel(), from_pandas=True) for name, cell in cells.items()}
            parts.append(
                pa.table(
                    {
                        "forecast_date": np.repeat(self.dates, n),
                        "target_date": np.repeat(self.dates + (self.day_ahead - 1), n),
                        "level": pa.array([level] * n * n_dates, pa.float64()),
                        "leg": pa.array(names * n_dates, pa.string()),
                        "model": pa.array(of_legs([leg.key.model for leg in self.legs]), pa.string()),
                        "version": pa.array(of_legs([leg.key.version for leg in self.legs]), pa.string()),
                        "contracts": flat.pop("contracts"),
                        "last_observed_date": pa.array(observed.T.ravel()),
                        "last_close": flat.pop("last_close"),
                        "unit": pa.array(of_legs([leg.unit for leg in self.legs]), pa.string()),
                        "currency": pa.array([self.currency] * n * n_dates, pa.string()),
                        **flat,
                    }
                )
            )
        return pa.concat_tables(parts).sort_by([("forecast_date", "ascending")])

    def printed(self) -> pa.Table:
        """The rows without what the heading says of each leg."""
        return self.to_arrow().drop_columns(["model", "version", "last_observed_date", "unit", "currency"])


def _newest_date(reader: _Reader, keys: Sequence[Key], on: Date | None, require_complete: bool) -> dt.date:
    """The newest forecast date for `on` (default today) or before that all of `keys` have. Raises NoForecastError."""
    newest = reader.settings.today() if on is None else as_day(on, "on")
    span = dt.date(1900, 1, 1), newest
    by_key = {key: reader.tables.dates(key, span) for key in keys}
    days = set.intersection(*by_key.values())
    if require_complete:
        days = reader.tables.complete(days)
    if days:
        return max(days)
    for key, own in by_key.items():
        if not own:
            raise reader.tables.nothing(key, f"for {newest} or before", False)
    complete = "complete " if require_complete else ""
    raise NoForecastError(
        f"{', '.join(map(str, keys))} have no {complete}forecast date in common for {newest} or before; see "
        "`forecast-platform coverage`"
    )


def _behind(settings: Settings, key: Key, facts: pa.Table, on: Date | None, strict: bool, max_age: int | None) -> int:
    """Sessions due that the one forecast of `facts` was made without; refused or warned of as in `Reader.latest`."""
    forecast_date, observed = (facts[name][0].as_py() for name in ("forecast_date", "last_observed_date"))
    found = freshness(settings, settings.series_named(key.series), observed, None if on is None else as_day(on, "on"))
    require_fresh(settings, found, key.told(settings), forecast_date, observed, strict=strict, max_age=max_age)
    return found.behind


def _common(keys: Sequence[Key], dates: Sequence[Dates]) -> tuple[Dates, ByDate[list[str]]]:
    """The dates that all legs have, and those that some have: date to the series that lack it."""
    every = np.unique(np.concatenate(dates))
    there = np.stack([np.isin(every, own) for own in dates])
    lacking = {
        every[place].item(): [key.series for key, has in zip(keys, there[:, place], strict=True) if not has]
        for place in np.flatnonzero(~there.all(axis=0))
    }
    return every[there.all(axis=0)], ByDate(lacking)


def _require_shared(keys: Sequence[Key], facts: Sequence[Any], n_paths: Sequence[int]) -> None:
    """Raise PortfolioError where path p is not one scenario of all legs."""
    if len(set(n_paths)) > 1:
        said = ", ".join(f"{key} has {n}" for key, n in zip(keys, n_paths, strict=True))
        raise PortfolioError(f"{said} paths: make the forecasts with one n_paths (`forecast-platform backfill`)")
    cutoffs = [found["training_cutoff_date"].to_pylist() for found in facts]
    for key, own in zip(keys, cutoffs, strict=True):
        for first, other in zip(cutoffs[0], own, strict=True):
            if first != other:
                raise PortfolioError(
                    f"{keys[0]} was trained to {first}, {key} to {other}: scenarios are shared only within one "
                    "training window; make the forecasts with one train_frequency (`forecast-platform backfill`)"
                )
