"""CFTC Commitments of Traders, comma-delimited text with a header: disaggregated, traders in financial futures, legacy.

Seen July 2026. Dates are of the Tuesday of the positions, published on Friday 15:30 New York: give the column a lag of
3 days. Columns are called `<contract code>_<group>_net` and `<contract code>_open_interest`, such as
083731_managed_money_net (coffee), and come to macro columns by `files: {macro: {083731_managed_money_net: cot_net}}`.
"""

from __future__ import annotations

import re
from itertools import chain

import numpy as np

from forecast_platform.sources.formats.sheet import Meaning, Problems, RawTable, Sheet, body, dates, numbers

NAME, KIND = "CFTC", "values"
_GROUPS = {
    "managed_money": ("mmoneypositionslongall", "mmoneypositionsshortall"),
    "producer": ("prodmercpositionslongall", "prodmercpositionsshortall"),
    "swap_dealers": ("swappositionslongall", "swappositionsshortall"),
    "leveraged": ("levmoneypositionslongall", "levmoneypositionsshortall"),
    "asset_managers": ("assetmgrpositionslongall", "assetmgrpositionsshortall"),
    "noncommercial": ("noncommercialpositionslongall", "noncommercialpositionsshortall"),
    "commercial": ("commercialpositionslongall", "commercialpositionsshortall"),
}
"""Group -> the names of its long and short positions, without signs, in lower case."""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = [_plain(name) for name in sheet.names()]
    return 0 if names[:1] == ["marketandexchangenames"] and "cftccontractmarketcode" in names else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """A row a Tuesday; of all contracts, those that the mapping names."""
    names = [_plain(name) for name in sheet.names(head)]
    dated = next((i for i, name in enumerate(names) if name.endswith(("yyyymmdd", "mmddyyyy"))), None)
    code = names.index("cftccontractmarketcode")
    # A comma before the newline makes a cell more than the header has.
    trimmed = Sheet(sheet.file, [(row, cells[: len(names)]) for row, cells in sheet.records[head:]])
    records, problems, _ = body(trimmed, 0)
    groups = {group: pair for group, pair in _GROUPS.items() if set(pair) <= set(names)}
    if dated is None or not groups:
        problems.append((sheet.records[head][0], "no report date YYYY-MM-DD, or no positions of a known group"))
        return RawTable(sheet.file, {}, np.empty(0, np.int64), tuple(problems), NAME)
    wanted = {theirs.split("_")[0] for theirs in meaning.columns}
    held = [(row, cells) for row, cells in records if cells[code] in wanted]
    if not held:
        market = {cells[code]: cells[0] for _, cells in records}
        soft = [f"{key} {name}" for key, name in market.items() if re.match(r"COFFEE|SUGAR|CRUDE|CORN", name)][:4]
        reason = (
            "none of its contracts is mapped: set `files: {macro: {<code>_<group>_net: <name>}}`, such as "
            f"083731_managed_money_net: cot_net; groups here: {', '.join(groups)}; contracts: {len(market):,}"
            f"{', such as ' + '; '.join(soft) if soft else ''}"
        )
        problems.append((None, reason))
        return RawTable(sheet.file, {}, np.empty(0, np.int64), tuple(problems), NAME)
    return _wide(sheet.file, held, names, (code, dated), groups, problems)


def _wide(
    file: str,
    held: list[tuple[int, list[str]]],
    names: list[str],
    places: tuple[int, int],
    groups: dict[str, tuple[str, str]],
    problems: Problems,
) -> RawTable:
    code, dated = places
    rows = [row for row, _ in held]
    days = dates([cells[dated] for _, cells in held], rows, None, problems, "month-first")
    codes = np.array([cells[code] for _, cells in held])
    needed = {*chain.from_iterable(groups.values()), "openinterestall"} & set(names)
    values = {
        name: numbers(name, [cells[names.index(name)] for _, cells in held], rows, problems) for name in sorted(needed)
    }
    figures = {f"{group}_net": values[long] - values[short] for group, (long, short) in groups.items()}
    if "openinterestall" in values:
        figures["open_interest"] = values["openinterestall"]
    every, first = np.unique(days, return_index=True)
    found: dict[str, np.ndarray] = {"date": every}
    for one in dict.fromkeys(codes.tolist()):
        own = codes == one
        if len(np.unique(days[own])) < own.sum():
            problems.append(
                (None, f"contract {one} has several rows a date: the file joins reports of different kinds")
            )
        for name, figure in figures.items():
            column = np.full(len(every), np.nan)
            column[np.searchsorted(every, days[own])] = figure[own]
            found[f"{one}_{name}"] = column
    notes = ("figures are of Tuesdays and published on Fridays: give them publication_lag_days of 3",)
    return RawTable(file, found, np.array(rows, np.int64)[first], tuple(problems), NAME, (), notes)
