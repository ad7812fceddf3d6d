"""Every table's schema: the one source for readers, writers, documentation and the UI's column metadata.

The columns of some follow from the horizon. The constants are those of the default one, and name the table in reads and
writes: a warehouse takes its own of them, `table.at(horizon)`, and so must whoever makes rows.
"""

from __future__ import annotations

from functools import lru_cache

from forecast_platform.forecasting.horizon import DEFAULT, day_columns, spans
from forecast_platform.sources.base import WEATHER_COLUMNS
from forecast_platform.warehouse.job_schemas import TRAINING_JOB_FORECASTS as TRAINING_JOB_FORECASTS
from forecast_platform.warehouse.job_schemas import TRAINING_JOB_LEADERBOARDS as TRAINING_JOB_LEADERBOARDS
from forecast_platform.warehouse.table import DELTA_TYPES as DELTA_TYPES
from forecast_platform.warehouse.table import Column as Column
from forecast_platform.warehouse.table import Table as Table
from forecast_platform.warehouse.table import nullable as _opt
from forecast_platform.warehouse.table import required as _col

ACTUALS = "actuals"
"""Reserved model_name and model_version of the rows that hold what prices really did."""


_SERIES = _col("commodity", "string", "Series name, for example Coffee.")
_MODEL = _col("model_name", "string", "Model, as in the registry.")
_VERSION = _col("model_version", "string", "Version tag, for example v1.0.")
_ORIGIN = _col("forecast_date", "date", "Day the forecast is for and made on; data before it only.")
_DATA_CUTOFF = _col("data_cutoff_date", "date", "Last day whose data could be known: forecast_date - 1.")
_TRAINING_CUTOFF = _opt("training_cutoff_date", "date", "Last day of training data: the window's start - 1.")
_GENERATED = _col("generation_timestamp", "timestamp", "When the forecast was made, UTC.")
_LEAK = _col("has_data_leakage", "bool", "True where data on or after forecast_date were used; never read.")
_MODEL_ID = _opt("model_id", "string", "Content address of the fitted model.")
_INPUT_HASH = _opt("input_hash", "string", "Hash of the rows that were read to make this forecast.")
_ALGORITHM = _opt("algorithm_version", "int", "The model's algorithm version, raised by hand.")
_LAST_OBSERVED = _opt("last_observed_date", "date", "Last exchange session whose close was really seen.")


UNIFIED_DATA = Table(
    "commodity.silver.unified_data",
    "One row a calendar day and series: prices, FX, VIX and weather as known at the end of that day.",
    (
        _col("date", "date", "Calendar day."),
        _SERIES,
        _col("is_trading_day", "bool", "The exchange was scheduled to trade."),
        _col("is_observed", "bool", "A close of this very day is in the source."),
        _col(
            "is_roll_day",
            "bool",
            "The nearby contract changed with this close; the move is kept out of residual pools.",
        ),
        _opt("open", "float", "Open, in the series' quote unit; filled forward."),
        _opt("high", "float", "High, filled forward."),
        _opt("low", "float", "Low, filled forward."),
        _col("close", "float", "Close, filled forward over closed days and gaps."),
        _opt("volume", "float", "Contracts traded, filled forward."),
        _opt("vix", "float", "CBOE volatility index, as known on the day."),
        *(_opt(name, "float", f"Weather over the series' regions: {name}.") for name in WEATHER_COLUMNS),
        _col("filled_columns", "string", "Comma-separated columns of this row carried over from an earlier day."),
    ),
    partition_by=("commodity",),
    key=("commodity", "date"),
    open_columns=True,
)

