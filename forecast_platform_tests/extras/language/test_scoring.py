"""Losses of real models: known answers, and nothing leaks through padding, batches or packing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from forecast_platform.language import scoring
from forecast_platform.language.packing import pack, row
from forecast_platform.language.scoring import documents_of, losses
from forecast_platform.language.tokens import tokenise
from forecast_platform_tests.extras.language.conftest import sentences

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def model(blank: Path):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    found = AutoModelForCausalLM.from_pretrained(str(blank), attn_implementation="sdpa")
    for weight in found.parameters():
        # Wider than at the start, so that what is attended to changes what is predicted.
        weight.data += 0.2 * torch.randn_like(weight)
    return found.eval()


@pytest.fixture(scope="module")
def tokenizer(blank: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(blank))


def test_a_model_of_equal_logits_has_the_vocabulary_as_perplexity(blank: Path) -> None:
    from transformers import AutoModelForCausalLM

    found = AutoModelForCausalLM.from_pretrained(str(blank))
    found.lm_head.weight.data.zero_()
    documents = documents_of([np.arange(40) % 7, np.arange(300) % 11])
    assert losses(found, documents, 64).perplexity == pytest.approx(found.config.vocab_size, rel=1e-5)


class Bigrams(torch.nn.Module):
    """A model that knows the chances of a first-order chain."""

    def __init__(self, chances: np.ndarray) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(np.log(chances), dtype=torch.float32))

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits[input_ids])


def test_a_bigram_source_has_its_entropy() -> None:
    generator = np.random.default_rng(8)
    chances = generator.dirichlet(np.full(6, 0.7), 6)
    values, vectors = np.linalg.eig(chances.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    entropy = -(stationary[:, None] * chances * np.log(chances)).sum()
    documents = []
    for _ in range(20):
        chain = [int(generator.integers(6))]
        for _ in range(1500):
            chain.append(int(generator.choice(6, p=chances[chain[-1]])))
        documents.append(chain)
    found = losses(Bigrams(chances), documents_of(documents), 256)
    assert found.mean == pytest.approx(entropy, rel=0.02)
    assert found.predictions.tolist() == [1500] * 20


def test_no_batch_size_changes_a_document_s_loss(model, tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokenise([sentences(seed, 2 + seed) for seed in range(12)], tokenizer)
    together = losses(model, tokens, 64)
    monkeypatch.setattr(scoring, "TOKENS_A_PASS", 1)
    alone = losses(model, tokens, 64)
    assert np.allclose(together.nll, alone.nll, rtol=1e-4)
    assert np.array_equal(together.predictions, tokens.lengths - 1)


def _logits(model, found: dict) -> torch.Tensor:
    batch = {name: torch.from_numpy(found[name])[None] for name in ("input_ids", "position_ids")}
    with torch.no_grad():
        return model(**batch, use_cache=False).logits[0]


def test_a_changed_document_leaves_the_logits_of_its_neighbours(model) -> None:
    generator = np.random.default_rng(2)
    first, second = generator.integers(3, 200, 30), generator.integers(3, 200, 25)
    other = generator.integers(3, 200, 30)
    packed = pack([30, 25], 64)
    offsets = np.array([0, 30, 55])
    before = row(packed, 0, np.concatenate([first, second]).astype(np.int32), offsets, 64, 1)
    after = row(packed, 0, np.concatenate([other, second]).astype(np.int32), offsets, 64, 1)
    one, two = _logits(model, before), _logits(model, after)
    assert torch.equal(one[30:55], two[30:55])
    assert not torch.allclose(one[:30], two[:30])
    with torch.no_grad():
        alone = model(input_ids=torch.from_numpy(second)[None], use_cache=False).logits[0]
    assert torch.allclose(one[30:55], alone, atol=1e-4)


def test_the_loss_of_packed_rows_is_that_of_the_documents_and_ignores_padding(model, tokenizer) -> None:
    from forecast_platform.language.trainer import Rows, collated

    tokens = tokenise([sentences(seed, 2 + seed % 5) for seed in range(9)], tokenizer)
    short = documents_of([tokens.document(place)[:60] for place in range(9)])
    rows = Rows(pack(short.lengths, 64), short, pad=tokenizer.eos_token_id)
    batch = collated([rows[place] for place in range(len(rows))], tokenizer.eos_token_id)
    assert (batch["labels"] == -100).sum() > 9
    del batch["rows"]
    with torch.no_grad():
        packed = float(model(**batch, use_cache=False).loss)
    assert packed == pytest.approx(losses(model, short, 64).mean, rel=1e-4)


def test_each_document_ends_with_the_end_of_text(tokenizer) -> None:
    tokens = tokenise(["coffee raises sugar", "rain"], tokenizer)
    ends = [tokens.document(place)[-1] for place in range(2)]
    assert ends == [tokenizer.eos_token_id] * 2
    assert tokenizer.decode(tokens.document(0)[:-1]) == "coffee raises sugar"
