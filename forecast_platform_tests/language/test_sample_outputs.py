"""sample_outputs/: what a real small run left, made by
`.venv-language/bin/python -m forecast_platform.language.sample sample_outputs` (docs/language.md), not by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from forecast_platform.language.metrics_file import mean_loss
from forecast_platform.language.perplexity import general_verdict, verdict
from forecast_platform.language.schemas import EVALUATION_RESULTS, RECOMMENDATION, TRAINING_METRICS

SAMPLES = Path(__file__).resolve().parents[2] / "sample_outputs"
FILES = {
    "training_metrics.json": TRAINING_METRICS,
    "evaluation_results.json": EVALUATION_RESULTS,
    "recommendation.json": RECOMMENDATION,
}


def sample(name: str) -> dict:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_it_has_the_form_that_a_front_end_reads(name: str) -> None:
    jsonschema.validate(sample(name), FILES[name])
    assert {path.name for path in SAMPLES.iterdir()} == set(FILES)
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 50_000


def test_its_figures_are_of_one_run_and_follow_from_one_another() -> None:
    metrics, results, answer = map(sample, FILES)
    final, domain = metrics["final_metrics"], results["domain_perplexity"]
    assert metrics["model_name"] == results["base_model"]
    assert metrics["artifacts"]["model_path"] == results["cpt_model"]
    assert final["train_loss"] == pytest.approx(mean_loss(metrics["training_log"]))
    assert final["total_steps"] == metrics["training_log"][-1]["step"]
    for one in (domain["base"], domain["cpt"]):
        assert one["perplexity"] == pytest.approx(math.exp(one["avg_loss"]))
        assert one["interval"][0] < one["perplexity"] < one["interval"][1]
    assert domain["cpt"]["perplexity"] == pytest.approx(final["eval_perplexity"], rel=1e-3)
    assert domain["improvement_percent"] == pytest.approx(
        100 * (1 - domain["cpt"]["perplexity"] / domain["base"]["perplexity"])
    )
    assert results["summary"]["verdict"] == verdict(domain["improvement_percent"])
    assert results["summary"]["general_verdict"] == general_verdict(
        results["general_perplexity"]["improvement_percent"]
    )
    [model] = answer["models_evaluated"]
    assert model["run_id"] == metrics["run_id"]
    assert model["metrics"]["domain_perplexity"] == pytest.approx(domain["cpt"]["perplexity"])
    assert f"Use **{model['name']}** version {model['version']}" in answer["recommendation"]


def test_it_says_nothing_of_the_machine_that_it_was_made_on() -> None:
    text = "".join((SAMPLES / name).read_text(encoding="utf-8") for name in FILES)
    assert not {"/tmp", "/root", "/home", "/var"} & {text[at : at + 5] for at in range(len(text))}
