"""The entry page of the reports folder: each series' leaderboard and the newest fan chart of each model."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from forecast_platform.pages import page

EARLIER = 14
"""Earlier fan charts of a model, and earlier daily pages, that are listed beside the newest."""


_DATED = re.compile(r"_\d{4}-\d{2}-\d{2}$")


def write_index(folder: Path, zone: str = "UTC") -> Path:
    """Write index.html over the pages in `folder`; call it after pages were written. Returns its path."""
    boards: dict[str, str] = {}
    days: dict[str, str] = {}
    charts: dict[str, dict[tuple[str, str], list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for path in _listed(folder):
        about = page.read_about(path)
        if about is None:
            continue
        if about["kind"] == "leaderboard":
            boards[about["series"]] = path.name
        elif about["kind"] == "fan_chart":
            charts[about["series"]][about["model"], about["version"]].append((about["date"], path.name))
        elif about["kind"] == "daily":
            # The newest page is there under a second name, too; its dated one sorts after that and stays.
            days[about["date"]] = path.name
    content = [_series(series, boards.get(series), charts[series]) for series in sorted({*boards, *charts})]
    if not content:
        content = [page.section("No reports yet", note="The daily forecast and score runs write them.")]
    if days:
        content.insert(0, _days(days))
    return page.write_page(
        folder,
        "index.html",
        title="Forecast reports",
        subtitle=f"{len({*boards, *charts})} series",
        content=content,
        about={"kind": "index"},
        zone=zone,
    )


def _listed(folder: Path) -> list[Path]:
    """The pages that may be listed, by name: of those that differ in their date only, the newest."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.html")):
        by_stem[_DATED.sub("", path.stem)].append(path)
    return sorted(path for paths in by_stem.values() for path in paths[-EARLIER - 1 :])


def _days(days: dict[str, str]) -> str:
    newest, *earlier = [_link(name, date) for date, name in sorted(days.items(), reverse=True)]
    text = page.Html(f"<p>{newest}</p><p>{', '.join(earlier[:EARLIER])}</p>")
    return page.section("Daily page", text, note="Today's forecasts, yesterday's hits and misses, health.")


def _series(series: str, board: str | None, charts: dict[tuple[str, str], list[tuple[str, str]]]) -> str:
    rows = []
    for (model, version), files in charts.items():
        dated = [_link(name, date) for date, name in sorted(files, reverse=True)]
        earlier = page.Html(", ".join(dated[1 : EARLIER + 1]))
        rows.append((sorted(files)[-1][0], [model, version, dated[0], earlier]))
    parts = [page.Html(f"<p>{_link(board, 'Leaderboard, calibration and what is missing')}</p>")] if board else []
    if rows:
        ordered = [row for _, row in sorted(rows, key=lambda item: item[0], reverse=True)]
        parts.append(page.table({"Model": "", "Version": "", "Newest fan chart": "", "Earlier": "text"}, ordered))
    return page.section(series, *parts)


def _link(target: str, label: str) -> page.Html:
    return page.Html(f'<a href="{page.escape(target)}">{page.escape(label)}</a>')
