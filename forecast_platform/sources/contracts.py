"""What a file says of a nearby series' contracts: delivery months, the second contract, and the days of the rolls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.rolls import MONTH_CODES, seen_rolls
from forecast_platform.sources import calendars

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.settings import SeriesSettings
    from forecast_platform.sources.base import RawData

CHAIN_COLUMNS = ("contract", "close_2", "contract_2")
"""Columns of a market or chain file beside the bar's: delivery months of both contracts, the second one's close.
contract_2 is there for people: nothing reads it."""

SAME_CLOSE = 0.005
"""Share by which a chain's first close may differ from the series' own: beyond it they are of two contracts."""

_CODE = re.compile(rf"[A-Z]{{0,4}}([{MONTH_CODES}])(\d{{4}}|\d{{2}})", re.IGNORECASE)
_MONTH = re.compile(r"(\d{4})-?(\d{2})(?:\.0+)?")
_CALENDAR_DAYS = np.timedelta64(120, "D")


def delivery_months(
    name: str, values: NDArray[Any], rows: NDArray[np.int64], problems: list[tuple[int | None, str]]
) -> Floats:
    """Delivery months as yyyymm, float64 [n], of cells such as 201803, 2018-03, H18 or KCH2018; NaN where blank.

    What is no month becomes a problem (row, reason).
    """
    found = np.full(len(values), np.nan)
    for position, value in enumerate(values.tolist()):
        text = f"{value:.0f}" if isinstance(value, float) and value == value else str(value).strip()
        if text in ("", "nan"):
            continue
        code, month = _CODE.fullmatch(text), _MONTH.fullmatch(text)
        if code is not None:
            year = int(code[2]) if len(code[2]) == 4 else 1950 + (int(code[2]) - 50) % 100
            found[position] = 100 * year + MONTH_CODES.index(code[1].upper()) + 1
        elif month is not None and 1 <= int(month[2]) <= 12:
            found[position] = 100 * int(month[1]) + int(month[2])
        else:
            reason = f"{name} {text!r} is no delivery month: write it as 201803, 2018-03, H18 or KCH2018"
            problems.append((int(rows[position]), reason))
    return found


def joined(raw: RawData, name: str, frame: pd.DataFrame, chain: pd.DataFrame, file: str) -> pd.DataFrame:
    """The market `frame` of series `name`, a row a date, with the columns contract (yyyymm; where the chain has it) and
    close_2 (in the price's unit) of its chain file.

    The second contract's close is left out where the chain's first is not the series' own close: the file has passed to
    another contract than the series then. Such days are counted in raw.warnings.
    """
    placed = chain.set_index("date").reindex(frame["date"])
    own, first = frame["close"].to_numpy("float64"), placed["close"].to_numpy("float64")
    second = placed["close_2"].to_numpy("float64").copy()
    other = np.isfinite(second) & ~(np.abs(first - own) <= SAME_CLOSE * np.abs(own))
    second[other] = np.nan
    if other.any():
        days = frame["date"][other]
        raw.warnings.append(
            f"{file}: on {int(other.sum()):,} days its first contract's close is not that of {name} "
            f"({days.iloc[0].date()} to {days.iloc[-1].date()}); the second contract is not used on them"
        )
    added = {"close_2": second}
    if "contract" in placed.columns:
        added["contract"] = np.where(other, np.nan, placed["contract"].to_numpy("float64"))
    return frame.assign(**added)


def roll_days(series: SeriesSettings, closes: Dates, contracts: Floats | None) -> Dates:
    """The days on which the nearby contract was another than at the close before, datetime64[D], ascending.

    closes: days with a close, [n], ascending; contracts: delivery months (yyyymm) on them, [n], or None. Between two
    closes whose contracts the file tells, the file decides. Where it does not: the days in roll_dates, and after the
    last of these (or where there are none) the series' rule, on the first close on or after the scheduled day. Raises
    SourceError for an unknown exchange.
    """
    told = np.zeros(len(closes), np.bool_)
    changed = np.zeros(len(closes), np.bool_)
    if contracts is not None:
        told[1:] = np.isfinite(contracts[1:]) & np.isfinite(contracts[:-1])
        changed[1:] = told[1:] & (contracts[1:] != contracts[:-1])
    listed = np.array(series.roll_dates, "datetime64[D]")
    rule = series.rule
    if rule is not None and len(closes):
        margin = 2 * _CALENDAR_DAYS
        due = rule.schedule(calendars.sessions(series.calendar, closes[0] - margin, closes[-1] + margin))
        by_rule = seen_rolls(due, closes) & ~told
        if len(listed):
            by_rule &= closes > listed.max()
        changed |= by_rule
    return np.union1d(closes[changed], listed)
