"""What usually helps: the first cause that the error tells of, and nothing where none is known."""

from __future__ import annotations

import pytest

from forecast_platform.clients.databricks.error_remedies import suggest
from forecast_platform.remote import entry, parameters


def test_a_parameter_that_a_wheel_does_not_know_yet_asks_for_a_deploy_and_any_other_for_a_right_one() -> None:
    with pytest.raises(parameters.ParameterError) as raised:
        entry.run("infer", {"dates": "2018-01-01"})
    told = f"ParameterError: {raised.value}"
    assert suggest(told) == "a parameter is wrong: nothing was done; submit again with another one"
    for ours in ("source", "progress", "progress, source"):
        assert "`forecast-platform databricks deploy`" in suggest(told.replace("dates", ours))


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("INSUFFICIENT_INSTANCE_CAPACITY: no i3.xlarge in eu-west-1a", "raise the quota"),
        ("Run exceeded its limit: TIMEDOUT", "raise databricks.timeout_seconds"),
        ("java.lang.OutOfMemoryError: heap", "a larger driver_node_type"),
        ("ModuleNotFoundError: No module named 'holidays'", "add it to databricks.packages"),
        (
            "ParameterError: this cluster runs another forecast-platform (ab) than the one that was deployed (cd)",
            "restart it, then run this again",
        ),
        ("something that nobody has seen yet", ""),
    ],
)
def test_causes_have_their_mend(said: str, mend: str) -> None:
    assert mend in suggest(said)
    assert bool(suggest(said)) == bool(mend)
