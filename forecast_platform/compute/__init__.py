"""Where chunks of forecast dates are computed: the one place that knows."""

from __future__ import annotations

from forecast_platform.compute.base import Compute
from forecast_platform.settings import Settings, SettingsError


def compute_for(settings: Settings) -> Compute:
    """The compute that `settings.compute` names."""
    if settings.compute == "local":
        from forecast_platform.compute.local import LocalCompute

        return LocalCompute(settings.workers)
    raise SettingsError(f"compute = {settings.compute!r}: only 'local' is there")
