"""Pretraining: a YAML file that names documents and a base model becomes the assets of continual pretraining."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dagster import Component, ComponentLoadContext, Definitions, Model, Resolvable
from pydantic import Field, field_validator

from forecast_platform.graph.assets.language import Pretrained, language_definitions
from forecast_platform.language.config import Config, parse, read_config


class Pretraining(Component, Model, Resolvable):
    """Documents to an adapter, its evaluation and a recommendation: assets language/<name>/..., one group, one job."""

    name: str = Field(description="Name in the assets' keys: letters, digits and underscores.")
    config: str | None = Field(default=None, description="A cpt_config.yaml, relative to this file.")
    configuration: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Blocks of cpt_config.yaml, in place of the file's keys or beside them."
    )
    task: str = Field(default="Forecast prices", description="What the recommendation is asked for.")
    criteria: str | None = Field(default=None, description="Its criteria, such as `crps < 5, lowest mape`.")
    grown_by: float = Field(default=0.2, gt=0, description="Share of growth at which the sensor asks for a run.")

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", value):
            raise ValueError("letters, digits and underscores, at most 41, a letter first")
        return value

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """The definitions. A configuration that is none fails the step that reads it, with its message: raised here, it
        would empty the whole code location."""
        folder = Path(context.path)
        return language_definitions(
            Pretrained(self.name, lambda: self.read(folder), self.task, self.criteria, self.grown_by)
        )

    def read(self, folder: Path) -> Config:
        """The configuration: the file's keys with this component's in their place.

        Raises LanguageError where the file cannot be read or a key does not fit.
        """
        found: dict[str, Any] = {}
        if self.config is not None:
            found = read_config(folder / self.config).plain()
        for block, values in self.configuration.items():
            found[block] = {**found.get(block, {}), **values}
        return parse(found, f"component {self.name}")
