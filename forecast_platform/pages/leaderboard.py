"""The report of one series: who forecasts best, whether bands hold what they promise, and what is missing."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast_platform.forecasting import horizon
from forecast_platform.pages import charts, page
from forecast_platform.pages.scores import (
    REFERENCE,
    ModelKey,
    by_horizon,
    horizon_of,
    leaderboard,
    normalised,
    succeeded,
)

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.pages.pooled import OverAll

__all__ = ["by_horizon", "leaderboard", "write_report"]

SHOWN_FAILURES = 200
"""Rows of the table of failures; a row holds all dates with one model's same error."""

SIGNIFICANT = 0.05


def write_report(
    folder: Path,
    *,
    series: str,
    metadata: pd.DataFrame,
    expected_dates: Sequence[dt.date],
    link_to: Mapping[str, str] | None = None,
    models: Sequence[tuple[str, str]] = (),
    over_all: OverAll | None = None,
    oracle: Mapping[str, tuple[float, float, int]] | None = None,
    unit: str | None = None,
    zone: str = "UTC",
    followed: tuple[ModelKey, str] | None = None,
) -> Path:
    """Write the report of one series and return its file.

    metadata: forecast_metadata rows of all models (rows of other series are left out). expected_dates: the forecast
    dates that there ought to be. link_to: label to relative address, for the page's navigation. models: (name,
    version) pairs that are shown even where they have no row yet. over_all: the comparison over all series. oracle: by
    label CRPS, skill and dates of what a volatility known in advance would give. unit: what prices are counted in;
    zone: that of the page's times; followed: the model that readers follow, and whether it is the `champion` or the
    `default`, which is shown strongest.
    """
    rows = normalised(metadata[metadata["commodity"] == series])
    found = zip(rows["model_name"].astype(str), rows["model_version"].astype(str), strict=True)
    keys = sorted({ModelKey(*pair) for pair in (*found, *models)})
    board, spans, days = leaderboard(rows), by_horizon(rows), horizon_of(rows)
    made, failed = charts.status(rows, expected_dates, keys)
    missing = int(made.size - made.sum() - failed.sum())
    figures: list[tuple[object, object]] = [
        (len(keys), "models and versions"),
        (f"{int(made.sum()):,}", "forecasts made"),
        (f"{missing:,}", "missing"),
        (f"{int(failed.sum()):,}", "failed"),
        (f"{int(board['n_dates'].max()) if len(board) else 0:,}", "last closes scored"),
    ]
    content = [page.cards(figures), _board_section(board, days, oracle or {}, unit, followed), _over_all(over_all)]
    content.append(_calibration(board, rows, days))
    content += [_map_section(expected_dates, keys, made, failed), _failures(rows)]
    if len(spans):
        content.append(
            page.section(
                "By horizon",
                _span_table(spans),
                note=f"The same figures over the trading targets of {_spans_text(days)}; CRPS and MAE in "
                f"{unit or 'the unit of the price'}.",
            )
        )
    scope = f"{min(expected_dates)} to {max(expected_dates)}" if expected_dates else "no dates expected"
    return page.write_page(
        folder,
        page.file_name("leaderboard", series),
        title=f"{series}: forecast quality",
        subtitle=f"Forecast dates {scope}",
        content=content,
        about={"kind": "leaderboard", "series": series},
        links=dict(link_to or {}),
        zone=zone,
    )


