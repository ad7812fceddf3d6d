"""The history page of a series and model: each day's forecast against what happened; click a day for its fan chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting.history import Dates, Floats
from forecast_platform.forecasting.horizon import spans, suffix
from forecast_platform.pages import page
from forecast_platform.pages.charts import pit_histograms
from forecast_platform.pages.history_charts import ROLLING, Days, hit_rate_lines, hits, score_lines
from forecast_platform.pages.scores import REFERENCE, ModelKey, scored

if TYPE_CHECKING:
    import pandas as pd

SHOWN_DAYS = 365
"""Forecast dates whose bands are on the page; scores are of all dates."""

NAMES = ("median", "lower_80", "upper_80", "lower_95", "upper_95")
_CONTEXT_DAYS = 60


def write_history(
    folder: Path,
    *,
    series: str,
    key: ModelKey,
    days: Days,
    history_dates: Dates,
    history_close: Floats,
    metadata: pd.DataFrame,
    unit: str | None = None,
    zone: str = "UTC",
) -> Path:
    """Write the history page of one model and return its file.

    days: its forecasts, ascending, of which the newest SHOWN_DAYS are shown; history: closes datetime64[D] [n] and
    float64 [n]; metadata: forecast_metadata rows of the series, of this model and of naive. Raises ValueError where
    there is no forecast.
    """
    if not len(days.dates):
        raise ValueError(
            f"history of {series}: {key.name} {key.version} has no forecast: run `forecast-platform infer`"
        )
    days = Days(
        days.dates[-SHOWN_DAYS:],
        {name: days.quantiles[name][-SHOWN_DAYS:] for name in NAMES},
        days.actual[-SHOWN_DAYS:],
    )
    first, last = days.dates[0].item(), days.dates[-1].item()
    known = np.isfinite(days.actual)
    figures: list[tuple[object, object]] = [
        (f"{share(days.inside(80), known):.0f} %", "of closes in their 80 % band"),
        (f"{share(days.inside(95), known):.0f} %", "of closes in their 95 % band"),
        (f"{len(days.dates):,}", f"forecasts, {first} to {last}"),
        (f"{int(known.any(axis=1).sum()):,}", "of them with a close since"),
    ]
    ahead = ", ".join(map(str, spans(days.horizon)))
    content = [
        page.cards(figures),
        page.section(
            "Forecasts against what happened",
            page.plot(hits(days, unit), "hits", 660),
            note=f"Closes by their date, with the bands that had been forecast for them {ahead} days ahead (1: that "
            "morning). One close in five ought to fall outside the 80 % band, one in twenty "
            "outside 95 %. Click a point for the forecast that it belongs to.",
        ),
        _one_day(series, key, days, history_dates, history_close, unit),
        *_scores(key, metadata, days.horizon, unit),
    ]
    board = page.file_name("leaderboard", series)
    return page.write_page(
        folder,
        page.file_name("history", series, *key),
        title=f"{series}, {key.name}: day by day",
        subtitle=f"{key.name} {key.version}, forecasts of {first} to {last}",
        content=content,
        about={"kind": "history", "series": series, "model": key.name, "version": key.version},
        links={f"{series} leaderboard": board} if (folder / board).is_file() else {},
        zone=zone,
        script="history.js",
    )


def share(inside: np.ndarray, known: np.ndarray) -> float:
    """Per cent of the known targets that are inside, bool [n] each; NaN where none is known."""
    return float(100 * inside[known].mean()) if known.any() else float("nan")


def _one_day(
    series: str, key: ModelKey, days: Days, history_dates: Dates, history_close: Floats, unit: str | None
) -> page.Html:
    """The fan chart of a chosen day, drawn by history.js from the numbers on the page."""
    begin = days.dates[0] - np.timedelta64(_CONTEXT_DAYS, "D")
    shown = (history_dates >= begin) & np.isfinite(history_close)
    data = {
        "unit": unit or "",
        "full": page.file_name("fan-chart", series, *key).removesuffix(".html"),
        "dates": [str(day) for day in days.dates],
        "closes": [[str(day) for day in history_dates[shown]], _short(history_close[shown])],
        "actual": [_short(row) for row in days.actual],
        **{name: [_short(row) for row in days.quantiles[name]] for name in NAMES},
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    first, last = data["dates"][0], data["dates"][-1]
    picker = page.Html(
        '<div class="pick"><button type="button" id="before">Day before</button>'
        f'<label>Forecast date <input type="date" id="day" min="{first}" max="{last}" value="{last}"></label>'
        '<button type="button" id="after">Day after</button>'
        '<a id="full" hidden href="#">Full fan chart of this day</a></div>'
        '<p id="said" aria-live="polite"></p>'
    )
    return page.section(
        "The forecast of one day",
        picker,
        page.plot_of_script("day-chart", 380),
        page.Html(f'<script type="application/json" id="history-data">{text}</script>'),
        note="The bands of a forecast date, and the closes that followed. Choose a date, or click a point above.",
    )


def _short(values: Floats) -> list[float | None]:
    """Numbers of five significant digits; None for what is not known."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def _scores(key: ModelKey, metadata: pd.DataFrame, horizon: int, unit: str | None) -> list[page.Html]:
    whole = suffix(horizon)
    groups = scored(metadata, whole) if len(metadata) else {}
    if key not in groups:
        return [
            page.section("Scores", note=f"No forecast has reached the end of its {horizon} days with known closes yet.")
        ]
    reference = ModelKey(REFERENCE, key.version)
    compared = [(f"{key.name} {key.version}", groups[key])]
    if key != reference and reference in groups:
        compared.append((f"{REFERENCE} {key.version}", groups[reference]))
    about = f"The mean over {ROLLING} forecasts that follow one another, each last known close once."
    own = metadata[(metadata["model_name"] == key.name) & (metadata["model_version"] == key.version)]
    figure, panels = pit_histograms(own)
    found = [
        page.section(
            f"CRPS over time against {REFERENCE}",
            page.plot(score_lines(compared, f"crps_{whole}", "CRPS", unit), "crps", 320),
            note=f"Days 1 to {horizon}; less is better. {about}",
        ),
        page.section(
            "Hit rate of the bands over time",
            page.plot(hit_rate_lines(groups[key], whole), "hit-rate", 320),
            note=f"Share of the closes of days 1 to {horizon} inside each band; dashed: what it ought to be. Below its "
            f"line the model is too sure of itself. {about}",
        ),
    ]
    if panels:
        found.append(
            page.section(
                "PIT histogram",
                page.plot(figure, "pit", 280),
                note="Where the close of the horizon's last trading day fell among the paths. Flat along the dashed "
                "line is calibrated; a hump in the middle is too wide, a U too narrow, a slope biased.",
            )
        )
    return found
