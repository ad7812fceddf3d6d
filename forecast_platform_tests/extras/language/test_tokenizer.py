"""A base's tokenizer makes the tokens that its file says, whatever class transformers takes for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from forecast_platform.language.adapter import merge
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.models import load_base
from forecast_platform.language.servable import servable
from forecast_platform.language.tokenizer import load_tokenizer
from forecast_platform.language.training import train

pytestmark = pytest.mark.extra

ASKED = "the price raises demand in 2013. coffee meets rain in 1998."


@pytest.fixture
def qwen(blank: Path, tmp_path: Path) -> Path:
    """A Qwen2 of one layer, with a tokenizer that is not Qwen2's: it keeps numbers whole."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(blank))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=4, max_position_embeddings=128, **sizes, **ends)
    Qwen2ForCausalLM(config).save_pretrained(str(tmp_path / "qwen"))
    tokenizer.save_pretrained(str(tmp_path / "qwen"))
    return tmp_path / "qwen"


def ids(folder: Path, text: str = ASKED) -> list[int]:
    """The tokens of a text by a folder's tokenizer.json alone."""
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids


def test_a_tokenizer_of_its_own_beside_qwen2_is_read_as_its_file_says(world: Callable, qwen: Path) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(str(qwen))
    assert other(ASKED)["input_ids"] != ids(qwen), "transformers reads the file: load_tokenizer need not"
    config, _ = world(model={"name": str(qwen)})
    said: list[str] = []
    base = load_base(config, say=said.append)
    assert base.tokenizer(ASKED)["input_ids"] == ids(qwen)
    assert base.tokenizer.eos_token_id == other.eos_token_id
    assert any("Qwen2Tokenizer" in one and "the file's are used" in one for one in said)


def test_what_is_trained_and_served_of_it_makes_the_same_tokens(
    world: Callable, corpus: Corpus, qwen: Path, tmp_path: Path
) -> None:
    import mlflow.transformers

    config, settings = world(model={"name": str(qwen)}, training={"max_steps": 2})
    train(config, corpus, settings)
    merged = merge(Path(config.output.output_dir), say=lambda _: None)
    assert load_tokenizer(str(merged))[0](ASKED)["input_ids"] == ids(qwen)
    served = mlflow.transformers.load_model(str(servable(merged, tmp_path / "served", {"base_model": "qwen"})))
    assert served.tokenizer(ASKED, add_special_tokens=False)["input_ids"] == ids(qwen)


def test_where_transformers_makes_the_file_s_tokens_nothing_is_said(blank: Path, tmp_path: Path) -> None:
    tokenizer, said = load_tokenizer(str(blank))
    assert (tokenizer(ASKED)["input_ids"], said) == (ids(blank), [])
    # Qwen2's own rules of splitting, in a file of its own.
    from transformers import Qwen2Config, Qwen2Tokenizer

    own = Qwen2Tokenizer(vocab=tokenizer.get_vocab(), merges=_merges(blank), eos_token=tokenizer.eos_token)
    own.save_pretrained(str(tmp_path))
    Qwen2Config().save_pretrained(str(tmp_path))
    assert load_tokenizer(str(tmp_path))[1] == []
    shutil.copy(blank / "tokenizer.json", tmp_path / "tokenizer.json")
    assert len(load_tokenizer(str(tmp_path))[1]) == 1


def _merges(folder: Path) -> list[tuple[str, str]]:
    import json

    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    return [tuple(pair) for pair in model["merges"]]
