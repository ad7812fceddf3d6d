"""The notebook for a GPU cluster: the cells that its readers know, and the configuration of cpt_config.yaml."""

from __future__ import annotations

import ast
import glob
import json
import os
from pathlib import Path
from types import SimpleNamespace

import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "notebooks" / "train_cpt.py").read_text(encoding="utf-8")
CELLS = SOURCE.removeprefix("# Databricks notebook source\n").split("\n# COMMAND ----------\n")
MARKDOWN = "# MAGIC %md"


def test_it_has_fifteen_cells_in_their_order() -> None:
    assert SOURCE.startswith("# Databricks notebook source\n# MAGIC %md\n")
    assert len(CELLS) == 15
    kinds = [cell.strip().startswith(MARKDOWN) for cell in CELLS]
    assert kinds == [True, False, False, *[True, False] * 6]
    titles = [cell.strip().splitlines()[1].removeprefix("# MAGIC ").strip("# ") for cell in CELLS if MARKDOWN in cell]
    assert titles[1:] == ["Configuration", "Data", "Model", "Tokens", "Training", "Verification"]
    assert "restartPython" in CELLS[2]
    assert "spark.table(" in CELLS[6]


def test_versions_are_quoted_for_the_shell() -> None:
    line = CELLS[1].strip()
    assert line.startswith("# MAGIC %pip install ")
    wanted = line.removeprefix("# MAGIC %pip install ").split(" ")
    assert all(one[0] == one[-1] == '"' for one in wanted), "an unquoted > is a redirection"


def test_its_configuration_is_that_of_the_file() -> None:
    assigned = {
        ast.unparse(node.targets[0]): node.value for node in ast.parse(SOURCE).body if isinstance(node, ast.Assign)
    }
    assert ast.literal_eval(assigned["CONFIG"]) == yaml.safe_load((ROOT / "cpt_config.yaml").read_text())


def test_its_packing_loses_no_token_and_keeps_documents_apart() -> None:
    class Letters:
        eos_token_id = 0

        def __call__(self, text: str, add_special_tokens: bool) -> dict:
            return {"input_ids": [ord(letter) for letter in text]}

    names: dict = {"tokenizer": Letters(), "context": 10}
    functions = [node for node in ast.parse(CELLS[10]).body if isinstance(node, ast.FunctionDef)]
    exec(compile(ast.Module(functions[:1], []), "tokens", "exec"), names)
    texts = ["abcdefghijklmno", "pqr", "stuv", "wx"]
    rows = names["packed"](texts)
    assert sum(len(row["input_ids"]) for row in rows) == sum(len(text) + 1 for text in texts)
    assert all(len(row["input_ids"]) <= 10 for row in rows)
    for row in rows:
        for place, position in enumerate(row["position_ids"]):
            assert (row["labels"][place] == -100) == (position == 0)
            assert position == 0 or row["labels"][place] == row["input_ids"][place]


def test_its_boxes_go_before_the_configuration_where_they_are_filled_in() -> None:
    given = {"train_table": " main.docs.notes ", "output_dir": "/Volumes/main/docs/cpt"}
    shown: dict[str, str] = {}
    widgets = SimpleNamespace(
        text=lambda name, value, title: shown.update({name: value}), get=lambda n: given.get(n, "")
    )
    names: dict = {"dbutils": SimpleNamespace(widgets=widgets)}
    exec(compile(CELLS[4], "configuration", "exec"), names)
    wanted = yaml.safe_load((ROOT / "cpt_config.yaml").read_text())
    wanted["data"]["train_table"], wanted["output"]["output_dir"] = "main.docs.notes", "/Volumes/main/docs/cpt"
    assert names["CONFIG"] == wanted
    bundle = yaml.safe_load((ROOT / "databricks.yml").read_text())
    [task] = bundle["resources"]["jobs"]["train_cpt"]["tasks"]
    parameters = task["notebook_task"]["base_parameters"]
    assert set(parameters) == set(given)
    assert set(given) <= set(shown)
    assert parameters["output_dir"].startswith("/Volumes/"), "the job cluster's own disk goes with it"


def test_it_goes_on_from_the_newest_checkpoint_that_is_whole(tmp_path: Path) -> None:
    names: dict = {"glob": glob, "json": json, "os": os}
    functions = [node for node in ast.parse(CELLS[12]).body if isinstance(node, ast.FunctionDef)]
    exec(compile(ast.Module(functions, []), "training", "exec"), names)
    assert names["newest_whole"](str(tmp_path)) is None
    for step, state in ((500, "{}"), (1000, "{}"), (1500, '{"global'), (2000, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert names["newest_whole"](str(tmp_path)) == str(tmp_path / "checkpoint-1000")


def test_packed_batches_go_without_flash_attention() -> None:
    [attention] = [
        node
        for node in ast.walk(ast.parse(CELLS[8]))
        if isinstance(node, ast.Assign) and "flash" in ast.unparse(node.targets)
    ]
    for rows, wanted in ((1, True), (2, False)):
        names: dict = {
            "CONFIG": {"model": {"use_flash_attention": True}, "training": {"per_device_train_batch_size": rows}}
        }
        exec(compile(ast.Module([attention], []), "model", "exec"), names)
        assert names["flash"] is wanted


def test_the_bundle_runs_it_on_a_machine_with_a_gpu() -> None:
    bundle = yaml.safe_load((ROOT / "databricks.yml").read_text())
    [task] = bundle["resources"]["jobs"]["train_cpt"]["tasks"]
    assert task["notebook_task"]["notebook_path"] == "notebooks/train_cpt.py"
    assert bundle["variables"]["gpu_node_type"]["default"] == "Standard_NC6s_v3"
    version, kind = bundle["variables"]["gpu_runtime"]["default"].split(".x-")
    assert float(version) >= 14
    assert kind.startswith("gpu-ml-")
    assert task["new_cluster"]["spark_version"] == "${var.gpu_runtime}"
