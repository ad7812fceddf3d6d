"""The tables of training jobs' results, which many jobs share."""

from __future__ import annotations

from forecast_platform.warehouse.table import Table
from forecast_platform.warehouse.table import nullable as _opt
from forecast_platform.warehouse.table import required as _col

_SECONDS = {
    "fit_time_marginal": "the last fit",
    "predict_time": "the last forecast",
    "total_seconds": "all windows too",
}
_JOB = (
    _col("job_day", "string", "Day on which the job was created, YYYY-MM-DD in UTC (file partition)."),
    _col("job_id", "string", "The training job."),
    _col("user_id", "string", "Whose job it is."),
)

TRAINING_JOB_FORECASTS = Table(
    "commodity.forecast.training_job_forecasts",
    "Forecasts of training jobs by their best models: one row a series, step and interval.",
    (
        *_JOB,
        _col("series", "string", "Series, as the job's table names it; empty where that is of one."),
        _col("step", "int", "1 to the job's horizon."),
        _col("stamp", "timestamp", "What is forecast, on the series' own grid; a day is its midnight."),
        _col("model", "string", "The best of the leaderboard, refitted on all data."),
        _opt("forecast", "float", "The model's point forecast."),
        _opt("median", "float", "Median."),
        _col("level", "int", "The interval's percent."),
        _opt("lower", "float", "Its lower end."),
        _opt("upper", "float", "Its upper end."),
    ),
    partition_by=("job_day",),
    key=("job_day", "job_id", "series", "step", "level"),
)

TRAINING_JOB_LEADERBOARDS = Table(
    "commodity.forecast.training_job_leaderboards",
    "Leaderboards of completed training jobs: one row a model; written after the job's forecast.",
    (
        *_JOB,
        _col("rank", "int", "1 is the best."),
        _col("model", "string", "Model."),
        _col("metric", "string", "What the order goes by."),
        _opt("score_val", "float", "The figure of the metric; lower is better."),
        *(
            _opt(name, "float", f"{name.upper()} over the backtest's windows.")
            for name in ("mase", "smape", "mape", "wql")
        ),
        _col("coverage", "string", "Hit rate in percent by the interval's percent, as JSON."),
        *(_opt(name, "float", f"Seconds: {text}.") for name, text in _SECONDS.items()),
        _col("windows", "int", "Windows of the backtest."),
        _col("fallbacks", "int", "Series on which the model failed and seasonal naive stands in its place."),
        _col("training_mode", "string", "The job's mode."),
        _col("data_hash", "string", "Hash of the job's data."),
        _opt("mlflow_run_id", "string", "MLflow run of the job."),
        _col("completed_at", "timestamp", "When the results were kept, UTC."),
    ),
    partition_by=("job_day",),
    key=("job_day", "job_id", "rank"),
)
