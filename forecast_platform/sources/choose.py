"""The source that the settings name."""

from __future__ import annotations

from forecast_platform.plugins import registry as plugins
from forecast_platform.settings import Settings
from forecast_platform.sources.base import Source, SourceError


def source_for(settings: Settings) -> Source:
    """The source that `settings.source` names.

    Raises SourceError where a plugin cannot be made, or no landing folder is set.
    """
    if settings.source == "sample":
        from forecast_platform.sources.sample import SampleSource

        return SampleSource()
    if settings.source not in plugins.BUILT_IN["source"]:
        try:
            made: Source = plugins.make("source", settings.source, settings)
        except plugins.PluginError as error:
            raise SourceError(str(error)) from error
        return made
    from forecast_platform.sources.landing import LandingSource

    if settings.landing is None:
        raise SourceError("source is landing, but no landing folder is set: set `landing`")
    declared = {name for series in settings.series for name in series.covariates}
    # What feeds write is whole as soon as it is there.
    settle = settings.file_settle_seconds if settings.source == "landing" else 0.0
    landing = LandingSource(settings.landing, settings.today, declared, settings.files, settle)
    if settings.source == "feeds":
        from forecast_platform.sources.feeds import FeedSource

        return FeedSource(settings.feeds, landing, settings.history_start)
    return landing
