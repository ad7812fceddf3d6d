"""What a training job is asked to do: fields, defaults and limits of the job API's `config`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Mode = Literal["autogluon", "statsforecast", "neuralforecast", "mmf", "legacy"]
Metric = Literal["mase", "smape", "mape", "wql"]
Preset = Literal["fast_training", "medium_quality", "high_quality", "best_quality"]

MODES: tuple[str, ...] = get_args(Mode)
FRONT_END_MODELS = (
    *("prophet", "arima", "exponential_smoothing", "sarimax", "xgboost", "statsforecast", "chronos", "ensemble"),
)
"""What the front end sends as `models` in every mode; of them only mode legacy makes use."""


class JobError(ValueError):
    """A job cannot be done as asked; `field` is the part of its config that is to blame, empty where none is."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class JobConfig(BaseModel):
    """One job's config. Unknown fields are let through: the front end of another version may send more."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    data: tuple[dict[str, Any], ...] | None = Field(
        default=None,
        description="Rows: one mapping a row, by column.",
        examples=[[{"week": "2024-01-01", "store": "north", "sales": 12.5}]],
    )
    file: str | None = Field(default=None, description="Instead of rows: the id that POST /api/v2/uploads gave.")
    table: str | None = Field(
        default=None, description="Instead of rows: a table of the warehouse, catalog.schema.table."
    )
    time_col: str = Field(description="Column of the stamps.", examples=["week"])
    target_col: str = Field(description="Column of the values that are forecast.", examples=["sales"])
    id_col: str | None = Field(default=None, description="Column that names the series; one series where unset.")
    covariates: tuple[str, ...] = Field(
        default=(),
        description="Numeric columns. Those that are given for the whole horizon, in rows without a target after each "
        "series' last value, are taken as known ahead.",
    )
    horizon: int = Field(default=12, ge=1, le=1000, description="Steps that are forecast.")
    frequency: str | None = Field(
        default=None,
        description="daily, weekly, monthly, or an alias such as W, MS, B, 15min; recognised where unset.",
        examples=["W"],
    )
    season_length: int | None = Field(
        default=None, ge=1, le=10_000, description="Steps of a season; by the frequency where unset (W 52, D 7, M 12)."
    )
    training_mode: Mode = Field(default="autogluon", description="What trains: see training-modes.")
    models: tuple[str, ...] = Field(
        default=("prophet",),
        description="Models of the mode. The front end's own eight names count in mode legacy alone.",
    )
    seasonality_mode: Literal["multiplicative", "additive"] = Field(
        default="multiplicative", description="Prophet's (mode legacy)."
    )
    presets: Preset = Field(default="medium_quality", description="How much is tried where no models are named.")
    time_limit: float = Field(default=600, gt=0, le=86_400, description="Seconds that training may take.")
    metric: Metric = Field(default="mase", description="What the leaderboard is ordered by; lower is better.")
    levels: tuple[int, ...] = Field(
        default=(80, 95), alias="intervals", description="Prediction intervals, in percent.", max_length=9
    )
    backtest_windows: int = Field(
        default=3, ge=1, le=20, description="Windows of the rolling backtest, where a series' history allows them."
    )
    register_model: bool = Field(default=False, description="Register the best model in MLflow.")
    model_name: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$", description="Its name there."
    )
    compute: Literal["local", "cluster"] | None = Field(
        default=None,
        description="Where it is trained: on the service's machine, or on Databricks where that is enabled "
        "(ENABLE_CLUSTER_DELEGATION), which is also what is done where unset.",
    )
    priority: int = Field(default=0, ge=-10, le=10, description="Higher is run first among the jobs that wait.")

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_levels(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "levels" in data and "intervals" not in data:
            return {**{key: value for key, value in data.items() if key != "levels"}, "intervals": data["levels"]}
        return data

    @field_validator("levels")
    @classmethod
    def _levels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [level for level in value if not 1 <= level <= 99]
        if wrong or not value:
            raise ValueError("percentages from 1 to 99, such as [80, 95]")
        return tuple(sorted(set(value)))

    @field_validator("time_col", "target_col", "id_col")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty: name a column of the data")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> JobConfig:
        given = [name for name in ("data", "file", "table") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"data: give one of data (rows), file or table, not {' and '.join(given) or 'none'}")
        columns = [self.time_col, self.target_col, *([self.id_col] if self.id_col else []), *self.covariates]
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"time_col, target_col, id_col, covariates: {twice[0]!r} is named twice")
        if self.register_model and self.model_name is None:
            raise ValueError("model_name: register_model needs a name to register the model under")
        return self

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles (0 to 1) that the levels' ends and the median are, ascending."""
        tails = [(100 - level) / 200 for level in self.levels]
        return tuple(sorted({round(q, 6) for tail in tails for q in (tail, 1 - tail)} | {0.5}))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data that are read."""
        return (self.time_col, self.target_col, *([self.id_col] if self.id_col else []), *self.covariates)

    @property
    def chosen_models(self) -> tuple[str, ...]:
        """Models that were named for this mode: none where only the front end's own are."""
        if self.training_mode == "legacy":
            return self.models
        return tuple(name for name in self.models if name not in FRONT_END_MODELS)

    def stored(self) -> str:
        """As JSON, without the rows, which are kept as a file."""
        return self.model_dump_json(exclude={"data"}, by_alias=True)

    @classmethod
    def from_stored(cls, text: str) -> JobConfig:
        """What `stored` wrote; its data are the job's own file."""
        found = json.loads(text)
        given = found.get("file") is not None or found.get("table") is not None
        return cls.model_validate(found if given else {**found, "data": []})


def parse(given: Any) -> JobConfig:
    """The config of a request. Raises JobError that names the field, the value and what is allowed."""
    if not isinstance(given, Mapping):
        raise JobError(f"{type(given).__name__} is no mapping of names to values", "config")
    try:
        return JobConfig.model_validate(dict(given))
    except ValidationError as error:
        raise _first(error.errors(include_url=False)) from None


def _first(errors: Sequence[Any]) -> JobError:
    found = errors[0]
    path = ".".join("levels" if part == "intervals" else str(part) for part in found["loc"])
    said = str(found["msg"]).removeprefix("Value error, ")
    if not path:
        field, _, text = said.partition(": ")
        return JobError(text, field) if text else JobError(said)
    if found["type"] == "missing":
        return JobError("is missing", path)
    shown = repr(found["input"])
    return JobError(f"{shown if len(shown) < 80 else shown[:77] + '...'}: {said}", path)
