"""What the assets, jobs and steps of a group of series are called: here and nowhere else.

A group's name is the first part of its assets' keys and the last part of its jobs' names. The group without a name has
the bare keys and names, so that an instance made before there were groups keeps its records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dagster import AssetKey

from forecast_platform.settings import Settings

UNIFIED_DATA = "unified_data"
TRAINED_MODELS = "trained_models"
DISTRIBUTIONS = "distributions"
POINT_FORECASTS = "point_forecasts"
FORECAST_METADATA = "forecast_metadata"
ACTUALS = "actuals"
INGEST, TRAIN, FORECAST, SCORE = "ingest", "train", "forecast", "score"
JOBS = (INGEST, TRAIN, FORECAST, SCORE)
"""A job holds assets of one partition set only, so a day is three runs and not one; each group has its own four."""

_FAMILIES = frozenset({UNIFIED_DATA, TRAINED_MODELS, DISTRIBUTIONS, POINT_FORECASTS, FORECAST_METADATA})


@dataclass(frozen=True)
class Keys:
    """The names in one group; `group` is empty for the one without a name."""

    group: str = ""

    @property
    def unified_data(self) -> AssetKey:
        """Prices and covariates of the group's series."""
        return self._key(UNIFIED_DATA)

    def trained_models(self, model: str) -> AssetKey:
        """One model's fits."""
        return self._key(TRAINED_MODELS, model)

    def distributions(self, model: str) -> AssetKey:
        """One model's simulated paths."""
        return self._key(DISTRIBUTIONS, model)

    def point_forecasts(self, model: str) -> AssetKey:
        """One model's point forecasts."""
        return self._key(POINT_FORECASTS, model)

    def forecast_metadata(self, model: str) -> AssetKey:
        """One model's scores."""
        return self._key(FORECAST_METADATA, model)

    @property
    def actuals(self) -> AssetKey:
        """What prices really did."""
        return self.distributions(ACTUALS)

    def of_job(self, job: str, models: Sequence[str], *, actuals: bool = True) -> list[AssetKey]:
        """The assets of one of JOBS for `models`; a forecast brings the actuals up to date unless told not to.

        Raises ValueError for another job.
        """
        if job == INGEST:
            return [self.unified_data]
        if job == TRAIN:
            return [self.trained_models(model) for model in models]
        if job == SCORE:
            return [self.forecast_metadata(model) for model in models]
        if job != FORECAST:
            raise ValueError(f"job {job!r}: one of {', '.join(JOBS)}")
        keys = [key(model) for model in models for key in (self.distributions, self.point_forecasts)]
        return [*keys, self.actuals] if actuals else keys

    def job(self, job: str) -> str:
        """The name of one of JOBS."""
        return f"{job}_{self.group}" if self.group else job

    def step(self, name: str) -> str:
        """The name of a step that is not named after its asset."""
        return f"{self.group}__{name}" if self.group else name

    def shown_in(self, stage: str) -> str:
        """The UI's asset group: a named group is one box in the lineage, else each stage is."""
        return self.group or stage

    def _key(self, *parts: str) -> AssetKey:
        return AssetKey([self.group, *parts] if self.group else list(parts))


def keys_of(settings: Settings, series: str) -> Keys:
    """The names in the group that a series is in. Raises SettingsError where it is not configured."""
    return Keys(settings.group_of(series).name)


def all_keys(settings: Settings) -> list[Keys]:
    """The names in every group, in the settings' order."""
    return [Keys(group.name) for group in settings.series_groups]


def family_of(key: AssetKey) -> str:
    """The table that an asset's key names, whatever the group; empty for an asset that is of none."""
    return next((part for part in key.path[:2] if part in _FAMILIES), "")


def model_of(key: AssetKey) -> str:
    """The model that an asset's key names; empty where the asset is of none."""
    path = list(key.path)
    family = family_of(key)
    return path[-1] if family and path[-1] != family else ""
