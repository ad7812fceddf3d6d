"""What can be set of the language model whose words go with a recommendation."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from forecast_platform.settings import values
from forecast_platform.settings.parts import web_address

_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class LanguageSettings(BaseModel):
    """Whose words go with a recommendation, where a ranking alone is not enough (docs/language.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: Path | None = Field(
        default=None,
        description="Folder of the trained model whose words go with the API's recommendations; where unset the "
        "ranking answers alone.",
    )
    endpoint: str | None = Field(
        default=None,
        description="Serving endpoint that is asked for the words instead of loading a model: its name in the "
        "Databricks workspace, or an address that takes OpenAI's completions, such as https://HOST/v1/completions.",
    )
    endpoint_token: SecretStr | None = Field(
        default=None, description="Bearer token of an endpoint that is an address; a workspace's needs none."
    )
    endpoint_seconds: float = Field(
        default=60.0, gt=0, le=600, description="How long the endpoint may take; then the ranking answers alone."
    )

    _folder = field_validator("model", mode="before")(values.folder)
    _here = field_validator("model")(values.at_home)

    @field_validator("endpoint")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            if urlsplit(value).username is not None:
                raise ValueError("an address without name and password: a token is endpoint_token's")
            return web_address(value)
        if value is not None and not _ENDPOINT.fullmatch(value):
            raise ValueError(f"{value!r}: an endpoint's name in the workspace, or an address with http:// or https://")
        return value
