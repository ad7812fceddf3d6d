"""The commands of continual pretraining that need no torch: flags that existing scripts use, and their messages."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from forecast_platform.cli.main import FAILED, OK, main
from forecast_platform.settings import load
from forecast_platform_tests.language.test_corpus import document


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOST", "TOKEN", "CATALOG", "SCHEMA", "TABLE"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.chdir(tmp_path)
    load.cache_clear()
    return tmp_path / "warehouse"


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_prepare_writes_the_same_split_of_a_file_and_of_the_table_that_the_environment_names(
    tmp_path: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [document(seed) for seed in range(30)]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in rows))
    monkeypatch.setenv("TEXT_COLUMN", "body")
    assert (
        main(["prepare", "--source", "notes.jsonl", "--output-dir", "a", "--val-ratio", "0.1", "--limit", "20"]) == OK
    )
    assert "20 rows, 20 documents kept" in capsys.readouterr().out
    assert (len(texts(tmp_path / "a" / "train.jsonl")), len(texts(tmp_path / "a" / "val.jsonl"))) == (18, 2)

    write_deltalake(str(warehouse / "main" / "docs" / "notes"), pa.table({"body": rows[:20]}))
    for name, value in (("CATALOG", "main"), ("SCHEMA", "docs"), ("TABLE", "notes")):
        monkeypatch.setenv(f"DATABRICKS_{name}", value)
    assert main(["prepare", "--output-dir", "b", "--val-ratio", "0.1"]) == OK
    for name in ("train.jsonl", "val.jsonl"):
        assert texts(tmp_path / "b" / name) == texts(tmp_path / "a" / name)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["prepare"], "neither --source FILE nor the variable DATABRICKS_TABLE"),
        (["prepare", "--source", "none.jsonl"], "none.jsonl: no such file"),
        (["prepare", "--source", "x.jsonl", "--val-ratio", "2"], "data.val_ratio = 2.0"),
        (["prepare", "--source", "x.jsonl", "--limit", "-1"], "--limit -1: a number of rows from 1 on"),
        (["pretrain", "--config", "none.yaml"], "none.yaml': no such file"),
        (["recommend"], "say what the model is for (--task), or --demo"),
        (["recommend", "--task", "x", "--criteria", "nice"], "criteria: 'nice'"),
        (["recommend", "--task", "x", "--mlflow-uri", "sqlite:///none.db"], "no such file"),
        (["recommend", "--task", "Forecast"], "No models found in registry: train some first"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_mend(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == FAILED
    assert told in capsys.readouterr().err


@pytest.mark.skipif(find_spec("torch") is not None, reason="the extra is installed")
def test_without_the_extra_its_name_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("training: {max_steps: 1}\n")
    assert main(["pretrain", "--config", "c.yaml"]) == FAILED
    assert "pip install 'forecast-platform[language]'" in capsys.readouterr().err