def _board_section(
    board: pd.DataFrame,
    days: int,
    oracle: Mapping[str, tuple[float, float, int]],
    unit: str | None,
    followed: tuple[ModelKey, str] | None,
) -> str:
    if board.empty:
        text = f"No forecast can be scored yet: none has reached the end of its {days} days with known closes."
        return page.section("Leaderboard", page.Html(f"<p>{page.escape(text)}</p>"))
    columns = {"": "number", "Model": "", "Version": "", "CRPS": "number", "Skill": "number", "p (DM)": "number"}
    columns |= {"In 80 %": "number", "In 95 %": "number", "MAE": "number", "RMSE": "number"}
    columns |= {"MAPE": "number", "Direction": "number", "Dates": "number"}
    rows = [
        [
            place + 1,
            _named(row["model_name"], row["model_version"], followed),
            row["model_version"],
            page.Amount(_price(row["crps"]), row["crps"]),
            _skill(row["skill"], row["dm_p"], row["model_name"]),
            _p_value(row["dm_p"], row["model_name"]),
            _share(row["coverage_80"]),
            _share(row["coverage_95"]),
            page.Amount(_price(row["mae"]), row["mae"]),
            page.Amount(_price(row["rmse"]), row["rmse"]),
            _number(row["mape"], ".2f", " %"),
            _share(row["direction"]),
            f"{row['n_dates']:,}",
        ]
        for place, row in enumerate(board.to_dict("records"))
    ]
    classes = {place: "reference" for place, name in enumerate(board["model_name"]) if name == REFERENCE}
    keys = list(zip(board["model_name"], board["model_version"], strict=True))
    classes |= {place: "champion" for place, key in enumerate(keys) if followed is not None and key == followed[0]}
    for label, (crps, skill, dates) in oracle.items():
        classes[len(rows)] = "reference"
        rest = ["", "", "", "", "", "", ""]
        rows.append(["", f"oracle: {label}", "", _price(crps), _skill(skill, math.nan, ""), *rest, f"{dates:,}"])
    known = (
        " An oracle is no forecast: it is naive with the volatility that was realised around each origin, once without "
        "and once with the days that are forecast, and with what rolls foretell. It says about how much knowing "
        "volatility could give. No bound: two months of changes measure it with an error that a model's five years do "
        "not have, so over few years a model can stand above an oracle, most often above the first."
    )
    return page.section(
        "Leaderboard",
        page.table(columns, rows, classes),
        note=f"Mean CRPS over the trading targets of days 1 to {days}, in {unit or 'the unit of the price'} as MAE and "
        f"RMSE; less is better. Skill is the share of the {REFERENCE} model's CRPS that is saved on the same dates, "
        "each last known close counted once; p is of the Diebold-Mariano test of that difference (bold: below 0.05). "
        "Direction is of day 1 against the last close; 50 % is a coin's toss. MAE and MAPE are of the median, RMSE of "
        "the mean." + (known if oracle else ""),
    )


def _named(name: str, version: str, followed: tuple[ModelKey, str] | None) -> str:
    if followed is not None and (name, version) == followed[0]:
        return f"{name} ({followed[1]})"
    return name


def _over_all(found: OverAll | None) -> str:
    if found is None or found.board.empty:
        return ""
    columns = {"Model": "", "Version": "", "Days": "number", "Skill": "number", "95 % interval": "number"}
    columns |= {"p (DM)": "number", "Series": "number", "Dates": "number"}
    shown = [*found.board.to_dict("records"), *found.oracles.to_dict("records")]
    classes = dict.fromkeys(range(len(found.board), len(shown)), "reference")
    rows = [
        [
            row["model_name"],
            row["model_version"],
            row["horizon"].removesuffix("d"),
            _skill(row["skill"], row["dm_p"], row["model_name"]),
            f"{_number(100 * row['low'], '+.1f')} to {_number(100 * row['high'], '+.1f', ' %')}",
            _p_value(row["dm_p"], row["model_name"]),
            row["n_series"],
            f"{row['n_dates']:,}",
        ]
        for row in shown
    ]
    verdicts = "".join(f"<li>{page.escape(one.text)}</li>" for one in found.calibrations)
    return page.section(
        f"Over all series of {found.group}" if found.group else "Over all series",
        page.table(columns, rows, classes),
        page.Html(f"<details><summary>Do the bands hold?</summary><ul>{verdicts}</ul></details>"),
        note="CRPS divided by the price of its date and by the series' own naive, averaged by date over the series: "
        "what one series' few independent forecasts cannot show. The interval and p are by date, with the overlap of "
        "neighbouring forecasts; a model whose interval holds zero may as well be no better. The oracles are "
        "those of the leaderboard.",
    )


def _span_table(spans: pd.DataFrame) -> str:
    columns = {"Model": "", "Version": "", "Days": "number", "CRPS": "number", "Skill": "number", "p (DM)": "number"}
    columns |= {"In 80 %": "number", "In 95 %": "number", "MAE": "number", "Dates": "number"}
    rows = [
        [
            row["model_name"],
            row["model_version"],
            row["horizon"].removesuffix("d"),
            _price(row["crps"]),
            _skill(row["skill"], row["dm_p"], row["model_name"]),
            _p_value(row["dm_p"], row["model_name"]),
            _share(row["coverage_80"]),
            _share(row["coverage_95"]),
            _price(row["mae"]),
            f"{row['n_dates']:,}",
        ]
        for row in spans.to_dict("records")
    ]
    classes = {place: "reference" for place, name in enumerate(spans["model_name"]) if name == REFERENCE}
    return page.table(columns, rows, classes)


