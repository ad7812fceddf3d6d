"""The bundle of the serving endpoint: what Databricks takes, of the model that training registers."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from databricks.sdk.service.serving import EndpointCoreConfigInput

from forecast_platform.language.config import Config
from forecast_platform.language.record import registered_name
from forecast_platform.settings import build
from forecast_platform.settings.language import LanguageSettings

BUNDLE = Path(__file__).resolve().parents[2] / "deploy" / "serving" / "databricks.yml"


def test_the_endpoint_serves_the_model_that_training_registers_under_the_name_of_the_setting(tmp_path: Path) -> None:
    found = yaml.safe_load(BUNDLE.read_text())
    variables = {name: one.get("default", "7") for name, one in found["variables"].items()}

    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        if isinstance(value, str):
            return re.sub(r"\$\{var\.(\w+)\}", lambda match: variables[match[1]], value)
        return value

    [endpoint] = found["resources"]["model_serving_endpoints"].values()
    endpoint = filled(endpoint)
    config = endpoint["config"]
    read = EndpointCoreConfigInput.from_dict(config)
    assert read.as_dict() == config, "a key that the service does not know is left out"
    [served] = read.served_entities
    settings = build(warehouse=tmp_path, mlflow_tracking_uri="databricks")
    assert served.entity_name == registered_name(settings, Config().model.name)
    assert read.traffic_config.routes[0].served_model_name == served.name
    assert served.scale_to_zero_enabled
    assert LanguageSettings(endpoint=endpoint["name"]).endpoint == "forecast-language"
    assert "default" not in found["variables"]["version"], "which version is served is somebody's decision"
