"""Everything an operator can set: typed, documented, checked at load; from the environment or one YAML file."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from forecast_platform.forecasting.horizon import DEFAULT, LONGEST, SHORTEST
from forecast_platform.forecasting.windows import FREQUENCIES, Frequency
from forecast_platform.models import registry
from forecast_platform.models.tags import ModelSpec
from forecast_platform.settings import values
from forecast_platform.settings.databricks import DatabricksOptions
from forecast_platform.settings.feeds import FeedSettings
from forecast_platform.settings.groups import SeriesGroup, grouped, refuse_too_many, refuse_unknown_positions
from forecast_platform.settings.landing import FileSettings, landing_series
from forecast_platform.settings.language import LanguageSettings
from forecast_platform.settings.model_settings import listed, with_specs
from forecast_platform.settings.parts import (
    EmailSettings,
    PublicationLag,
    SeriesSettings,
    SettingsError,
    SparkSettings,
    did_you_mean,
    refuse_ambiguous,
    refuse_early_ends,
    web_address,
)
from forecast_platform.settings.sample import sample_defaults
from forecast_platform.settings.training_jobs import TrainingJobSettings
from forecast_platform.settings.unity import UnityOptions, default_folder, default_tracking, refuse_object_store
from forecast_platform.settings.web import TrustedProxy, host_names, origins, plain_secret
from forecast_platform.settings.yaml_file import read_yaml

PREFIX = "FORECAST_PLATFORM_"


def default_home() -> Path:
    """Where everything is kept unless set: beside the checkout's workspace.yaml, or in the user's home folder."""
    checkout = Path(__file__).resolve().parents[2]
    root = checkout if (checkout / "workspace.yaml").is_file() else Path.home()
    return root / ".forecast_platform"


def _system_clock() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


class Settings(BaseSettings):
    """The platform's settings. Environment variables (FORECAST_PLATFORM_<NAME>) override the YAML file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_nested_delimiter="__", allow_inf_nan=False
    )

    config: Path | None = Field(default=None, description="YAML file with any of these settings.")
    warehouse: Path = Field(
        default_factory=lambda: default_home() / "warehouse",
        description="Root folder of the tables, laid out catalog/schema/table; models, reports and tracking beside.",
    )
    tables: Literal["folder", "unity_catalog"] = Field(
        default="folder", description="Where the tables are: in the warehouse folder, or in Unity Catalog, by Spark."
    )
    unity: UnityOptions = Field(default_factory=UnityOptions, description="See UnityOptions; for unity_catalog.")
    source: str = Field(
        default="sample",
        description="Where raw prices come from: `sample` (the packaged WTI), `landing` (files), `feeds` (public ones, "
        "by network), or a plugin's.",
    )
    landing: Path | None = Field(default=None, description="Landing folder: market/, macro, weather files.")
    files: FileSettings = Field(default_factory=FileSettings, description="See FileSettings; for landing files.")
    series: tuple[SeriesSettings, ...] = Field(
        default=(), description="The series; from the source where unset (sample: WTI; landing: every market file)."
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Group -> names of its series: an asset family with the group's name as key prefix. Series in none "
        "keep the keys without a prefix. docs/scaling.md says when groups are needed.",
    )
    portfolios: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="Portfolio -> contracts by series, negative where short: a page each, made with the daily page. "
        "Their series need `multiplier` and `currency`.",
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=lambda: tuple(registry.default_names()),
        description="Models to train and forecast with: names, or mappings with `name`, `type`, `params` "
        "(hyperparameters) and `of` (the models that a combination is made of), see docs/adding.md.",
    )
    plugins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Modules that register models, notifiers, sources or computes; see docs/plugins.md."
    )
    train_frequency: Frequency = Field(default="semiannually", description="How often models are fitted anew.")
    lookback_years: int = Field(default=5, ge=1, le=30, description="Years of history a model is fitted on.")
    horizon: int = Field(
        default=DEFAULT,
        ge=SHORTEST,
        le=LONGEST,
        description="Days a forecast covers; one a warehouse, whose tables have the columns day_1 to day_<horizon>.",
    )
    n_paths: int = Field(default=2000, ge=100, le=2000, description="Simulated paths a forecast.")
    seed: int = Field(default=20180101, ge=0, lt=2**63, description="Seed of the shared random numbers.")
    model_version: str = Field(default="v1.0", description="Version tag that new models and forecasts carry.")
    active_versions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Further version tags the daily run covers beside model_version."
    )
    start_date: dt.date = Field(
        default=dt.date(2018, 1, 1),
        description="First forecast date; must be the first day of a window. The sample's is 2010-01-01.",
    )
    end_date: dt.date | None = Field(
        default=None, description="Last forecast date of a source that has ended (the sample: 2019-01-04)."
    )
    max_staleness_days: int = Field(
        default=5, ge=0, le=30, description="Calendar days the newest close may lag before no forecast is made."
    )
    publication_lag_days: PublicationLag = Field(default_factory=PublicationLag, description="See PublicationLag.")
    timezone: str = Field(default="America/Los_Angeles", description="Zone of schedules, of 'today' and partitions.")
    compute: str = Field(
        default="local",
        description="Where models are fitted and forecasts made: `local`, `spark`, `databricks`, "
        "`databricks_serverless`, `databricks_classic`, or a plugin's.",
    )
    spark: SparkSettings = Field(default_factory=SparkSettings, description="See SparkSettings; for compute spark.")
    workers: int = Field(
        default_factory=lambda: max(1, min(2, os.cpu_count() or 1)),
        ge=1,
        le=64,
        description="Processes for slow fits, and threads for simulation, on this machine.",
    )
    mlflow_tracking_uri: str | None = Field(
        default=None,
        description="MLflow server, or databricks; where unset an SQLite file in the warehouse, "
        "or databricks where that is in a volume.",
    )
    mlflow_ui_url: str = Field(
        default="http://127.0.0.1:5000", description="Where `mlflow ui` is reached; links in the UI point there."
    )
    reports_url: str = Field(
        default="http://127.0.0.1:3001", description="Where `forecast-platform up` serves the reports folder."
    )
    databricks: DatabricksOptions = Field(default_factory=DatabricksOptions, description="See DatabricksOptions.")
    readable_by: Literal["owner", "group"] = Field(
        default="owner", description="Who may read what is written, beside the account that runs the platform."
    )
    min_free_gb: float = Field(default=1.0, ge=0, description="Free disk space below which writes stop, in GB.")
    automation: bool = Field(
        default=True, description="Schedules and sensors start switched on (never for a source that has ended)."
    )
    training_time: dt.time = Field(
        default=dt.time(0), description="Time of day, in timezone, at which a window that begins is trained."
    )
    daily_time: dt.time = Field(default=dt.time(8), description="Time of day, in timezone, at which the day is run.")
    data_deadline_hours: float = Field(
        default=3.0, gt=0, le=12, description="Hours after daily_time for which late data are waited for."
    )
    catch_up_days: int = Field(
        default=14, ge=1, le=184, description="Forecast dates up to today that the daily run fills where missing."
    )
    catch_up_windows: int = Field(
        default=2, ge=1, le=20, description="Newest training windows that are trained by themselves where missing."
    )
    run_attempts: int = Field(
        default=3, ge=1, le=10, description="Runs of one request over the same data before automation gives it up."
    )
    retry_minutes: float = Field(
        default=10.0, ge=0, le=240, description="Minutes before a failed request is tried again; doubled each time."
    )
    file_settle_seconds: float = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Seconds for which a landing file must be unchanged for sensors to read it. Commands and runs hold "
        "back a younger text file whose last line has no end, and read other young files with a warning.",
    )
    notifiers: tuple[str, ...] = Field(
        default=("log",), description="Who is told of problems: log, webhook, slack, email, or a registered name."
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="Address that the notifier webhook posts JSON to; set it in the environment."
    )
    slack_webhook_url: SecretStr | None = Field(
        default=None, description="Incoming-webhook address of the notifier slack; set it in the environment."
    )
    email: EmailSettings | None = Field(default=None, description="See EmailSettings; for the notifier email.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What `forecast-platform up` and its processes log from."
    )
    ui_url: str = Field(default="http://127.0.0.1:3000", description="Where the UI is reached; alerts link there.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names that UI, reports and API are reached by, beside this machine's own (127.0.0.1)."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins beside the servers' own whose pages may ask and change, such as https://prices.example.",
    )
    web_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="What whoever asks the servers must know, where set; needed to bind them beyond this machine.",
    )
    trusted_proxy: TrustedProxy | None = Field(default=None, description="See TrustedProxy; instead of web_token.")

    feeds: FeedSettings = Field(default_factory=FeedSettings, description="See FeedSettings; for the source feeds.")
    keep_runs_days: int = Field(
        default=180, ge=7, le=3650, description="Days for which Dagster's record of every run is kept."
    )
    vacuum_hours: int = Field(
        default=168, ge=24, le=8760, description="Hours for which replaced files of the tables are kept for readers."
    )
    artifact_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Key that signs fitted models kept as pickles; the warehouse makes one of its own where unset.",
    )
    training_jobs: TrainingJobSettings = Field(
        default_factory=lambda: TrainingJobSettings.model_validate({}),
        description="See TrainingJobSettings; for docs/jobs.md.",
    )
    language: LanguageSettings = Field(default_factory=LanguageSettings, description="See LanguageSettings.")
    auto_promote: bool = Field(default=False, description="Promote a challenger that is decisively better by itself.")

    _clock: Callable[[], dt.datetime] = PrivateAttr(default_factory=lambda: _system_clock)
    _specs: dict[str, ModelSpec] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit arguments, then environment, then the YAML file that FORECAST_PLATFORM_CONFIG names."""
        chosen = init_settings.init_kwargs.get("config") if hasattr(init_settings, "init_kwargs") else None
        path = chosen or os.environ.get(f"{PREFIX}CONFIG")
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if not path:
            return sources
        return (*sources, InitSettingsSource(settings_cls, read_yaml(Path(path), f"{PREFIX}CONFIG")))

    _folder = field_validator("warehouse", "landing", "config", mode="before")(values.folder)
    _absolute = field_validator("warehouse", "landing", "config")(values.at_home)
    _server = field_validator("mlflow_tracking_uri")(values.not_empty)
    _time = field_validator("training_time", "daily_time", mode="before")(values.time_of_day)
    _day = field_validator("start_date", "end_date", mode="before")(values.day)
    _listed = field_validator("plugins", "active_versions", "allowed_hosts", "allowed_origins", mode="before")(listed)
    _hosts = field_validator("allowed_hosts")(host_names)
    _origins = field_validator("allowed_origins")(origins)
    _token = field_validator("web_token")(plain_secret)
    _zone = field_validator("timezone")(values.zone)
    _address = field_validator("reports_url", "ui_url", "mlflow_ui_url")(web_address)
    _version = field_validator("model_version", "active_versions")(values.version_tags)

    @model_validator(mode="wrap")
    @classmethod
    def _models_by_name(cls, data: Any, handler: ModelWrapValidatorHandler[Settings]) -> Settings:
        """Plugins first, since they register what the other settings name; `models` keeps the names, specs beside."""
        if not isinstance(data, dict):
            return handler(data)
        data, specs = with_specs(data)
        settings = handler(data)
        settings._specs = specs
        return settings

    @field_serializer("models")
    def _plain_models(self, value: tuple[str, ...]) -> list[Any]:
        return [self.model_spec(name).plain() for name in value]

    def model_spec(self, name: str) -> ModelSpec:
        """What makes the model of this name: as configured, else the registered type. Raises ValueError."""
        return self._specs.get(name) or registry.spec(name)

    @model_validator(mode="before")
    @classmethod
    def _source_defaults(cls, data: Any) -> Any:
        """What a source implies where nothing is said: its series, and for the sample its span."""
        if not isinstance(data, dict):
            return data
        values.refuse_control_characters(data)
        source = data.get("source", "sample")
        data = default_folder(dict(data))
        if source == "sample":
            data = sample_defaults(data)
        elif source == "landing" and not data.get("series"):
            data["series"] = landing_series(data.get("landing"))
        elif source == "feeds":
            data.setdefault("landing", Path(data.get("warehouse") or default_home() / "warehouse") / "_landing")
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.source == "landing" and self.landing is None:
            raise ValueError(f"source is landing, but {PREFIX}LANDING is not set: name the landing folder")
        without = [series.name for series in self.series if series.ticker is None]
        if self.source == "feeds" and (without or not self.series):
            what = f"series {', '.join(without)} have no ticker" if without else "no series is configured"
            raise ValueError(f"source is feeds, but {what}: name each series' symbol, such as ticker: KC=F for Coffee")
        refuse_object_store(self.tables, self.warehouse)
        if self.tables == "unity_catalog" and self.spark.writer == "workers":
            raise ValueError("spark.writer: workers write to a folder; with tables unity_catalog use spark or driver")
        refuse_ambiguous(self.series, self.publication_lag_days)
        if not FREQUENCIES[self.train_frequency].is_start(self.start_date):
            near = FREQUENCIES[self.train_frequency].start_of(self.start_date)
            raise ValueError(
                f"start_date: {self.start_date} is not the first day of a {self.train_frequency} window; "
                f"the one that contains it begins on {near}"
            )
        refuse_early_ends(self.series, self.start_date, self.end_date)
        refuse_unknown_positions(self.portfolios, self.series_names)
        refuse_too_many(grouped(self.series_names, self.groups), self.start_date, self.end_date or dt.date.today())
        return self

    @property
    def history_start(self) -> dt.date:
        """First history day: the first window's start less the lookback, in whole windows."""
        return FREQUENCIES[self.train_frequency].back(self.start_date, self.lookback_windows)

    @property
    def lookback_end(self) -> dt.date:
        """The day before the first forecast date: as a partition of unified_data it stands for the whole lookback."""
        return self.start_date - dt.timedelta(days=1)

    @property
    def lookback_windows(self) -> int:
        """The lookback in training windows, the unit that partition mappings count in."""
        return FREQUENCIES[self.train_frequency].windows_in_years(self.lookback_years)

    @property
    def series_names(self) -> tuple[str, ...]:
        """Names of all series, in configured order."""
        return tuple(series.name for series in self.series)

    @property
    def series_groups(self) -> tuple[SeriesGroup, ...]:
        """Every group with its series; without the setting, one with no name that holds all."""
        return grouped(self.series_names, self.groups)

    def group_of(self, name: str) -> SeriesGroup:
        """The group that the series called `name` is in (case-insensitive). Raises SettingsError."""
        series = self.series_named(name).name
        return next(group for group in self.series_groups if series in group.series)

    def series_named(self, name: str) -> SeriesSettings:
        """The series called `name` (case-insensitive); SettingsError with the known names otherwise."""
        for series in self.series:
            if series.name.lower() == name.lower():
                return series
        raise SettingsError(f"series {name!r} is not configured{did_you_mean(name, self.series_names)}")

    def end_of(self, name: str) -> dt.date | None:
        """Last forecast date of the series called `name`, by its own end_date or that of all; None while it goes on."""
        return min((end for end in (self.series_named(name).end_date, self.end_date) if end is not None), default=None)

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking store: where unset, the workspace's for a warehouse in a volume, else an SQLite file."""
        return self.mlflow_tracking_uri or default_tracking(self.tables, self.warehouse)

    @property
    def reports(self) -> Path:
        """Folder of fan charts and reports."""
        return self.warehouse / "_reports"

    def now(self) -> dt.datetime:
        """The time, in UTC: the system's, or that of the clock given to `with_clock`."""
        return self._clock()

    def today(self) -> dt.date:
        """The date in the platform's zone."""
        return self.now().astimezone(ZoneInfo(self.timezone)).date()

    def with_clock(self, clock: Callable[[], dt.datetime]) -> Settings:
        """These settings under another clock, which returns aware times: what a simulated year runs on."""
        copy = self.model_copy()
        copy._clock = clock
        return copy

    @property
    def automated(self) -> bool:
        """Whether schedules and sensors are on from the start: a source that has ended needs none."""
        return self.automation and self.end_date is None