def _calibration(board: pd.DataFrame, rows: pd.DataFrame, days: int) -> str:
    if board.empty:
        return ""
    bars = page.section(
        "Do the bands hold?",
        page.plot(charts.hit_rate_bars(board), "hit-rate", 340),
        note=f"Hit rate: the share of trading targets of days 1 to {days} inside each band. Below the line the "
        "forecast is too sure of itself, above it too wide.",
    )
    figure, panels = charts.pit_histograms(rows)
    if not panels:
        return bars
    return bars + page.section(
        "PIT histograms",
        page.plot(figure, "pit", 60 + 210 * panels),
        note="Where the close of the horizon's last trading day fell among the paths. Flat along the dashed line is "
        "calibrated; a hump in the middle is too wide, a U too narrow, a slope biased. Neighbouring forecasts overlap, "
        "so single bars wander more than their number suggests.",
    )


def _map_section(expected: Sequence[dt.date], keys: Sequence[ModelKey], made: np.ndarray, failed: np.ndarray) -> str:
    if not expected or not keys:
        return page.section("What is there", page.Html("<p>No forecasts are expected.</p>"))
    rows = [
        [
            key.name,
            key.version,
            f"{made[row].sum():,}",
            f"{(~made[row] & ~failed[row]).sum():,}",
            f"{failed[row].sum():,}",
        ]
        for row, key in enumerate(keys)
    ]
    counts = {"Model": "", "Version": "", "Made": "number", "Missing": "number", "Failed": "number"}
    return page.section(
        "What is there",
        page.colour_key((colour, text) for text, colour in reversed(charts.STATES)),
        page.plot(charts.coverage_map(expected, keys, made, failed), "map", 60 + 34 * len(keys)),
        page.table(counts, rows),
        note=f"Forecast dates expected of each model: {len(set(expected)):,}, {min(expected)} to {max(expected)}.",
    )


def _failures(rows: pd.DataFrame) -> str:
    bad = rows[~succeeded(rows)]
    if bad.empty:
        return page.section("Failures", page.Html('<p class="good">None.</p>'))
    leaked = bad["has_data_leakage"].eq(True).fillna(False)
    error = bad["error"].where(bad["error"].notna(), "no error recorded").astype(str)
    bad = bad.assign(error=error.where(~leaked, "data leakage: " + error))
    grouped = bad.groupby(["model_name", "model_version", "error"], sort=False)["forecast_date"].agg(list)
    groups = sorted(grouped.items(), key=lambda item: max(item[1]), reverse=True)
    columns = {"Model": "", "Version": "", "Forecasts": "number", "Forecast dates": "", "Error": "text"}
    table = [[name, version, f"{len(dates):,}", _span(dates), text] for (name, version, text), dates in groups]
    more = f" The newest {SHOWN_FAILURES} of {len(table):,} are shown." if len(table) > SHOWN_FAILURES else ""
    return page.section(
        "Failures",
        page.table(columns, table[:SHOWN_FAILURES]),
        note=f"{len(bad):,} forecasts were not written, one row a model and error, newest first.{more}",
    )


def _spans_text(days: int) -> str:
    texts = [f"days 1 to {span}" if span > 1 else "day 1" for span in horizon.spans(days)]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _span(dates: Sequence[dt.datetime]) -> str:
    days = sorted(f"{day:%Y-%m-%d}" for day in dates)
    return ", ".join(days) if len(days) <= 3 else f"{days[0]} to {days[-1]}"


def _skill(value: float, p_value: float, name: str) -> str:
    if name == REFERENCE:
        return "reference"
    # Adding zero turns a rounded -0.0 into 0.0.
    text = _number(round(100 * value, 1) + 0.0, "+.1f", " %")
    if p_value < SIGNIFICANT:
        return page.Html(f'<b class="{"good" if value > 0 else "bad"}">{text}</b>')
    return text


def _p_value(value: float, name: str) -> str:
    if name == REFERENCE:
        return ""
    return "< 0.001" if value < 0.001 else _number(value, ".3f")


def _price(value: float) -> str:
    """Four significant digits, all of them shown, with no exponent."""
    if not np.isfinite(value) or value == 0:
        return _number(value, ".3f")
    return f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"


def _share(value: float) -> str:
    return _number(100 * value, ".1f", " %")


def _number(value: float, form: str, unit: str = "") -> str:
    return "–" if np.isnan(value) else f"{value:{form}}{unit}"
