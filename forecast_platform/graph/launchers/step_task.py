"""What compute=databricks runs on the cluster: the step launcher's own main program, without secrets in what it tells.

The launcher uploads this file as the task's program, in the place of its library's.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

from forecast_platform.host.redaction import Hide, hidden, hidden_in, hide

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry


def event_without(event: EventLogEntry, without: Callable[[str], str] | None = None) -> EventLogEntry:
    """An event whose texts have gone through `without` (this moment's secrets where None); the event itself where that
    changes none."""
    from dagster._core.events.log import EventLogEntry
    from dagster._serdes import deserialize_value, serialize_value

    told = json.loads(serialize_value(event))
    kept = hidden_in(told, without or Hide())
    return event if kept == told else deserialize_value(json.dumps(kept), EventLogEntry)


def main(arguments: list[str], dbutils: Any, sc: Any) -> None:
    """Run the step that the paths in `arguments` describe; `dbutils` and `sc` are those of the task's program.

    Raises SecretShownError in the place of an error that shows a secret, RuntimeError where the cluster has other code:
    what the launcher ships comes behind what is installed.
    """
    from dagster_databricks import databricks_step_main as library

    from forecast_platform.clients.databricks.deploy import SOURCE_VARIABLE, other_code

    instance_of = library.external_instance_from_step_run_ref

    def instance_without_secrets(step_run_ref: Any, event_listener_fn: Callable[[EventLogEntry], object]) -> Any:
        # The library has set the step's variables by now, and has not begun the step.
        if refused := other_code(os.environ.get(SOURCE_VARIABLE)):
            raise RuntimeError(refused)
        return instance_of(step_run_ref, lambda event: event_listener_fn(event_without(event)))

    # The library's program takes dbutils and sc, which Databricks gives to the program that it runs, from its globals.
    vars(library).update(
        dbutils=dbutils, sc=sc, StringIO=_Output, external_instance_from_step_run_ref=instance_without_secrets
    )
    with hidden():
        library.main(*arguments)


class _Output(StringIO):
    """What the step prints: the library keeps it in a file, which is read back."""

    def write(self, text: str) -> int:
        super().write(hide(text))
        return len(text)


if __name__ == "__main__":
    main(sys.argv[1:], dbutils, sc)  # type: ignore[name-defined]  # noqa: F821
