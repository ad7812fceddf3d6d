"""Checks of trained_models/<model>: there for every window, usable, and no worse than naive."""

import datetime as dt
import json
from collections.abc import Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    multi_asset_check,
)

from forecast_platform.graph.checks import rules
from forecast_platform.graph.checks.findings import Target
from forecast_platform.graph.checks.report import Examined, examined_by, recorded, spec
from forecast_platform.graph.keys import Keys
from forecast_platform.host.finding import Finding
from forecast_platform.models.saved import ArtifactError
from forecast_platform.warehouse.schemas import TRAINED_MODELS
from forecast_platform.work import fitted_store
from forecast_platform.work.platform import NoDataError, Platform

WINDOWS, FINITE, HOLDOUT = "every_window_trained", "finite_parameters", "no_worse_than_naive"


def trained_models_checks(model: str, keys: Keys) -> AssetChecksDefinition:
    """All checks of one model's fits in a group."""
    key = keys.trained_models(model)

    @multi_asset_check(
        name=keys.step(f"check_trained_models_{model}"),
        specs=[
            spec(key, WINDOWS, "A model for every active series and window, from the first one trained up to today."),
            spec(key, FINITE, "Every stored model can be read and holds finite numbers only.", blocking=True),
            spec(key, HOLDOUT, "CRPS on the held-out tail of the windows is no worse than the naive model's."),
        ],
        can_subset=True,
        required_resource_keys={"platform"},
    )
    def check_trained_models(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        asked = examined_by(context, keys)
        found: dict[AssetCheckKey, list[Finding]] = {}
        for series in asked.series:
            for name, finding in examine(asked, asked.target(series, model)).items():
                found.setdefault(AssetCheckKey(key, name), []).append(finding)
        chosen = context.selected_asset_check_keys
        yield from recorded(context, asked, {one: findings for one, findings in found.items() if one in chosen})

    return check_trained_models


def examine(asked: Examined, target: Target) -> dict[str, Finding]:
    """The verdict of each rule on one series and model."""
    platform = asked.platform
    columns = ["training_cutoff_date", "model_id", "algorithm_version", "fitted_model_json", "fitted_model_s3_path"]
    where = {"commodity": target.series, "model_name": target.model, "model_version": target.version}
    rows = platform.warehouse.read(
        TRAINED_MODELS, [*where, *columns, "parameters"], {**where, "is_active": True}
    ).to_pylist()
    active = {row["training_cutoff_date"] + dt.timedelta(days=1): row for row in rows}
    wanted = set(active) if asked.keys is None else set(active) & set(asked.keys[target.series])
    chosen = {start: active[start] for start in sorted(wanted)}
    metrics = {start: json.loads(row["parameters"]).get("metrics") or {} for start, row in chosen.items()}
    texts, unread = {}, {}
    for start, row in chosen.items():
        try:
            texts[start] = f"{fitted_store.text_of(platform.settings, row)}\n{row['parameters']}"
        except ArtifactError as error:
            unread[start] = str(error)
    expected = expected_windows(platform, target.series)
    # From the first window that was ever trained: who starts with the newest does not owe the years before.
    expected = [start for start in expected if start >= min(active)] if active else expected[-1:]
    return {
        WINDOWS: rules.windows_complete(target, list(active), expected),
        FINITE: rules.finite_parameters(target, texts, unread),
        HOLDOUT: rules.holdout_skill(target, metrics),
    }


def expected_windows(platform: Platform, series: str) -> list[dt.date]:
    """Windows that forecast a date up to the newest that the data allow; none where there are no data."""
    from forecast_platform.work.coverage import expected_dates

    try:
        dates = expected_dates(platform, series)
    except NoDataError:
        return []
    return platform.frequency.starts(dates[0], dates[-1]) if dates else []
