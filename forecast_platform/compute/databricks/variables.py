"""Variables of a task's process: a new cluster has them from its specification, other places from the parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from forecast_platform.settings_databricks import DatabricksOptions

SECRETS = "SECRET_VARIABLES"
"""The variable of new clusters that names those that hold secrets."""

_SHORTEST = 4
"""Characters from which a secret's value is taken out of texts: shorter ones are parts of words."""


def parameters_of(options: DatabricksOptions) -> dict[str, str]:
    """The parameters that `provide` reads: where secrets are kept, never what they are."""
    secrets = ",".join(f"{name}={secret}" for name, secret in options.secrets.items())
    environment = json.dumps(options.environment) if options.environment else ""
    return {name: text for name, text in (("secrets", secrets), ("environment", environment)) if text}


def provide(given: Mapping[str, str]) -> list[str]:
    """Set those variables that this process lacks; returns the names of those that hold secrets.

    Raises ValueError, with the mend, where a secret cannot be read.
    """
    for name, value in json.loads(given.get("environment") or "{}").items():
        os.environ.setdefault(name, value)
    secrets = dict(item.split("=", 1) for item in given.get("secrets", "").split(",") if item)
    lacking = {name: secret for name, secret in secrets.items() if name not in os.environ}
    if lacking:
        from databricks.sdk import WorkspaceClient

        kept = WorkspaceClient().dbutils.secrets
        for name, secret in lacking.items():
            scope, _, key = secret.partition("/")
            try:
                os.environ[name] = kept.get(scope, key)
            except Exception as error:  # noqa: BLE001  # dbutils raises what the JVM raised
                raise ValueError(
                    f"databricks.secrets: {name} cannot be read from {secret}: {error}\nput it there, and give the "
                    "account that runs this READ on the scope"
                ) from None
    return list(secrets)


class Hide:
    """Takes the values of the environment's secrets, and of these variables, out of texts."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        always = ["DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", *os.environ.get(SECRETS, "").split(",")]
        values = {os.environ.get(name, "") for name in (*names, *always) if name}
        self._values = sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` without the values, also where it is JSON."""
        for value in self._values:
            text = text.replace(value, "***").replace(json.dumps(value)[1:-1], "***")
        return text
