"""The component Pretraining: a YAML file becomes one group of assets, a job, and a sensor that is off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg

YAML = """
type: forecast_platform.components.Pretraining
attributes:
  name: notes
  task: Summarise market notes
  configuration:
    data: {train_file: notes.jsonl, val_file: null}
"""


def definitions(folder: Path) -> dg.Definitions:
    defs = folder / "desk" / "defs"
    (defs / "notes").mkdir(parents=True)
    (defs / "notes" / "defs.yaml").write_text(YAML)
    (folder / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "desk"\n'
    )
    (folder / "desk" / "__init__.py").touch()
    (defs / "__init__.py").touch()
    return dg.load_from_defs_folder(path_within_project=defs)


def test_a_file_becomes_assets_checks_a_job_and_a_sensor_that_is_off(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    found = definitions(tmp_path)
    graph = found.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys == {f"language/notes/{name}" for name in ("corpus", "adapter", "evaluation", "recommendation")}
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()} == {"language_notes"}
    evaluation = graph.get(dg.AssetKey(["language", "notes", "evaluation"]))
    assert {key.path[-1] for key in evaluation.parent_keys} == {"corpus", "adapter"}
    assert {key.name for key in graph.asset_check_keys} == {
        "adapter_is_whole",
        *("held_out_documents_are_unseen", "domain_is_predicted_better"),
        *("general_text_is_kept", "criteria_are_kept"),
    }
    assert found.resolve_job_def("pretrain_notes")
    [sensor] = found.sensors or []
    assert sensor.name == "language_notes_grown"
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_the_public_name_loads_nothing_heavy_until_it_is_asked_for() -> None:
    code = (
        "import sys, forecast_platform.components as found; before = 'dagster' in sys.modules; found.Pretraining; "
        "print(before, {'torch', 'transformers', 'mlflow', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "set()"]
