"""cpt_config.yaml: the shipped file is the defaults that existing files use; what is wrong is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from forecast_platform.language.config import Config, parse, read_config
from forecast_platform.language.errors import LanguageError

SHIPPED = Path(__file__).resolve().parents[2] / "cpt_config.yaml"


def test_the_shipped_file_says_what_existing_files_say() -> None:
    config = read_config(SHIPPED)
    assert config.model.name == "microsoft/phi-3-mini-4k-instruct"
    assert (config.qlora.lora_r, config.qlora.lora_alpha, config.data.replay_ratio) == (64, 128, 0.2)
    assert config.training.learning_rate == 2.0e-5
    assert config.quantised


def test_absent_keys_have_the_defaults_of_existing_readers() -> None:
    config = parse({"qlora": {"lora_r": 8}, "data": None})
    assert config.qlora.target_modules == ("q_proj", "v_proj")
    assert config.data.replay_ratio == 0
    shipped = yaml.safe_load(SHIPPED.read_text())
    same = {
        f"{block}.{key}"
        for block, values in shipped.items()
        for key, value in values.items()
        if Config().plain()[block][key] == value
    }
    assert {f"{block}.{key}" for block, values in shipped.items() for key in values} - same == {
        "qlora.target_modules",
        "data.replay_ratio",
        "mlflow.tags",
    } - same


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"trainnig": {}}, "no block 'trainnig', perhaps training"),
        ({"training": {"learning_rat": 1e-4}}, "no key training.learning_rat, perhaps learning_rate"),
        ({"training": {"lora_r": 8}}, "no key training.lora_r; it belongs to qlora"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate = 'fast'"),
        ({"training": {"max_seq_length": 0}}, "training.max_seq_length = 0"),
        ({"data": {"replay_ratio": 1.0}}, "data.replay_ratio = 1.0"),
        ({"data": {"schema": 5}}, "data.schema = 5"),
        ({"qlora": [1]}, "a block of `key: value` lines"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(found: dict, told: str) -> None:
    with pytest.raises(LanguageError) as refused:
        parse(found, "mine.yaml")
    assert told in str(refused.value)
    assert str(refused.value).startswith("mine.yaml: ")


def test_the_page_explains_every_key_with_its_default() -> None:
    page = (SHIPPED.parent / "docs" / "language.md").read_text(encoding="utf-8")
    plain = Config().plain()
    for block, field in Config.model_fields.items():
        for key, about in field.annotation.model_fields.items():  # type: ignore[union-attr]
            name = about.alias or key
            assert f"| `{block}.{name}` | `{json.dumps(plain[block][name])}` | {about.description} |" in page


def test_both_families_of_data_keys_are_read() -> None:
    later = parse({"data": {"catalog": "main", "schema": "docs", "train_table": "notes", "val_ratio": 0.1}}).data
    assert later.table("notes") == "main.docs.notes"
    assert later.table("other.docs.notes") == "other.docs.notes"
    earlier = parse({"data": {"train_file": "a.jsonl", "val_file": "b.jsonl"}}).data
    with pytest.raises(LanguageError, match=r"write catalog\.schema\.table"):
        earlier.table("notes")


def test_a_learning_rate_without_a_point_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("training:\n  learning_rate: 2e-4\n")
    assert read_config(file).training.learning_rate == 2e-4
