"""The shell that every report page shares: header, style, navigation, plots; one folder, no network needed."""

from __future__ import annotations

import datetime as dt
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Literal

from forecast_platform.host.files import write_whole
from forecast_platform.host.times import in_zone
from forecast_platform.pages.figure import Figure, package_data
from forecast_platform.pages.still import still

PLOTLY_FILE = "plotly.min.js"
"""Written once beside the pages, for all of them."""

INK, MUTED, ACCENT, GOOD, WARN, BAD, EMPTY, PANEL = (
    "var(--ink)", "var(--muted)", "var(--accent)", "var(--good)", "var(--state-warn)", "var(--bad)", "var(--empty)",
    "var(--panel)",
)  # fmt: skip
"""Colours by their names in page.css, also for figures: the reader's theme, light or dark, says which they are."""

BANDS = {50: "var(--band50)", 80: "var(--band80)", 95: "var(--band95)"}
"""Fills of the bands, by the share of the paths that they hold, in per cent."""

OTHERS = tuple(f"var(--m{number})" for number in range(1, 10))
"""Colours of the models that are not the champion."""


class Html(str):
    """Text that is HTML already; `escape` lets it through."""

    __slots__ = ()


@dataclass(frozen=True)
class Amount:
    """A number as it is shown, and as it is downloaded."""

    shown: str
    value: float

    def __str__(self) -> str:
        return self.shown


@cache
def _beside(name: str) -> str:
    """The text of page.css, page.js or another file of this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def escape(value: object) -> Html:
    """`value` as text safe in HTML; an Html passes unchanged."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def file_name(*parts: str) -> str:
    """A report's file name: the parts, with every character that a path or URL could read otherwise as a dash."""
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip(".-") or "x" for part in parts) + ".html"


def cards(figures: Iterable[tuple[object, object]]) -> Html:
    """Figures in large type: (value, what it is)."""
    items = (f'<div class="card"><b>{escape(value)}</b><span>{escape(label)}</span></div>' for value, label in figures)
    return Html(f'<div class="cards">{"".join(items)}</div>')


def banner(title: str, text: str, kind: Literal["", "loud", "fresh"] = "") -> Html:
    """A word across the page: a warning; `loud` for what nobody must overlook; `fresh` where all is well."""
    role = "status" if kind == "fresh" else "alert"
    return Html(f'<div class="banner {kind}" role="{role}"><b>{escape(title)}</b> {escape(text)}</div>')


def link(target: str, label: object) -> Html:
    """A link."""
    return Html(f'<a href="{escape(target)}">{escape(label)}</a>')


def priced(label: str, unit: str | None) -> str:
    """The label of a price with the unit that it is counted in, where that is known."""
    return f"{label} ({unit})" if unit else label


