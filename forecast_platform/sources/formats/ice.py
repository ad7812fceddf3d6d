"""ICE Futures U.S., "historical statistics" of a soft commodity (.xls): a row a date, the first five contracts beside
each other, each with contract (yyyymm), high, low, close, open interest and volume.

Seen January 2026. There is no open; dates are cells in old rows and MM/DD/YYYY text in the newest, where figures are
text with thousands commas. US holidays are rows that repeat the closes before with volume 0. The first contract stays
first through delivery, on volumes of 0 to 100 lots: the price of NEARBY is then one that hardly anyone traded.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_platform.sources.formats.prices import without
from forecast_platform.sources.formats.sheet import Meaning, Problems, RawTable, Sheet, ascending, dates, numbers

NAME, KIND = "ICE historical statistics", "market"
_FIELDS = 6


def header(sheet: Sheet) -> int | None:
    """The position of the header, two below that which names the contracts."""
    contracts = sheet.find(lambda cells: "NEARBY" in cells and "2ND-CONTRACT" in cells, 12)
    if contracts is None:
        return None
    return next((at for at in range(contracts + 1, contracts + 4) if sheet.names(at)[:1] == ["DATE"]), None)


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its days, a row each: the nearby's high, low, close and volume, and contract and close of the second (`close_2`),
    as numbered in the sheet."""
    names = sheet.names(head)
    starts = [position for position, name in enumerate(names) if name.startswith("CONTRACT")][:2]
    records = [(row, cells) for row, cells in sheet.records[head + 1 :] if cells[0]]
    rows = [row for row, _ in records]
    problems: Problems = []
    found: dict[str, NDArray[Any]] = {
        "date": dates([cells[0] for _, cells in records], rows, meaning.dates, problems, "month-first")
    }
    near: dict[str, NDArray[np.float64]] = {}
    second: dict[str, NDArray[np.float64]] = {}
    for block, start in zip((near, second), starts, strict=True):
        for position in range(start, start + _FIELDS):
            label = names[position].split(" ")[0].lower() if position > start else "contract"
            cells = [re.sub(r"\s", "", one[position]) for _, one in records]
            block[label] = numbers(label, cells, rows, problems)
    for name in ("high", "low", "close", "volume"):
        found[name] = near[name]
    found |= {"contract": near["contract"], "contract_2": second["contract"], "close_2": second["close"]}
    for name in ("high", "low"):
        found[name] = np.where(found[name] == 0, np.nan, found[name])
    title = " ".join(sheet.names()[0].split()) if sheet.names() else ""
    unit = re.search(r"PRICE QUOTATION: (CENTS PER POUND|DOLLARS PER \w+(?: \w+)?)", title)
    table = RawTable(
        sheet.file,
        found,
        np.array(rows, np.int64),
        tuple(problems),
        NAME,
        (),
        ("close is that of NEARBY, the first contract through delivery",),
        unit[1].capitalize() if unit else None,
    )
    if problems:
        return table
    table = ascending(table)
    closes, volume = table.columns["close"], table.columns["volume"]
    following = table.columns["close_2"]
    holiday = np.zeros(len(closes), bool)
    holiday[1:] = (closes[1:] == closes[:-1]) & (following[1:] == following[:-1]) & (volume[1:] == 0)
    return without(table, holiday, "repeats the close before with volume 0: a holiday's row")
