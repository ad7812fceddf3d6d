"""Variables of a task's process: a new cluster has them from its specification, other places from the parameters."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from forecast_platform.host.redaction import SECRETS
from forecast_platform.settings.databricks import DatabricksOptions


def parameters_of(options: DatabricksOptions) -> dict[str, str]:
    """The parameters that `provide` reads: where secrets are kept, never what they are."""
    secrets = ",".join(f"{name}={secret}" for name, secret in options.secrets.items())
    environment = json.dumps(options.environment) if options.environment else ""
    return {name: text for name, text in (("secrets", secrets), ("environment", environment)) if text}


def secret_names(options: DatabricksOptions) -> dict[str, str]:
    """The variable that names those that hold secrets; none where there are none."""
    return {SECRETS: ",".join(options.secrets)} if options.secrets else {}


def provide(given: Mapping[str, str]) -> None:
    """Set those variables that this process lacks, and the one that names those that hold secrets.

    Raises ValueError, with the mend, where a parameter cannot be understood or a secret cannot be read.
    """
    environment, secrets = _environment(given.get("environment", "")), _secrets(given.get("secrets", ""))
    for name, value in environment.items():
        os.environ.setdefault(name, value)
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
    known = {*os.environ.get(SECRETS, "").split(","), *secrets} - {""}
    if known:
        os.environ[SECRETS] = ",".join(sorted(known))


def _environment(text: str) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        # Not shown: somebody may have put a secret there.
        raise ValueError('environment: variables as JSON, such as {"NAME": "text"}')
    return found


def _secrets(text: str) -> dict[str, str]:
    items = [item for item in re.split(r"[,\s]+", text) if item]
    for position, item in enumerate(items, start=1):
        if not re.fullmatch(r"\w+=[^/=]+/[^/=]+", item):
            raise ValueError(f"secrets, item {position}: NAME=scope/key, separated by commas or spaces")
    return dict(item.split("=", 1) for item in items)
