"""The fan chart of one forecast: recent closes, the bands of the paths, some paths, and what came true."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from forecast_platform.forecasting.history import Bools, Dates, Floats
from forecast_platform.forecasting.summary import Paths, Summary, quantile_of_sorted, sorted_paths, summarise_sorted
from forecast_platform.host.prices import HOVER, price_text
from forecast_platform.pages import page
from forecast_platform.pages.figure import Figure

HISTORY_DAYS = 90
"""Calendar days of closes shown before the forecast."""

SHOWN_PATHS = 20

_VIEW_DAYS = 45

ORDINARY_STALENESS = 3
"""Days that the newest close may lag without a warning: a weekend with a holiday beside it."""

_BANDS = ((95, 0.025, 0.975), (80, 0.1, 0.9), (50, 0.25, 0.75))


def write_fan_chart(
    folder: Path,
    *,
    series: str,
    model: str,
    version: str,
    forecast_date: dt.date,
    paths: Paths,
    history_dates: Dates,
    history_close: Floats,
    actuals: Floats,
    data_cutoff: dt.date,
    training_cutoff: dt.date,
    last_observed: dt.date,
    staleness_days: int,
    unit: str | None = None,
    zone: str = "UTC",
) -> Path:
    """Write the fan chart of one forecast and return its file.

    paths: float32 [n_paths, horizon]; actuals: float64 [horizon], NaN while unknown; history_dates datetime64[D] [n]
    and history_close float64 [n]: closes before forecast_date, of which the last HISTORY_DAYS are shown. `unit` is
    what prices are counted in, shown on axis, cards and table; `zone` that of the page's times. The page says so
    loudly where `staleness_days` is above ORDINARY_STALENESS. Raises ValueError where shapes do not fit, or where a
    close on or after forecast_date is among the history.
    """
    origin = np.datetime64(forecast_date, "D")
    dates = np.asarray(history_dates, "datetime64[D]")
    if paths.ndim != 2 or np.shape(actuals) != paths.shape[1:] or len(dates) != len(history_close):
        raise ValueError(
            f"fan chart: paths {paths.shape}, actuals {np.shape(actuals)}, history {len(dates)} dates and "
            f"{len(history_close)} closes; expected [n_paths, horizon], [horizon], [n], [n]"
        )
    if len(dates) and dates.max() >= origin:
        raise ValueError(f"fan chart: history reaches {dates.max()}, on or after forecast date {origin}: cut it there")
    recent = (dates >= origin - np.timedelta64(HISTORY_DAYS, "D")) & np.isfinite(history_close)
    dates, closes = dates[recent], np.asarray(history_close, np.float64)[recent]
    targets: Dates = origin + np.arange(paths.shape[1]).astype("timedelta64[D]")
    ordered = sorted_paths(paths[None])
    summary = summarise_sorted(ordered)
    figure = _figure(ordered[0], paths, summary, dates, closes, targets, np.asarray(actuals, np.float64), unit)

    content: list[str] = []
    if staleness_days > ORDINARY_STALENESS:
        content.append(
            page.banner(
                "Old data",
                f"The newest close is of {last_observed}, {staleness_days} days before the data cutoff {data_cutoff}: "
                "the forecast starts from that price.",
                "loud",
            )
        )
    content += [
        page.cards(_key_figures(summary, closes, last_observed, targets[-1].item(), unit)),
        page.section(
            f"{series}: the next {paths.shape[1]} days",
            page.plot(figure, "fan", 480),
            note=f"{len(paths):,} simulated paths, of which {min(SHOWN_PATHS, len(paths))} are drawn. Parameters from "
            f"data to {training_cutoff} (training cutoff); prices known to {data_cutoff} (data cutoff), the newest "
            f"close of {last_observed}. Bands are quantiles of the paths. "
            f"Double-click the chart for all {HISTORY_DAYS} days of closes.",
        ),
        page.section(
            "Day by day",
            _days(summary, targets, np.asarray(actuals, np.float64), _shut(paths)),
            note=f"Unit: {unit or 'price as quoted'}. On a day on which the market is shut the price before it stands.",
        ),
    ]
    name = page.file_name("fan-chart", series, model, version, str(forecast_date))
    around = {
        f"{series} leaderboard": page.file_name("leaderboard", series),
        f"{model} {version} day by day": page.file_name("history", series, model, version),
    }
    return page.write_page(
        folder,
        name,
        title=f"{series}, forecast of {forecast_date.day} {forecast_date:%B %Y}",
        subtitle=f"{model} {version}",
        content=content,
        about={
            "kind": "fan_chart", "series": series, "model": model, "version": version, "date": str(forecast_date),
        },
        links={label: file for label, file in around.items() if (folder / file).is_file()},
        zone=zone,
    )  # fmt: skip


def _figure(
    ordered: Paths,
    paths: Paths,
    summary: Summary,
    dates: Dates,
    closes: Floats,
    targets: Dates,
    actuals: Floats,
    unit: str | None,
) -> Figure:
    # The fan opens at the newest close, so that forecast and history meet.
    start, anchor = dates[-1:], closes[-1:]
    axis = _days_text(np.concatenate([start, targets]))
    figure = Figure()
    for level, low, high in _BANDS:
        lower, upper = (np.concatenate([anchor, quantile_of_sorted(ordered, share)]) for share in (low, high))
        figure.add_band(axis, lower, upper, page.BANDS[level], f"{level} % band")
    drawn = paths[np.linspace(0, len(paths) - 1, min(SHOWN_PATHS, len(paths))).astype(int)].astype(np.float64)
    figure.add_scatter(
        x=[day for _ in drawn for day in [*axis, None]],
        y=[value for row in drawn for value in [*anchor, *row, None]],
        mode="lines",
        line={"width": 0.8, "color": "var(--paths)"},
        name="sample paths",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=_days_text(dates),
        y=closes,
        mode="lines",
        line={"width": 2, "color": page.INK},
        name="close",
        hovertemplate=f"%{{y:{HOVER}}}",
    )
    figure.add_scatter(
        x=axis,
        y=np.concatenate([anchor, summary.median[0]]),
        mode="lines",
        line={"width": 3, "color": page.ACCENT},
        name="median",
        hovertemplate=f"%{{y:{HOVER}}}",
    )
    known = np.isfinite(actuals)
    if known.any():
        figure.add_scatter(
            x=_days_text(targets[known]),
            y=actuals[known],
            mode="lines+markers",
            line={"width": 1.6, "color": page.BAD},
            marker={"size": 6},
            name="actual close",
            hovertemplate=f"%{{y:{HOVER}}}",
        )
    figure.add_vline(x=str(targets[0]), line={"width": 1, "dash": "dot", "color": page.MUTED})
    view = [str(targets[0] - np.timedelta64(_VIEW_DAYS, "D")), str(targets[-1] + np.timedelta64(1, "D"))]
    in_view = [closes[dates >= targets[0] - np.timedelta64(_VIEW_DAYS, "D")], drawn, actuals[known]]
    in_view += [summary.lower_95, summary.upper_95]
    shown = np.concatenate([np.ravel(values) for values in in_view])
    low, high = float(shown.min()), float(shown.max())
    margin = 0.05 * (high - low) or 1.0
    figure.layout |= {
        "hovermode": "x unified",
        "margin": {"l": 64, "r": 16, "t": 44, "b": 36},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "yaxis": {
            "range": [low - margin, high + margin],
            "title": {"text": page.escape(page.priced("Close", unit))},
            "tickformat": ",~r",
            "zeroline": False,
        },
        "xaxis": {"range": view, "hoverformat": "%a %d %b %Y", "showgrid": False, "tickformat": "%d %b\n%Y"},
    }
    return figure


def _key_figures(
    summary: Summary, closes: Floats, seen: dt.date, end: dt.date, unit: str | None
) -> list[tuple[str, str]]:
    lower, upper = summary.band(80)
    horizon = summary.median.shape[1]
    last = float(closes[-1]) if len(closes) else float("nan")
    figures = [
        (price_text(last), page.priced(f"last known close, {seen:%a %d %b %Y}", unit)),
        (price_text(summary.median[0, -1]), page.priced(f"median, day {horizon}, {end:%a %d %b %Y}", unit)),
        (
            f"{price_text(lower[0, -1])} to {price_text(upper[0, -1])}",
            page.priced(f"80 % band, {end:%a %d %b %Y}", unit),
        ),
    ]
    if last > 0:
        change = 100 * (summary.median[0, -1] / last - 1)
        half = 50 * (upper[0, -1] - lower[0, -1]) / last
        figures += [(f"{change:+.1f} %", "median against last close"), (f"± {half:.1f} %", "half the 80 % band")]
    return figures


def _shut(paths: Paths) -> Bools:
    """Days on which no path moves, bool [horizon]: the market is shut. Of the first day only where all paths agree."""
    before = np.concatenate([np.broadcast_to(paths[:1, :1], (len(paths), 1)), paths[:, :-1]], axis=1)
    return np.asarray((paths == before).all(axis=0))


def _days(summary: Summary, targets: Dates, actuals: Floats, shut: Bools) -> str:
    columns = {"Day": "number", "Date": "", "Median": "number", "Mean": "number", "Std": "number"}
    columns |= {"80 % from": "number", "to": "number", "95 % from": "number", "to ": "number"}
    columns |= {"Actual close": "number", "Where it fell": ""}
    rows = []
    for day, target in enumerate(targets):
        bands = [tuple(float(bound[0, day]) for bound in summary.band(level)) for level in (80, 95)]
        rows.append(
            [
                day + 1,
                f"{target.item():%a %d %b %Y}",
                *(_amount(column[0, day]) for column in (summary.median, summary.mean, summary.std)),
                *(_amount(bound) for band in bands for bound in band),
                _amount(np.nan if shut[day] else actuals[day]),
                "market shut" if shut[day] else _where(actuals[day], bands),
            ]
        )
    return page.table(columns, rows)


def _where(actual: float, bands: list[tuple[float, ...]]) -> str:
    if np.isnan(actual):
        return ""
    for label, (low, high) in zip(("inside 80 %", "inside 95 %"), bands, strict=True):
        if low <= actual <= high:
            return label
    return "outside 95 %"


def _amount(value: float) -> page.Amount:
    return page.Amount(price_text(value), float(value))


def _days_text(days: Dates) -> list[str]:
    return [str(day) for day in days]
