"""What a command says of windows that have no fitted model."""

from __future__ import annotations

import datetime as dt

from forecast_platform.forecasting.windows import FREQUENCIES
from forecast_platform.settings import Settings
from forecast_platform.work.results import ranges_text


def missing_text(missing: dict[tuple[str, str], list[dt.date]], settings: Settings, version: str) -> str:
    """Which windows have no model, and the commands that train them; series that lack the same are told together."""
    frequency = FREQUENCIES[settings.train_frequency]
    by_series: dict[str, dict[tuple[dt.date, ...], list[str]]] = {}
    for (series, model), windows in missing.items():
        by_series.setdefault(series, {}).setdefault(tuple(windows), []).append(model)
    alike: dict[tuple[tuple[dt.date, ...], tuple[str, ...]], list[str]] = {}
    for series, lacking in by_series.items():
        for starts, models in lacking.items():
            alike.setdefault((starts, tuple(models)), []).append(series)
    lines, mends = [], []
    tag = "" if version == settings.model_version else f" --model-version-tag {version}"
    for (starts, names), owners in alike.items():
        lines.append(
            f"no trained_models/{', '.join(names)} {version} for {', '.join(owners)}, windows "
            f"{ranges_text(list(starts), most=20)}"
        )
        last = min(frequency.next_start(starts[-1]) - dt.timedelta(days=1), settings.end_date or settings.today())
        mends.append(
            f"train them with: forecast-platform train --commodity {' '.join(owners)} --models {' '.join(names)} "
            f"--start-date {starts[0]} --end-date {last}{tag}"
        )
    return "\n".join([*lines, *mends, "or run this command again with --train"])