def section(title: str, *content: str, note: str = "") -> Html:
    """A titled box; `content` is HTML, title and note are text."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    inner = "".join(content)
    # A screen reader names charts and tables by their section; regions need names of their own.
    numbers = count(1)
    inner = re.sub(_UNNAMED, lambda _: f'aria-label="{escape(title)}, part {next(numbers)}"', inner)
    return Html(f'<section aria-label="{escape(title)}"><h2>{escape(title)}</h2>{below}{inner}</section>')


def colour_key(entries: Iterable[tuple[str, str]]) -> Html:
    """A legend: (colour, what it means)."""
    items = (f'<span class="key"><i style="background:{colour}"></i>{escape(text)}</span>' for colour, text in entries)
    return Html(f"<p>{''.join(items)}</p>")


def table(
    columns: Mapping[str, str],
    rows: Iterable[Sequence[object]],
    row_class: Mapping[int, str] | None = None,
    *,
    stack: bool = False,
) -> Html:
    """A table. `columns`: heading to kind, one of number, text, or empty; cells are escaped. With `stack` a phone shows
    the cells of a row below one another rather than letting them scroll."""
    kinds = list(columns.values())
    head = "".join(f'<th scope="col" class="{kind}">{_heading(name, kind)}</th>' for name, kind in columns.items())
    body = []
    for number, row in enumerate(rows):
        cells = "".join(_cell(cell, kind) for kind, cell in zip(kinds, row, strict=True))
        body.append(f'<tr class="{(row_class or {}).get(number, "")}">{cells}</tr>')
    kind = "stack" if stack else ""
    inner = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return Html(f'<div class="scroll" role="region" {_UNNAMED}><table class="{kind}">{inner}</table></div>')


_UNNAMED = 'aria-label=""'
"""What a chart or a table is called before its section gives it a name."""


def _heading(name: str, kind: str) -> Html:
    unseen = "rank" if kind == "number" else "more"
    return escape(name) if name else Html(f'<span class="hidden">{unseen}</span>')


def _cell(cell: object, kind: str) -> str:
    value = f' data-value="{cell.value!r}"' if isinstance(cell, Amount) and math.isfinite(cell.value) else ""
    return f'<td class="{kind}"{value}>{escape(cell)}</td>'


def plot(figure: Figure, name: str, height: int) -> Html:
    """A figure as HTML; `name` is its id, unique on the page, `height` in pixels where there is room beside it. A still
    picture of it (`still`) stands there until plotly's script has come."""
    # "</script>" or "<!--" inside a string would end or hide the script that holds it.
    content = figure.to_json().replace("<", "\\u003c")
    data = f'<script type="application/json" data-plot="{name}">{content}</script>'
    return Html(plot_of_script(name, height, still(figure, height)) + data)


def plot_of_script(name: str, height: int, before: str = "") -> Html:
    """Where a script of the page draws the figure `name`; `before` is HTML that stands there until then."""
    return Html(
        f'<div id="{name}" class="plot" role="img" {_UNNAMED} data-height="{height}" style="min-height:{height}px">'
        f"{before}</div>"
    )


def write_page(
    folder: Path,
    name: str,
    *,
    title: str,
    subtitle: str,
    content: Sequence[str],
    about: Mapping[str, str],
    links: Mapping[str, str] | None = None,
    zone: str = "UTC",
    script: str = "",
) -> Path:
    """Write one page atomically and return its path.

    `content` is HTML; `about` is what `read_about` gives back (kind, series, ...); `links` is label to relative
    address, shown beside the way to the index; `zone` that of the time at which it was made; `script` a further file
    of this folder that is put into the page. plotly's script is put beside the page where it is not yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_plotly(folder)
    stamp = in_zone(dt.datetime.now(dt.timezone.utc), zone)
    shown = {"All reports": "index.html", **(links or {})}
    menu = "".join(link(target, label) for label, target in shown.items())
    scripts = "\n".join(_beside(file) for file in ("charts.js", "page.js", script) if file)
    text = f"""<!DOCTYPE html>
<html lang="en" data-plotly="{PLOTLY_FILE}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="report" content="{escape(json.dumps({**about, "title": title}))}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_beside("page.css")}</style>
<script>{scripts}</script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><div><nav aria-label="Pages">{menu}<span class="stamp">Made {stamp}</span></nav>
<h1>{escape(title)}</h1><div class="subtitle">{escape(subtitle)}</div></div></header>
<main id="content">{"".join(content)}</main>
<footer>forecast_platform</footer>
</body>
</html>
"""
    path = folder / name
    write_whole(path, text, 0o644)
    return path


def read_about(path: Path) -> dict[str, str] | None:
    """What `write_page` was told of a page; None for a file that it did not write."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        found = re.search(r'<meta name="report" content="([^"]*)">', stream.read(4096))
    return json.loads(html.unescape(found.group(1))) if found else None


def _write_plotly(folder: Path) -> None:
    source, path = package_data() / PLOTLY_FILE, folder / PLOTLY_FILE
    if path.is_file() and _head(path) == _head(source):
        return
    write_whole(path, source.read_bytes(), 0o644)


def _head(path: Path) -> str:
    """The beginning of plotly's script, which names its version."""
    with path.open(encoding="utf-8") as stream:
        return stream.read(200)