TRAINED_MODELS = Table(
    "commodity.forecast.trained_models",
    "One row a fitted model: series, model, version and training window; refits keep the rows they replace.",
    (
        _SERIES,
        _MODEL,
        _VERSION,
        _col("training_start_date", "date", "First day of training data."),
        _col("training_cutoff_date", "date", "Last day of training data: the window's start - 1."),
        _opt("fitted_model_json", "string", "The fitted model, where below 1 MB; of a folder, its manifest."),
        _opt("fitted_model_s3_path", "string", "Path of the fitted model's file or folder, where 1 MB or more."),
        _col("created_at", "timestamp", "When it was fitted, UTC."),
        _col("created_by", "string", "Account that fitted it."),
        _col("year", "int", "Year of the window's start."),
        _col("month", "int", "Month of the window's start."),
        _col("model_id", "string", "Content address of the fitted model."),
        _col("parameters", "string", "What was estimated, and in-sample and holdout figures, as JSON."),
        _col("training_samples", "int", "Observed sessions fitted on."),
        _col("model_size_bytes", "int", "Size of the fitted model: its text and files."),
        _col("training_seconds", "float", "Seconds the fit took."),
        _opt("mlflow_run_id", "string", "MLflow run of this fit."),
        _col("data_version", "string", "Hash of the training rows."),
        _col("code_version", "string", "Version of this package."),
        _col("algorithm_version", "int", "The model's algorithm version, raised by hand."),
        _col("is_active", "bool", "The newest fit of its series, model, version and window."),
    ),
    partition_by=("commodity", "model_name"),
    key=("commodity", "model_name", "model_version", "training_cutoff_date", "model_id", "created_at"),
)


def _path_columns(horizon: int) -> tuple[Column, ...]:
    return (
        _SERIES,
        _MODEL,
        _VERSION,
        _col("forecast_month", "string", "Month of forecast_date, YYYY-MM (file partition)."),
        _ORIGIN,
        _DATA_CUTOFF,
        _TRAINING_CUTOFF,
        _GENERATED,
        _col(
            "path_id",
            "int",
            "Path, 0 to n_paths - 1. Path p is one scenario of every series of a forecast_date (and training window): "
            "positions in several series are added path by path.",
        ),
        *(_opt(name, "float32", f"Close on forecast_date + {h} days.") for h, name in enumerate(day_columns(horizon))),
        _col("is_actuals", "bool", "True for the row of realised closes (null while unknown)."),
        _LEAK,
        _MODEL_ID,
        _INPUT_HASH,
        _ALGORITHM,
        _LAST_OBSERVED,
        _col(
            "staleness_days", "int", "Days from last_observed_date to the last scheduled session before forecast_date."
        ),
        _col("is_backfill", "bool", "Made after forecast_date, not live."),
    )


@lru_cache(maxsize=256)
def _distributions(horizon: int) -> Table:
    return Table(
        "commodity.forecast.distributions",
        f"Simulated price paths: one row a path, day_1 (forecast_date) to day_{horizon}; and one row of actuals a "
        "date.",
        _path_columns(horizon),
        partition_by=("commodity", "model_name", "model_version", "forecast_month"),
        key=("commodity", "model_name", "model_version", "forecast_date", "path_id"),
        horizon=horizon,
        maker=_distributions,
    )


@lru_cache(maxsize=256)
def _distributions_archive(horizon: int) -> Table:
    return Table(
        "commodity.forecast.distributions_archive",
        "Paths that were published live and later replaced.",
        (*_path_columns(horizon), _col("archived_at", "timestamp", "When they were replaced, UTC.")),
        partition_by=("commodity", "model_name", "model_version", "forecast_month"),
        key=("commodity", "model_name", "model_version", "forecast_date", "path_id", "archived_at"),
        horizon=horizon,
        maker=_distributions_archive,
    )


@lru_cache(maxsize=256)
def _point_forecasts(horizon: int) -> Table:
    return Table(
        "commodity.forecast.point_forecasts",
        "Statistics of the stored paths: one row a forecast date and target date.",
        (
            _SERIES,
            _MODEL,
            _VERSION,
            _ORIGIN,
            _col("target_date", "date", "Day forecast: forecast_date + day_ahead - 1."),
            _col("day_ahead", "int", f"1 to {horizon}; 1 is forecast_date itself."),
            _col("forecast_mean", "float", "Mean of the paths."),
            _col("forecast_median", "float", "Median of the paths."),
            _col("forecast_std", "float", "Standard deviation of the paths."),
            _col("lower_80", "float", "10th percentile."),
            _col("upper_80", "float", "90th percentile."),
            _col("lower_95", "float", "2.5th percentile."),
            _col("upper_95", "float", "97.5th percentile."),
            _opt("actual_close", "float", "Close of target_date, null while unknown."),
            _DATA_CUTOFF,
            _TRAINING_CUTOFF,
            _GENERATED,
            _col("model_success", "bool", "The forecast passed validation."),
            _LEAK,
        ),
        partition_by=("commodity", "model_name"),
        key=("commodity", "model_name", "model_version", "forecast_date", "day_ahead"),
        horizon=horizon,
        maker=_point_forecasts,
    )


