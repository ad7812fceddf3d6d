"""The commands from documents to a recommendation, one after the other as a script calls them."""

from __future__ import annotations

import contextlib
import errno
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from forecast_platform.cli.language import DEMO
from forecast_platform.cli.main import FAILED, OK, main
from forecast_platform.language import adapter
from forecast_platform.language.schemas import EVALUATION_RESULTS, RECOMMENDATION, TRAINING_METRICS
from forecast_platform.settings import load
from forecast_platform_tests.extras.language.conftest import sentences

pytestmark = pytest.mark.extra


def lines(path: Path, seeds: range, more: str = "") -> Path:
    path.write_text(more + "".join(json.dumps({"body": sentences(seed, 6 + seed % 9)}) + "\n" for seed in seeds))
    return path


def read(path: Path, schema: dict) -> dict:
    found = json.loads(path.read_text())
    found.pop("fingerprint", None)
    jsonschema.validate(found, schema)
    return dict(found)


def test_a_stopped_pretrain_goes_on_with_its_corpus_and_its_model_is_measured_and_recommended(
    blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.chdir(tmp_path)
    load.cache_clear()
    documents = lines(tmp_path / "documents.jsonl", range(40))
    config = {
        "model": {"name": str(blank)},
        "training": {"max_steps": 4, "per_device_train_batch_size": 2, "max_seq_length": 64, "save_steps": 2},
        "qlora": {"load_in_4bit": False, "lora_r": 4, "target_modules": ["all-linear"]},
        "data": {"train_file": str(documents), "val_file": None, "replay_dataset": None, "text_column": "body"},
        "output": {"output_dir": "out", "logging_steps": 1},
    }
    Path("cpt.yaml").write_text(yaml.safe_dump(config))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, contextlib.suppress(OSError):
        patched.setattr(adapter, "save", full)
        assert main(["pretrain", "--config", "cpt.yaml"]) == FAILED
    begun = json.loads(Path("out/corpus/corpus.json").read_text())["fingerprint"]
    lines(documents, range(50, 60), documents.read_text())
    capsys.readouterr()
    assert main(["pretrain", "--config", "cpt.yaml"]) == OK
    told = capsys.readouterr().out
    assert "an unfinished run goes on with the corpus that it began with: 38 documents, 2 held out" in told
    assert "going on from checkpoint-4" in told
    assert "4 steps, held-out perplexity" in told
    assert json.loads(Path("out/corpus/corpus.json").read_text())["fingerprint"] == begun
    metrics = read(Path("out/training_metrics.json"), TRAINING_METRICS)
    assert metrics["final_metrics"]["train_samples"] == 38

    lines(tmp_path / "unseen.jsonl", range(200, 205))
    command = ["perplexity", "--cpt-model", "out", "--base-model", str(blank), "--output", "results/r.json"]
    assert main([*command, "--eval-file", "unseen.jsonl"]) == OK
    results = read(Path("results/r.json"), EVALUATION_RESULTS)
    assert results["domain_perplexity"]["cpt"]["num_samples"] == 5
    assert results["summary"]["verdict"] in capsys.readouterr().out
    Path("odd.jsonl").write_text('{"words": "a"}\n')
    assert main([*command, "--eval-file", "odd.jsonl"]) == FAILED
    assert "odd.jsonl: no column 'body' (data.text_column)" in capsys.readouterr().err

    assert main(["recommend", "--demo", "--cpt-model", "out", "--output", "answers/recommendation.json"]) == OK
    names = ("recommendation.json", "recommendation-2.json", "recommendation-3.json")
    answers = [read(Path("answers") / name, RECOMMENDATION) for name in names]
    assert tuple(one["task"] for one in answers) == DEMO
    arguments = ["--task", "Our documents", "--criteria", "eval_loss < 100, lowest eval_loss", "--cpt-model", "none"]
    assert main(["recommend", *arguments, "--mlflow-uri", load().tracking_uri, "--output", "one.json"]) == OK
    one = read(Path("one.json"), RECOMMENDATION)
    assert one["models_evaluated"][0]["name"].startswith("cpt-blank")
    assert "eval_loss < 100: kept" in one["recommendation"]
    assert one["generated_by"] == "ranking (no language model)"
    # Done: the next run is of the documents that there are now.
    assert main(["pretrain", "--config", "cpt.yaml"]) == OK
    assert "unfinished" not in capsys.readouterr().out
    assert json.loads(Path("out/corpus/corpus.json").read_text())["fingerprint"] != begun
