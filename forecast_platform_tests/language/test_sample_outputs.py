"""sample_outputs/ are files of a real run, by the schemas that others read."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from forecast_platform.language.perplexity import verdict
from forecast_platform.language.schemas import EVALUATION_RESULTS, RECOMMENDATION, TRAINING_METRICS

FOLDER = Path(__file__).resolve().parents[2] / "sample_outputs"


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("training_metrics.json", TRAINING_METRICS),
        ("evaluation_results.json", EVALUATION_RESULTS),
        ("recommendation.json", RECOMMENDATION),
    ],
)
def test_each_has_its_schema_s_form_and_names_no_machine_s_folder(name: str, schema: dict) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), schema)
    assert "/tmp" not in text


def test_they_are_of_one_run() -> None:
    metrics, results, answer = (
        json.loads((FOLDER / f"{name}.json").read_text())
        for name in ("training_metrics", "evaluation_results", "recommendation")
    )
    domain = results["domain_perplexity"]
    assert results["summary"]["verdict"] == verdict(domain["improvement_percent"])
    [model] = answer["models_evaluated"]
    assert model["run_id"] == metrics["run_id"]
    assert model["metrics"]["domain_perplexity"] == domain["cpt"]["perplexity"]


@pytest.mark.parametrize("schema", [TRAINING_METRICS, EVALUATION_RESULTS, RECOMMENDATION])
def test_a_file_that_lacks_a_key_has_not_the_form(schema: dict) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema)
