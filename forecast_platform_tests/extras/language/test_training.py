"""Training: the same curve after a kill, nothing lost on a full disk, and what is wrong stops it with the mend."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import torch

from forecast_platform.language import corpus as corpora
from forecast_platform.language import models
from forecast_platform.language.config import QloraPart
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.models import file_hash, load_base, lora_targets
from forecast_platform.language.schemas import TRAINING_METRICS
from forecast_platform.language.training import METRICS, prepared, train, without_gradient
from forecast_platform_tests.waiting import PATIENCE

pytestmark = pytest.mark.extra

_CHILD = """
import json, sys, time
from pathlib import Path
from forecast_platform.language import corpus
from forecast_platform.language.config import parse
from forecast_platform.language.training import train
from forecast_platform.settings import Settings
config = parse(json.loads(Path(sys.argv[1]).read_text()))
train(config, corpus.read(Path(sys.argv[2])), Settings(warehouse=Path(sys.argv[3])),
      progress=lambda done, total, what: time.sleep(0.3))
"""


def weights(folder: Path) -> str:
    return file_hash(folder / "adapter_model.safetensors")


def losses(found: dict) -> list[tuple]:
    return [(line["step"], line["train_loss"], line.get("eval_loss")) for line in found["training_log"]]


def test_a_killed_run_goes_on_to_the_same_curve_and_weights(world: Callable, corpus: Corpus, tmp_path: Path) -> None:
    config, settings = world("whole")
    whole = train(config, corpus, settings)
    jsonschema.validate(whole, TRAINING_METRICS)
    assert whole["final_metrics"]["total_steps"] == 12
    assert whole["artifacts"]["checkpoints"] == ["checkpoint-12", "checkpoint-4", "checkpoint-8"]

    killed, _ = world("killed")
    (tmp_path / "config.json").write_text(json.dumps(killed.plain()))
    corpora.write(corpus, tmp_path / "corpus")
    arguments = [str(tmp_path / "config.json"), str(tmp_path / "corpus"), str(tmp_path / "warehouse")]
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", _CHILD, *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 2 * PATIENCE
    while not list((tmp_path / "killed").glob("checkpoints/*/checkpoint-4/files.json")):
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "killed" / METRICS).exists()
    said: list[str] = []
    resumed = train(killed, corpus, settings, say=said.append)
    assert any(text.startswith("going on from checkpoint-") for text in said)
    assert losses(resumed) == losses(whole)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")

    said.clear()
    assert train(killed, corpus, settings, say=said.append) == resumed
    assert "trained already" in said[-1]


def test_a_full_disk_keeps_the_checkpoint_before_and_a_torn_one_is_left_out(
    world: Callable, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    config, settings = world(training={"save_total_limit": 1})
    saved = Trainer._save_optimizer_and_scheduler

    def full(self, folder: str) -> None:
        if self.state.global_step == 8:
            Path(folder, "optimizer.pt").write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, folder)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(OSError, match="No space left"):
            train(config, corpus, settings)
    [run] = (tmp_path / "out" / "checkpoints").iterdir()
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-8"}
    said: list[str] = []
    found = train(config, corpus, settings, say=said.append)
    assert "going on from checkpoint-4" in said
    assert any("checkpoint-8: no files.json" in text for text in said)
    assert found["artifacts"]["checkpoints"] == ["checkpoint-12"]


@pytest.mark.parametrize(
    "training", [{"lr_scheduler_type": "constant"}, {"early_stopping_patience": 2, "save_steps": 2}]
)
def test_a_run_that_was_stopped_after_its_last_step_takes_no_step_more(
    world: Callable, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict
) -> None:
    from forecast_platform.language import adapter

    # So low that nothing is learnt: stopped early.
    training = {"max_steps": 12, "learning_rate": 1e-12 if "save_steps" in training else 0.005, **training}
    config, settings = world("whole", training=training)
    whole = train(config, corpus, settings)
    stopped, _ = world("stopped", training=training)
    with monkeypatch.context() as patched:

        def full(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(adapter, "save", full)
        with pytest.raises(OSError, match="No space left"):
            train(stopped, corpus, settings)
    resumed = train(stopped, corpus, settings)
    assert losses(resumed) == losses(whole)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    steps = whole["final_metrics"]["total_steps"]
    assert resumed["final_metrics"] == whole["final_metrics"]
    assert steps == (6 if "save_steps" in training else 12)


def test_a_loss_that_is_no_number_stops_with_step_batch_and_mend(
    world: Callable, corpus: Corpus, blank: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(blank))
    model.lm_head.weight.data[5] = float("nan")
    model.save_pretrained(str(tmp_path / "broken"))
    AutoTokenizer.from_pretrained(str(blank)).save_pretrained(str(tmp_path / "broken"))
    config, settings = world(model={"name": str(tmp_path / "broken")})
    with pytest.raises(
        LanguageError, match=r"loss is nan at step 1, in the batch of rows \[.*lower training\.learning_rate"
    ):
        train(config, corpus, settings)


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
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, own=own: own or including_emulation)
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
    with pytest.raises(LanguageError, match=r"torn/model\.safetensors: cut short or changed .*take a copy that is whole"):
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


def test_a_hub_that_is_not_reached_is_told_within_seconds(world: Callable, corpus: Corpus) -> None:
    from forecast_platform.language.models import located

    began = time.monotonic()
    with pytest.raises(LanguageError, match="the hub cannot be reached from here: put it in a folder"):
        located("nobody/no-such-model")
    assert time.monotonic() - began < 10 * PATIENCE / 60


def test_four_bits_train_on_this_machine_also_after_an_evaluation(world: Callable, corpus: Corpus) -> None:
    pytest.importorskip("bitsandbytes")
    config, settings = world(qlora={"load_in_4bit": True}, training={"learning_rate": 5e-3, "max_steps": 30})
    found = train(config, corpus, settings)
    assert found["params"]["quantization"] in ("4bit-nf4", "float32")
    log = [line["train_loss"] for line in found["training_log"] if line["train_loss"] is not None]
    assert sum(log[-5:]) / 5 < sum(log[:5]) / 5 - 0.1
    evaluated = [line["eval_loss"] for line in found["training_log"] if "eval_loss" in line]
    assert evaluated[-1] < evaluated[0]


def test_a_weight_that_no_gradient_reaches_is_found(world: Callable) -> None:
    config, _ = world()
    model = prepared(config).model
    assert without_gradient(model) == []
    model.base_model.model.model.layers[0].register_forward_hook(
        lambda module, given, found: (
            tuple(one.detach() for one in found) if isinstance(found, tuple) else found.detach()
        )
    )
    lacking = without_gradient(model)
    assert lacking
    assert all("layers.0" in name for name in lacking)


def test_early_stopping_ends_a_run_that_no_longer_improves(world: Callable, corpus: Corpus) -> None:
    config, settings = world(
        training={"early_stopping_patience": 1, "learning_rate": 1e-12, "max_steps": 40, "save_steps": 2}
    )
    found = train(config, corpus, settings)
    assert found["final_metrics"]["total_steps"] == 4


def test_the_run_is_in_mlflow_with_its_figures_and_a_registered_model(
    world: Callable, corpus: Corpus, tmp_path: Path
) -> None:
    from forecast_platform.language.registry import candidates
    from forecast_platform.pipeline.tracking import Tracker

    config, settings = world(output={"report_to": "mlflow"}, training={"max_steps": 4})
    seen: list[tuple[int, int]] = []
    found = train(config, corpus, settings, progress=lambda done, total, what: seen.append((done, total)))
    assert seen == [(step, 4) for step in range(1, 5)]
    client = Tracker(settings).client
    run = client.get_run(found["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["lora_r"] == "4"
    history = client.get_metric_history(found["run_id"], "loss")
    assert [one.step for one in history] == [1, 2, 3, 4]
    assert {"tokens_per_second", "memory_gb", "learning_rate", "eval_loss"} <= set(run.data.metrics)
    [candidate], _ = candidates(client)
    assert candidate.name.startswith("cpt-blank")
    assert any(one.startswith("tokenizer_sha256") for one in candidate.lineage)
    assert torch.is_grad_enabled()


def test_a_tied_head_follows_an_embedding_that_is_trained_whole(world: Callable, blank: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(blank), tie_word_embeddings=True)
    model.tie_weights()
    model.save_pretrained(str(tmp_path / "tied"))
    AutoTokenizer.from_pretrained(str(blank)).save_pretrained(str(tmp_path / "tied"))
    config, _ = world(model={"name": str(tmp_path / "tied")}, qlora={"modules_to_save": ["embed_tokens"]})
    trained = prepared(config).model
    inputs = trained.base_model.model.get_input_embeddings()
    outputs = trained.base_model.model.get_output_embeddings()
    weights = [next(one for one in layer.parameters() if one.requires_grad) for layer in (inputs, outputs)]
    assert weights[0].data_ptr() == weights[1].data_ptr()
