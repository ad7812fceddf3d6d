"""A finding says in one line what is wrong and what to do, or how good it is."""

from __future__ import annotations

import pytest

from forecast_platform.host.finding import Finding


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding("Coffee"), "Coffee: good"),
        (Finding("Coffee", figures={"share_of_days": 0.123456, "last": "2018-01-02", "days": 12345}),
         "Coffee: good (share of days 0.1235, last 2018-01-02, days 12345)"),
        (Finding("mlflow", "good", "opens"), "mlflow: good"),
        (Finding("Coffee", "warning", "2 days are late", figures={"days": 2}), "Coffee: 2 days are late"),
        (Finding("Coffee", "error", "2 days are missing", "ingest them"), "Coffee: 2 days are missing; ingest them"),
    ],
)  # fmt: skip
def test_its_text_is_the_fault_with_its_mend_or_the_figures(finding: Finding, text: str) -> None:
    assert finding.text == text
    assert finding.passed == (finding.severity == "good")


def test_findings_that_say_the_same_are_one_key_whatever_figures_they_carry() -> None:
    kept = {Finding("Coffee", figures={"days": 2}): "two", Finding("Coffee", figures={"days": 3}): "three"}
    assert kept[Finding("Coffee", figures={"days": 2})] == "two"
    assert len(kept) == 2
