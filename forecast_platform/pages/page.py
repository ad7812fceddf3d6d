"""The shell that every report page shares: header, style, navigation, plots; one folder, no network needed."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from forecast_platform.host.files import write_whole
from forecast_platform.pages.figure import Figure, package_data, template

PLOTLY_FILE = "plotly.min.js"
"""Written once beside the pages, for all of them."""

INK, MUTED, ACCENT, GOOD, WARN, BAD, EMPTY = (
    "#1c2733", "#66727f", "#1f6feb", "#2e9e6b", "#e6a23c", "#d1453b", "#e6e9ed",
)  # fmt: skip

_CSS = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f5f6f8; color: {INK};
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
header {{ background: #fff; border-bottom: 1px solid #dfe3e8; }}
header > div, main, footer {{ max-width: 1240px; margin: 0 auto; padding: 0 28px; }}
header > div {{ padding-top: 18px; padding-bottom: 16px; }}
h1 {{ font-size: 25px; line-height: 1.25; margin: 6px 0 2px; letter-spacing: -0.01em; }}
h2 {{ font-size: 17px; margin: 0 0 2px; }}
.subtitle, .note, footer, .stamp {{ color: {MUTED}; }}
.note {{ font-size: 13.5px; margin: 0 0 12px; max-width: 92ch; }}
nav {{ display: flex; flex-wrap: wrap; gap: 6px 18px; font-size: 14px; }}
nav .stamp {{ margin-left: auto; font-size: 13px; }}
a {{ color: {ACCENT}; text-decoration: none; }} a:hover {{ text-decoration: underline; }}
section {{ background: #fff; border: 1px solid #dfe3e8; border-radius: 10px; padding: 18px 20px; margin: 18px 0; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin: 18px 0; }}
.card {{ background: #fff; border: 1px solid #dfe3e8; border-radius: 10px; padding: 11px 16px; }}
.card b {{ display: block; font-size: 19px; line-height: 1.35; white-space: nowrap;
  font-variant-numeric: tabular-nums; }}
.card span {{ color: {MUTED}; font-size: 13px; }}
.banner {{ border-radius: 10px; padding: 12px 18px; margin: 18px 0; background: #fff4e0; border: 1px solid {WARN}; }}
.banner b {{ color: #8a5a00; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }}
th {{ text-align: left; color: {MUTED}; font-weight: 600; font-size: 12.5px; border-bottom: 1px solid #cfd5dc; }}
th, td {{ padding: 6px 10px; vertical-align: top; white-space: nowrap; }}
td {{ border-bottom: 1px solid #eef0f3; }}
td.number, th.number {{ text-align: right; }}
td.text {{ white-space: pre-wrap; overflow-wrap: anywhere; min-width: 260px; }}
tr.reference td {{ color: {MUTED}; }} .good {{ color: {GOOD}; font-weight: 600; }} .bad {{ color: {BAD}; }}
.key {{ display: inline-flex; align-items: center; gap: 6px; margin-right: 16px; font-size: 13px; }}
.key i {{ width: 12px; height: 12px; border-radius: 3px; display: inline-block; }}
details {{ margin-top: 8px; }} summary {{ cursor: pointer; color: {MUTED}; }}
footer {{ font-size: 13px; padding-top: 4px; padding-bottom: 28px; }}
"""


class Html(str):
    """Text that is HTML already; `escape` lets it through."""

    __slots__ = ()


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


def banner(title: str, text: str) -> Html:
    """A warning across the page."""
    return Html(f'<div class="banner" role="alert"><b>{escape(title)}</b> {escape(text)}</div>')


def priced(label: str, unit: str | None) -> str:
    """The label of a price with the unit that it is counted in, where that is known."""
    return f"{label} ({unit})" if unit else label


def section(title: str, *content: str, note: str = "") -> Html:
    """A titled box; `content` is HTML, title and note are text."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return Html(f"<section><h2>{escape(title)}</h2>{below}{''.join(content)}</section>")


def colour_key(entries: Iterable[tuple[str, str]]) -> Html:
    """A legend: (colour, what it means)."""
    items = (f'<span class="key"><i style="background:{colour}"></i>{escape(text)}</span>' for colour, text in entries)
    return Html(f"<p>{''.join(items)}</p>")


def table(
    columns: Mapping[str, str], rows: Iterable[Sequence[object]], row_class: Mapping[int, str] | None = None
) -> Html:
    """A table. `columns`: heading to kind, one of number, text, or empty; cells are escaped."""
    kinds = list(columns.values())
    head = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in columns.items())
    body = []
    for number, row in enumerate(rows):
        cells = "".join(f'<td class="{kind}">{escape(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))
        body.append(f'<tr class="{(row_class or {}).get(number, "")}">{cells}</tr>')
    inner = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return Html(f'<div class="scroll"><table>{inner}</table></div>')


def plot(figure: Figure, name: str, height: int, tools: bool = False) -> Html:
    """A figure as HTML; `name` is its id, unique on the page, `height` in pixels, `tools` its row of buttons."""
    shell = {
        "template": template("plotly_white"),
        "height": height,
        "font": {"family": 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif', "size": 13, "color": INK},
        "hoverlabel": {"bgcolor": "white"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
    }
    # "</script>" or "<!--" inside a string would end or hide the script that holds it.
    content = Figure(figure.data, {**figure.layout, **shell}).to_json().replace("<", "\\u003c")
    config = json.dumps({"displaylogo": False, "responsive": True, "displayModeBar": tools})
    return Html(
        f'<div id="{name}" style="height:{height}px"></div><script>(function(){{var f={content};'
        f'Plotly.newPlot("{name}",f.data,f.layout,{config});}})();</script>'
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
) -> Path:
    """Write one page atomically and return its path.

    `content` is HTML; `about` is what `read_about` gives back (kind, series, ...); `links` is label to relative
    address, shown beside the way to the index. plotly's script is put beside the page where it is not yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_plotly(folder)
    stamp = dt.datetime.now(dt.timezone.utc)
    shown = {"All reports": "index.html", **(links or {})}
    menu = "".join(f'<a href="{escape(target)}">{escape(label)}</a>' for label, target in shown.items())
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="report" content="{escape(json.dumps({**about, "title": title}))}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{_CSS}</style>
<script src="{PLOTLY_FILE}"></script>
</head>
<body>
<header><div><nav>{menu}<span class="stamp">Generated {stamp:%Y-%m-%d %H:%M} UTC</span></nav>
<h1>{escape(title)}</h1><div class="subtitle">{escape(subtitle)}</div></div></header>
<main>{"".join(content)}</main>
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
