"""The base: how it is loaded on what there is, and what is refused before any training."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from forecast_platform.language import models, tables
from forecast_platform.language.config import QloraPart
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.models import load_base, lora_targets
from forecast_platform.language.training import prepared, train
from forecast_platform_tests.waiting import PATIENCE

pytestmark = pytest.mark.extra


def test_usual_names_on_fused_projections_adapt_all_and_unknown_ones_are_refused(
    world: Callable, tmp_path: Path, blank: Path
) -> None:
    from transformers import AutoTokenizer, Phi3Config, Phi3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(blank))
    Phi3ForCausalLM(
        Phi3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=128,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).save_pretrained(str(tmp_path / "fused"))
    tokenizer.save_pretrained(str(tmp_path / "fused"))
    usual = ["q_proj", "k_proj", "v_proj", "o_proj"]
    config, _ = world(model={"name": str(tmp_path / "fused")}, qlora={"target_modules": usual})
    said: list[str] = []
    made = prepared(config, said.append)
    assert any("q_proj, k_proj, v_proj are not in this model" in text for text in said)
    assert sum("lora_A" in name for name, _ in made.model.named_parameters()) == 4
    with pytest.raises(LanguageError, match=r"no linear module 'o_prj' in this model, perhaps o_proj"):
        lora_targets(("o_prj",), ["down_proj", "o_proj"])


def test_a_context_longer_than_the_model_s_and_a_base_that_is_not_there_are_refused(
    world: Callable, corpus: Corpus, tmp_path: Path
) -> None:
    config, settings = world(training={"max_seq_length": 129})
    with pytest.raises(LanguageError, match=r"max_seq_length = 129: .* reads at most 128"):
        train(config, corpus, settings)
    config, settings = world(model={"name": str(tmp_path / "nowhere")})
    with pytest.raises(LanguageError, match="no such folder"):
        train(config, corpus, settings)
    (tmp_path / "empty").mkdir()
    config, settings = world(model={"name": str(tmp_path / "empty")})
    with pytest.raises(LanguageError, match=r"no \.safetensors in it"):
        train(config, corpus, settings)


def test_packed_rows_in_batches_go_without_flash_attention_which_would_mix_their_documents(
    blank: Path, world: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM
    from transformers.modeling_flash_attention_utils import _is_packed_sequence

    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]])
    assert _is_packed_sequence(positions[:1], 1)
    assert not _is_packed_sequence(positions, 2), "it now tells documents apart: batches may have FlashAttention"

    asked: list[str] = []
    whole = AutoModelForCausalLM.from_pretrained

    def loading(folder: str, attn_implementation: str, device_map: object, **options: object) -> object:
        asked.append(attn_implementation)
        return whole(folder, attn_implementation="sdpa", **{**options, "dtype": torch.float32})

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", loading)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    for training, implementation in (
        ({"per_device_train_batch_size": 2}, "sdpa"),
        ({"per_device_train_batch_size": 1}, "flash_attention_2"),
        ({"per_device_train_batch_size": 2, "packing": False}, "flash_attention_2"),
    ):
        config, _ = world(training=training, model={"name": str(blank), "use_flash_attention": True})
        base = load_base(config, quantised=False)
        assert asked.pop() == implementation
        assert any("one row a pass only" in note for note in base.notes) == (implementation == "sdpa")


def test_a_gpu_that_only_emulates_bfloat16_computes_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for own in (False, True):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, own=own: own or including_emulation
        )
        half = torch.bfloat16 if own else torch.float16
        assert models.precision(bf16=True) is half
        assert models._four_bits(QloraPart()).bnb_4bit_compute_dtype is half
        asked = QloraPart(bnb_4bit_compute_dtype="float32")
        assert models._four_bits(asked).bnb_4bit_compute_dtype is torch.float32


def test_a_base_whose_weights_are_cut_short_is_refused_by_the_file(
    world: Callable, corpus: Corpus, blank: Path, tmp_path: Path
) -> None:
    shutil.copytree(blank, tmp_path / "torn")
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    config, settings = world(model={"name": str(tmp_path / "torn")})
    with pytest.raises(
        LanguageError, match=r"torn/model\.safetensors: cut short or changed .*take a copy that is whole"
    ):
        train(config, corpus, settings)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_hub_that_is_away_or_whose_name_hangs_is_told_within_seconds(
    monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    from huggingface_hub import constants

    over = threading.Event()

    def connect(*arguments: object, **named: object) -> None:
        if hangs:
            over.wait(PATIENCE)
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(models, "HUB_SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", connect)
    began = time.monotonic()
    with pytest.raises(LanguageError, match="the hub cannot be reached from here"):
        models.require_hub("base model 'a/b'")
    assert time.monotonic() - began < PATIENCE / 2
    over.set()


def test_a_hub_s_data_set_is_read_by_its_own_column_and_a_stream_that_breaks_off_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datasets

    def broken() -> Iterator[dict]:
        yield {"text": "one"}
        raise ConnectionError("Server Disconnected")

    found = {
        "org/usual": datasets.Dataset.from_dict({"id": [1, 2], "text": ["one", "two"]}).to_iterable_dataset(),
        "org/odd": datasets.Dataset.from_dict({"id": [1], "words": ["one"]}).to_iterable_dataset(),
        "org/none": [],
        "org/broken": broken(),
    }
    monkeypatch.setattr(tables, "require_hub", lambda what: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split, streaming: found[name])
    assert list(tables.general_text("org/usual", "body", 9)) == ["one", "two"]
    assert list(tables.general_text("org/odd", "words", 9)) == ["one"]
    for name, told in (
        ("org/odd", r"'org/odd': neither a column 'body' \(data\.text_column\) nor 'text', but id, words"),
        ("org/none", "'org/none': no rows in it"),
        ("org/broken", r"'org/broken': the hub's stream broke off \(Server Disconnected\)"),
    ):
        with pytest.raises(LanguageError, match=told):
            list(tables.general_text(name, "body", 9))


def test_a_hub_that_is_not_reached_is_told_within_seconds(world: Callable, corpus: Corpus) -> None:
    from forecast_platform.language.models import located

    began = time.monotonic()
    with pytest.raises(LanguageError, match="the hub cannot be reached from here: put it in a folder"):
        located("nobody/no-such-model")
    assert time.monotonic() - began < 10 * PATIENCE / 60
