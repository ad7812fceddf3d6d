"""Training: the same curve after a kill, nothing lost on a full disk, and what is wrong stops it with the mend."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import torch

from forecast_platform.language import corpus as corpora
from forecast_platform.language.corpus import Corpus
from forecast_platform.language.errors import LanguageError
from forecast_platform.language.evaluation import evaluate
from forecast_platform.language.models import file_hash
from forecast_platform.language.schemas import TRAINING_METRICS
from forecast_platform.language.training import METRICS, prepared, train, without_gradient
from forecast_platform_tests.extras.language.conftest import sentences
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
    "training",
    [
        {"gradient_accumulation_steps": 3},
        {"gradient_checkpointing": True},
        {"packing": False},
        {"save_strategy": "epoch", "max_steps": -1, "num_epochs": 3, "per_device_train_batch_size": 16},
    ],
    ids=lambda training: next(iter(training)),
)
def test_a_run_that_met_a_full_disk_goes_on_to_the_same_curve_however_it_trains(
    world: Callable, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict
) -> None:
    from transformers import Trainer

    config, settings = world("whole", training={"max_steps": 8, **training})
    whole = train(config, corpus, settings)
    stopped, _ = world("stopped", training={"max_steps": 8, **training})
    saved, saves = Trainer._save_optimizer_and_scheduler, []

    def full(self, folder: str) -> None:
        saves.append(folder)
        if len(saves) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, folder)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(OSError, match="No space left"):
            train(stopped, corpus, settings)
    said: list[str] = []
    resumed = train(stopped, corpus, settings, say=said.append)
    assert any(text.startswith("going on from checkpoint-") for text in said)
    assert losses(resumed) == losses(whole)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_replay_keeps_more_than_half_of_what_is_forgotten_without(world: Callable, blank: Path, tmp_path: Path) -> None:
    """A base of one kind of sentence goes on learning another kind; figures of real text are language_proof.py's."""

    def general(seed: int) -> str:
        return sentences(seed, 10)

    def domain(seed: int) -> str:
        return " ".join(reversed(sentences(5000 + seed, 10).split()))

    known, unseen = [general(seed) for seed in range(60)], [general(1000 + seed) for seed in range(10)]
    fresh, held = [domain(seed) for seed in range(60)], [domain(1000 + seed) for seed in range(10)]
    whole = {"qlora": {"enabled": False}}
    learning = {"learning_rate": 3e-3, "per_device_train_batch_size": 8, "save_strategy": "no"}
    config, settings = world("base", training={**learning, "max_steps": 80}, **whole)
    train(config, Corpus(known, unseen, [], [], {}), settings)
    base = {"name": str(tmp_path / "base")}
    rise = {}
    for share, replay in ((0.0, []), (0.2, known[:15])):
        config, _ = world(f"r{share}", model=base, training={**learning, "max_steps": 60}, **whole)
        train(config, Corpus(fresh, held, replay, unseen, {}), settings)
        found = evaluate(tmp_path / f"r{share}", held, unseen)["general_perplexity"]
        rise[share] = found["cpt"]["perplexity"] / found["base"]["perplexity"] - 1
    assert rise[0.0] > 0.1, rise
    assert rise[0.2] < rise[0.0] / 2, rise


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
