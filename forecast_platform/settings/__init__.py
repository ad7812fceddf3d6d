"""Everything an operator can set: typed, documented, checked at load."""

from forecast_platform.settings.loading import build, load
from forecast_platform.settings.parts import EmailSettings, PublicationLag, SeriesSettings, SettingsError, SparkSettings
from forecast_platform.settings.root import PREFIX, Settings, default_home

__all__ = [
    "PREFIX",
    "EmailSettings",
    "PublicationLag",
    "SeriesSettings",
    "Settings",
    "SettingsError",
    "SparkSettings",
    "build",
    "default_home",
    "load",
]
