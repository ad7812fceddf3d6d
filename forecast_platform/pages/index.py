"""The entry page of the reports folder: daily pages, portfolios, each series' charts, history and leaderboard, and the
pages of language models and workflows."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from forecast_platform.pages import page

EARLIER = 14
"""Earlier fan charts of a model, and earlier daily pages, that are listed beside the newest."""

LANGUAGE_STEPS = ("corpus", "adapter", "evaluation", "recommendation")
"""What a language model's pages are of, in their order."""

_DATED = re.compile(r"_\d{4}-\d{2}-\d{2}$")


def write_index(folder: Path, zone: str = "UTC") -> Path:
    """Write index.html over the pages in `folder`; call it after pages were written. Returns its path."""
    boards: dict[str, str] = {}
    portfolios: dict[str, str] = {}
    histories: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    days: dict[str, str] = {}
    language: dict[str, dict[str, str]] = defaultdict(dict)
    workflows: dict[str, str] = {}
    charts: dict[str, dict[tuple[str, str], list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for path in _listed(folder):
        about = page.read_about(path)
        if about is None:
            continue
        if about["kind"] == "leaderboard":
            boards[about["series"]] = path.name
        elif about["kind"] == "portfolio":
            portfolios[about["series"]] = path.name
        elif about["kind"] == "history":
            histories[about["series"]][about["model"], about["version"]] = path.name
        elif about["kind"] == "fan_chart":
            charts[about["series"]][about["model"], about["version"]].append((about["date"], path.name))
        elif about["kind"] == "language":
            language[about["name"]][about["step"]] = path.name
        elif about["kind"] == "ensemble":
            workflows[about["workflow"]] = path.name
        elif about["kind"] == "daily":
            # The newest page is there under a second name, too; its dated one sorts after that and stays.
            days[about["date"]] = path.name
    names = sorted({*boards, *charts, *histories})
    content = [_series(series, boards.get(series), charts[series], histories[series]) for series in names]
    content += [_language(language)] if language else []
    if workflows:
        listed = " ".join(f"<p>{page.link(target, name)}</p>" for name, target in sorted(workflows.items()))
        content.append(
            page.section("Workflows", page.Html(listed), note="Ensembles of tables: scores, routes, weights.")
        )
    if not content:
        content = [page.section("No reports yet", note="The daily forecast and score runs write them.")]
    if portfolios:
        listed = " ".join(f"<p>{page.link(target, name)}</p>" for name, target in sorted(portfolios.items()))
        content.insert(0, page.section("Portfolios", page.Html(listed), note="What positions together may lose."))
    if days:
        content.insert(0, _days(days))
    return page.write_page(
        folder,
        "index.html",
        title="Forecast reports",
        subtitle=f"{len(names)} series" if names else "",
        content=content,
        about={"kind": "index"},
        zone=zone,
    )


def _language(found: dict[str, dict[str, str]]) -> str:
    """Language models, each with the pages of its steps in their order."""
    rows = [
        [name, *(page.link(steps[one], one) if one in steps else "" for one in LANGUAGE_STEPS)]
        for name, steps in sorted(found.items())
    ]
    return page.section(
        "Language models", page.table(dict.fromkeys(["Name", *map(str.title, LANGUAGE_STEPS)], ""), rows)
    )


def _listed(folder: Path) -> list[Path]:
    """The pages that may be listed, by name: of those that differ in their date only, the newest."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.html")):
        by_stem[_DATED.sub("", path.stem)].append(path)
    return sorted(path for paths in by_stem.values() for path in paths[-EARLIER - 1 :])


def _days(days: dict[str, str]) -> str:
    newest, *earlier = [page.link(name, date) for date, name in sorted(days.items(), reverse=True)]
    text = page.Html(f"<p>Newest: {newest}</p>")
    if earlier:
        text = page.Html(f"{text}<p>Earlier: {', '.join(earlier[:EARLIER])}</p>")
    return page.section("Daily page", text, note="The day's forecasts, the last close's hits and misses, health.")


def _series(
    series: str,
    board: str | None,
    charts: dict[tuple[str, str], list[tuple[str, str]]],
    histories: dict[tuple[str, str], str],
) -> str:
    rows = []
    for key in {**charts, **histories}:
        dated = [page.link(name, date) for date, name in sorted(charts.get(key, ()), reverse=True)]
        earlier = page.Html(", ".join(dated[1 : EARLIER + 1]))
        past = page.link(histories[key], "day by day") if key in histories else ""
        newest = max(charts.get(key, ()), default=("", ""))[0]
        rows.append((newest, [*key, dated[0] if dated else "", past, earlier]))
    parts = [page.Html(f"<p>{page.link(board, 'Leaderboard, calibration and what is missing')}</p>")] if board else []
    if rows:
        ordered = [row for _, row in sorted(rows, key=lambda item: item[0], reverse=True)]
        columns = {"Model": "", "Version": "", "Newest fan chart": "", "History": "", "Earlier fan charts": "text"}
        parts += [_any_day(series, list({**charts, **histories})), page.table(columns, ordered)]
    return page.section(series, *parts)


def _any_day(series: str, keys: list[tuple[str, str]]) -> page.Html:
    """A way to the fan chart of any past date: `forecast-platform up` makes it when it is asked for. From a folder it
    is hidden."""
    chosen = "".join(
        f'<option value="{page.escape(page.file_name("fan-chart", series, *key).removesuffix(".html"))}">'
        f"{page.escape(' '.join(key))}</option>"
        for key in keys
    )
    return page.Html(
        '<form class="day pick"><label>Fan chart of any day: '
        f'<select aria-label="Model, {page.escape(series)}">{chosen}</select></label>'
        f'<input type="date" required aria-label="Forecast date, {page.escape(series)}"><button>Show</button></form>'
    )
