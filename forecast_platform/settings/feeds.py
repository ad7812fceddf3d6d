"""What the source `feeds` fetches: symbols and places; part of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from forecast_platform.settings.parts import web_address

WEATHER_ARCHIVE = "https://archive-api.open-meteo.com/v1/archive"


class FeedSettings(BaseModel):
    """Symbols, places and manners of the source `feeds`. A series names its own symbol (`ticker`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    macro: dict[str, str] = Field(
        default_factory=dict,
        description="Macro column to symbol, such as vix: ^VIX, usd_brl: BRL=X; their closes go to macro.csv.",
    )
    regions: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="Weather region to latitude and longitude, such as Brazil: [-21.2, -45.4]."
    )
    refresh_minutes: float = Field(
        default=30.0, ge=0, le=1440, description="Minutes for which what was fetched is not asked for again."
    )
    revise_days: int = Field(
        default=15, ge=1, le=400, description="Days before the newest one that are fetched again, for revisions."
    )
    timeout_seconds: float = Field(default=20.0, gt=0, le=300, description="Longest wait for an answer.")
    attempts: int = Field(default=3, ge=1, le=10, description="Tries of a request before it is given up.")
    weather_url: str = Field(default=WEATHER_ARCHIVE, description="Daily weather API of Open-Meteo's form.")

    _address = field_validator("weather_url")(web_address)

    @field_validator("regions")
    @classmethod
    def _on_earth(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (latitude, longitude) in value.items():
            if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
                raise ValueError(f"{name}: latitude -90 to 90 and longitude -180 to 180, not {latitude}, {longitude}")
        return value
