"""The pages of continual pretraining: every figure of the files is on them, and nothing that was written by others
runs."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from forecast_platform.language import corpus as corpora
from forecast_platform.language.cleaning import Counts
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.pages import adapter_page, corpus_page, evaluation_page, recommendation_page
from forecast_platform.settings import Settings, build
from forecast_platform_tests.language.test_sample_outputs import sample

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return build(warehouse=tmp_path)


def text_of(settings: Settings, address: str) -> str:
    assert address.startswith(settings.reports_url)
    return html.unescape(re.sub(r"<[^>]+>", " ", (settings.reports / address.rpartition("/")[2]).read_text()))


def test_rows_and_parts_of_a_corpus_are_on_its_page(settings: Settings, tmp_path: Path) -> None:
    found = Corpus(["a" * 120, "b" * 120], ["c" * 130], [], [], {"train": Counts(9, 1, 2, 0, 3, 0, 3)})
    about = corpora.write(found, tmp_path / "corpus")
    packed = {"tokens": 1_234, "rows": 17, "filled_percent": 98.5}
    shown = text_of(settings, corpus_page(settings, "notes", about, packed))
    for figure in ("1,234", "17", "98.5 %", "240", "130", about["files"]["val"]["sha256"][:16]):
        assert figure in shown
    assert re.search(r"train\s+9\s+3\s+1\s+2\s+0\s+3\s+0", shown)


def test_the_curve_and_the_settings_of_a_training_are_on_its_page(settings: Settings) -> None:
    metrics = sample("training_metrics.json")
    address = adapter_page(settings, "notes", metrics)
    content = (settings.reports / address.rpartition("/")[2]).read_text()
    plot = json.loads(re.search(r'data-plot="loss">(.*?)</script>', content)[1])
    trained, held = plot["data"]
    assert trained["y"] == [line["train_loss"] for line in metrics["training_log"] if line["train_loss"] is not None]
    assert held["y"] == [line["eval_loss"] for line in metrics["training_log"] if "eval_loss" in line]
    assert f"{metrics['final_metrics']['eval_perplexity']:.2f}" in content


def test_both_perplexities_and_the_texts_are_on_the_evaluation_s_page(settings: Settings) -> None:
    results = sample("evaluation_results.json")
    results["generation_comparisons"][0]["cpt_response"] = EVIL
    shown = text_of(settings, evaluation_page(settings, "notes", results))
    for kind in ("domain_perplexity", "general_perplexity"):
        for which in ("base", "cpt"):
            low, high = results[kind][which]["interval"]
            assert f"{results[kind][which]['perplexity']:.2f} ({low:.2f} to {high:.2f})" in shown
    assert results["summary"]["verdict"] in shown
    assert results["summary"]["general_verdict"] in shown


def test_a_recommendation_s_page_has_its_text_and_every_candidate(settings: Settings) -> None:
    answer = sample("recommendation.json")
    address = recommendation_page(settings, "notes", answer)
    shown = text_of(settings, address)
    for heading in ("Recommendation", "Justification", "Acceptance Criteria", "Risks/Considerations"):
        assert heading in shown
    [model] = answer["models_evaluated"]
    assert f"{model['metrics']['domain_perplexity']:.6g}" in shown
    assert "not acceptable" not in shown.lower()
    refused = text_of(settings, recommendation_page(settings, "notes", {**answer, "acceptable": False}))
    assert "no candidate keeps every bound" in refused


def test_nothing_of_documents_or_the_registry_runs_in_a_page(settings: Settings) -> None:
    answer: dict[str, Any] = sample("recommendation.json")
    answer["task"] = answer["models_evaluated"][0]["name"] = EVIL
    answer["recommendation"] += f"\n- {EVIL} **{EVIL}**\n> {EVIL}"
    results = sample("evaluation_results.json")
    results["generation_comparisons"][0] = dict.fromkeys(results["generation_comparisons"][0], EVIL)
    results["base_model"] = EVIL
    for address in (recommendation_page(settings, "x", answer), evaluation_page(settings, "x", results)):
        content = (settings.reports / address.rpartition("/")[2]).read_text()
        assert EVIL not in content
        assert html.escape(EVIL) in content


def test_the_index_lists_the_pages_of_each_language_model(settings: Settings) -> None:
    recommendation_page(settings, "notes", sample("recommendation.json"))
    second = evaluation_page(settings, "notes", sample("evaluation_results.json"))
    index = (settings.reports / "index.html").read_text()
    assert "Language models" in index
    assert 'href="language_notes_recommendation.html"' in index
    assert 'href="language_notes_adapter.html"' not in index
    assert 'href="language_notes_recommendation.html"' in (settings.reports / second.rpartition("/")[2]).read_text()
