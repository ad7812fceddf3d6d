"""Checks of forecast_metadata/<model>: a quarter's calibration, and whether the model is getting worse."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    multi_asset_check,
)

from forecast_platform.forecasting.horizon import suffix
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.point_rules import calibration
from forecast_platform.graph.checks.report import examined_by, recorded, spec
from forecast_platform.graph.keys import Keys
from forecast_platform.host.finding import Finding

if TYPE_CHECKING:
    import pandas as pd

    from forecast_platform.pipeline.performance import Comparison

CALIBRATED, PERFORMANCE = "calibrated", "not_degraded"


def _columns(whole: str) -> tuple[str, ...]:
    """What calibration is judged by: of day 1, and of the whole horizon, whose suffix is given."""
    return (*(f"coverage_{level}_{span}" for span in ("1d", whole) for level in (80, 95)), "pit")


def _read(whole: str) -> tuple[str, ...]:
    return (*_columns(whole), f"crps_{whole}", f"mae_{whole}", f"mape_{whole}", "dir_day0")


def forecast_metadata_checks(model: str, keys: Keys) -> AssetChecksDefinition:
    """All checks of one model's scores in a group."""
    key = keys.forecast_metadata(model)

    @multi_asset_check(
        name=keys.step(f"check_forecast_metadata_{model}"),
        specs=[
            spec(key, CALIBRATED, "80 and 95 % bands and the PIT over the newest quarter's forecasts."),
            spec(
                key,
                PERFORMANCE,
                "CRPS, MAE and direction of the newest quarter against the model's own history and naive: 10 % worse "
                "at p < 0.05 is a warning, 25 % critical.",
            ),
        ],
        can_subset=True,
        required_resource_keys={"platform"},
    )
    def check_forecast_metadata(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        from forecast_platform.pages.display import metadata_frame
        from forecast_platform.pages.scores import REFERENCE
        from forecast_platform.pipeline.performance import trailing_performance

        asked = examined_by(context, keys)
        found: dict[str, list[Finding]] = {check.name: [] for check in context.selected_asset_check_keys}
        for series in asked.series:
            target = asked.target(series, model)
            metadata = metadata_frame(asked.platform, series, [model, REFERENCE], _read(suffix(asked.platform.horizon)))
            if CALIBRATED in found:
                found[CALIBRATED].append(calibrated(target, metadata))
            if PERFORMANCE in found:
                found[PERFORMANCE].append(degraded(target, trailing_performance(metadata, model, asked.version)))
        yield from recorded(context, asked, {AssetCheckKey(key, name): findings for name, findings in found.items()})

    return check_forecast_metadata


def calibrated(target: Target, metadata: "pd.DataFrame") -> Finding:
    """Calibration of the newest quarter's scored forecasts. metadata: forecast_metadata rows of the series."""
    from forecast_platform.pages.scores import ModelKey, counted, horizon_of, overlap, scored
    from forecast_platform.pipeline.performance import QUARTER_DAYS

    whole = suffix(horizon_of(metadata))
    rows = scored(metadata, whole).get(ModelKey(target.model, target.version)) if len(metadata) else None
    if rows is None:
        return target.good(forecasts=0)
    rows = rows[counted(rows)]
    days = rows["forecast_date"].to_numpy("datetime64[D]")
    rows = rows[days > days[-1] - np.timedelta64(QUARTER_DAYS, "D")]
    return calibration(
        target, {name: rows[name].to_numpy(np.float64) for name in _columns(whole)}, whole, overlap(whole)
    )


def degraded(target: Target, comparisons: Sequence["Comparison"]) -> Finding:
    """The worst of the comparisons, and what to do about it."""
    figures = {f"{item.measure} worse than {item.against} (%)": 100 * item.worse for item in comparisons}
    bad = [item for item in comparisons if item.severity != "good"]
    if not bad:
        return Finding(str(target), figures=figures)
    critical = any(item.severity == "critical" for item in bad)
    mend = (
        f"compare with `forecast-platform evaluate --commodity {target.series}`; go back with `forecast-platform "
        f"rollback --commodity {target.series}` or promote a better model with `forecast-platform promote`"
    )
    if all(item.market for item in bad):
        mend = "the market is harder to forecast than it was, and no model is to blame; size positions accordingly"
    return Finding(
        str(target),
        "error" if critical else "warning",
        f"{'critically degraded' if critical else 'degraded'} over the newest quarter: "
        + "; ".join(item.text for item in bad),
        mend,
        figures,
    )
