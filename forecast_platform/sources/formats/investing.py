"""investing.com, "Historical Data" of a future, rate or index: newest first, Price is the settlement.

Seen to January 2026: `"Date","Price","Open","High","Low","Vol.","Change %"`, MM/DD/YYYY or `Apr 09, 2020`; FX has no
`Vol.`; `14.59K`, `-` where unknown. At most 5,000 rows a file. Its pages in German, Spanish, Portuguese, French and
Italian name the columns in their language and write `01.03.2024` (French: 01/03/2024) and `2.450,00`.
"""

from __future__ import annotations

import numpy as np

from forecast_platform.sources.formats.prices import prices, without
from forecast_platform.sources.formats.sheet import Meaning, RawTable, Sheet

NAME, KIND = "investing.com", "market"

_ENGLISH = ("date", "price", "open", "high", "low")
_HEADERS: dict[tuple[str, ...], str] = {
    _ENGLISH: "change %",
    ("datum", "zuletzt", "eröffn.", "hoch", "tief"): "+/- %",
    ("fecha", "último", "apertura", "máximo", "mínimo"): "% var.",
    ("data", "último", "abertura", "máxima", "mínima"): "var%",
    ("date", "dernier", "ouv.", "plus haut", "plus bas"): "variation %",
    ("data", "ultimo", "apertura", "massimo", "minimo"): "var. %",
}
"""The first five columns of each language, and the last."""


def header(sheet: Sheet) -> int | None:
    """The header's position."""
    names = [name.lower() for name in sheet.names()]
    return 0 if names and _HEADERS.get(tuple(names[:5])) == names[-1] else None


def read(sheet: Sheet, head: int, meaning: Meaning) -> RawTable:
    """Its rows; today's is a running bar where it has no volume yet."""
    names = tuple(name.lower() for name in sheet.names(head)[:5])
    columns = dict(zip(names[1:], ("close", "open", "high", "low"), strict=True)) | {"vol.": "volume"}
    english = names == _ENGLISH
    table = prices(
        sheet,
        head,
        columns,
        meaning,
        format=NAME,
        date=names[0],
        proven=None if english else "day-first",
        decimal="point" if english else "comma",
    )
    if table.problems or "volume" not in table.columns or meaning.today is None:
        return table
    running = (table.columns["date"] >= np.datetime64(meaning.today, "D")) & np.isnan(table.columns["volume"])
    return without(table, running, "today's bar, still running: it has no volume yet")
