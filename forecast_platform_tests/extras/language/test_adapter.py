"""What training leaves: whole, of its own base and tokenizer, and measured on what it never saw."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from forecast_platform.language import adapter
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.evaluation import evaluate
from forecast_platform.language.generation import KeptWriter, writer_of
from forecast_platform.language.sample import blank_model
from forecast_platform.language.schemas import EVALUATION_RESULTS
from forecast_platform.language.training import train
from forecast_platform_tests.extras.language.conftest import sentences

pytestmark = pytest.mark.extra


@pytest.fixture
def trained(world: Callable, corpus: Corpus) -> Path:
    config, settings = world(training={"max_steps": 6, "learning_rate": 0.01}, output={"merged_export": True})
    train(config, corpus, settings)
    return Path(config.output.output_dir)


def test_a_trained_folder_is_measured_merged_and_refused_where_it_is_not_whole(
    trained: Path, corpus: Corpus, blank: Path, tmp_path: Path
) -> None:
    results = evaluate(trained, corpus.val, [sentences(900 + seed) for seed in range(4)])
    jsonschema.validate(results, EVALUATION_RESULTS)
    assert results["domain_perplexity"]["improvement_percent"] > 0
    assert results["domain_perplexity"]["base"]["num_samples"] == len(corpus.val)
    again = evaluate(trained, corpus.val)
    assert again["generation_comparisons"] == results["generation_comparisons"]
    assert again["domain_perplexity"] == results["domain_perplexity"]
    assert "general_perplexity" not in again

    about = adapter.described(trained)
    assert about["base_model"] == str(blank)
    assert about["base_revision"].startswith("sha256:")
    with pytest.raises(LanguageError, match=r"1 of 2 documents were trained on, the first is document 2"):
        evaluate(trained, [corpus.val[0], corpus.train[3]])

    import torch
    from transformers import AutoModelForCausalLM

    merged = AutoModelForCausalLM.from_pretrained(str(trained.parent / f"{trained.name}-merged"))
    base = adapter.base_of(trained, say=lambda text: None)
    ids = torch.arange(20)[None] + 5
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, adapter.tuned(trained, base)(ids).logits, atol=1e-4)

    writer = KeptWriter(trained)
    words = writer("coffee raises")
    assert words == writer("coffee raises") == writer_of(trained)("coffee raises")

    weights = trained / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(LanguageError, match=r"adapter_model\.safetensors: cut short or changed"):
        evaluate(trained, corpus.val)
    assert writer("coffee raises") == words, "what was loaded is kept"
    with pytest.raises(LanguageError, match="cut short or changed"):
        KeptWriter(trained)("coffee raises")


def test_an_adapter_of_another_base_or_tokenizer_is_refused_by_name(
    trained: Path, corpus: Corpus, blank: Path, tmp_path: Path
) -> None:
    other = blank_model(tmp_path / "other", [sentences(seed) for seed in range(5)], width=16, context=128)
    with pytest.raises(LanguageError, match=rf"an adapter of {blank} at sha256:.*; {other} is at sha256:"):
        evaluate(trained, corpus.val, base_model=str(other))
    mixed = tmp_path / "mixed"
    shutil.copytree(blank, mixed)
    shutil.copy(other / "tokenizer.json", mixed / "tokenizer.json")
    with pytest.raises(LanguageError, match=r"trained with a tokenizer .*put the one back"):
        evaluate(trained, corpus.val, base_model=str(mixed))
    moved = tmp_path / "moved"
    shutil.copytree(blank, moved)
    assert adapter.base_of(trained, str(moved), lambda text: None).name == str(moved)
    with pytest.raises(LanguageError, match="no such folder: train it first"):
        adapter.described(tmp_path / "none")