_METRICS = {
    "mae": "Mean absolute error of the median",
    "rmse": "Root mean squared error of the mean",
    "mape": "Mean absolute percentage error of the median, percent",
    "crps": "Continuous ranked probability score",
    "coverage_80": "Hit rate: share of targets inside the 80 % band",
    "coverage_95": "Hit rate: share of targets inside the 95 % band",
    "sharpness_80": "Width of the 80 % band",
    "sharpness_95": "Width of the 95 % band",
}


@lru_cache(maxsize=256)
def _forecast_metadata(horizon: int) -> Table:
    return Table(
        "commodity.forecast.forecast_metadata",
        "One row a forecast: did it succeed, how long it took, and how good it was on the trading targets known so "
        "far.",
        (
            _SERIES,
            _MODEL,
            _VERSION,
            _ORIGIN,
            *(
                _opt(f"{metric}_{span}d", "float", f"{text}, over trading targets in day_1 to day_{span}.")
                for span in spans(horizon)
                for metric, text in _METRICS.items()
            ),
            _opt("dir_day0", "float", "1 where the median's direction on forecast_date was right, 0 where wrong."),
            _opt("pit", "float", f"Probability integral transform of the last trading target in day_{horizon}'s span."),
            _col("actuals_available", "int", f"Days of the horizon whose close is known, 0 to {horizon}."),
            _opt("training_seconds", "float", "Seconds the model's fit took."),
            _opt("inference_seconds", "float", "Seconds this forecast took: its share of its chunk."),
            _LEAK,
            _col("model_success", "bool", "A forecast was written."),
            _opt("error", "string", "Why not."),
            _MODEL_ID,
            _INPUT_HASH,
            _LAST_OBSERVED,
            _opt("actuals_hash", "string", "Hash of the actuals that were scored against."),
            _opt("generation_timestamp", "timestamp", "When the scored forecast was made, UTC."),
            _opt("scored_at", "timestamp", "When it was scored, UTC."),
        ),
        partition_by=("commodity", "model_name"),
        key=("commodity", "model_name", "model_version", "forecast_date"),
        horizon=horizon,
        maker=_forecast_metadata,
    )


DISTRIBUTIONS = _distributions(DEFAULT)
DISTRIBUTIONS_ARCHIVE = _distributions_archive(DEFAULT)
POINT_FORECASTS = _point_forecasts(DEFAULT)
FORECAST_METADATA = _forecast_metadata(DEFAULT)

FORECAST_RUNS = Table(
    "commodity.forecast.forecast_runs",
    "The ready signal: one row a forecast date, written last, saying what is there.",
    (
        _ORIGIN,
        _col(
            "status",
            "string",
            "complete: every configured model and series; partial: some are missing; late: stale data.",
        ),
        _col("models", "string", "Comma-separated model:version present for every series."),
        _col("missing", "string", "Comma-separated series/model:version that are missing, empty where none."),
        _col("n_series", "int", "Configured series."),
        _col("staleness_days", "int", "Largest staleness among the forecasts."),
        _col("is_backfill", "bool", "Made after forecast_date, not live."),
        _col("updated_at", "timestamp", "When the row was written, UTC."),
    ),
    partition_by=(),
    key=("forecast_date",),
)

CHAMPIONS = Table(
    "commodity.forecast.champions",
    "Which model the reader follows: one row a promotion or rollback; the newest valid_from counts.",
    (
        _SERIES,
        _MODEL,
        _VERSION,
        _col("valid_from", "timestamp", "From when it counts, UTC."),
        _col("by", "string", "Account that decided."),
        _col("why", "string", "The reason given."),
    ),
    partition_by=("commodity",),
    key=("commodity", "valid_from"),
)

TABLES = (
    UNIFIED_DATA,
    TRAINED_MODELS,
    DISTRIBUTIONS,
    DISTRIBUTIONS_ARCHIVE,
    POINT_FORECASTS,
    FORECAST_METADATA,
    FORECAST_RUNS,
    CHAMPIONS,
    TRAINING_JOB_FORECASTS,
    TRAINING_JOB_LEADERBOARDS,
)
