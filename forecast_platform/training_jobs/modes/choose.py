"""Which methods a job trains."""

from __future__ import annotations

from forecast_platform.training_jobs.config import JobConfig
from forecast_platform.training_jobs.modes.base import Method


def methods_of(config: JobConfig) -> tuple[list[Method], list[str]]:
    """What the config's mode trains with, and what there is to say of it.

    Raises JobError where a model is unknown, or the mode's library is not installed.
    """
    from forecast_platform.training_jobs.modes import autogluon, legacy, mmf, neuralforecast, statsforecast

    if config.training_mode == "autogluon":
        return autogluon.methods(config)
    if config.training_mode == "neuralforecast":
        return neuralforecast.methods(config), []
    if config.training_mode == "legacy":
        return legacy.methods(config)
    if config.training_mode == "statsforecast":
        return statsforecast.methods(config), []
    return mmf.methods(config)
