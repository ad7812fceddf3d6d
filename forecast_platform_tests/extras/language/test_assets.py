"""The component's assets, run by Dagster: documents in, a checked recommendation out; the sensor sees growth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml

from forecast_platform.graph.assets.language import Pretrained, _whole, language_definitions
from forecast_platform.graph.components.pretraining import Pretraining
from forecast_platform.settings import load
from forecast_platform_tests.extras.language.conftest import sentences

pytestmark = pytest.mark.extra


def test_the_assets_run_one_after_the_other_and_leave_the_files(
    blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    load.cache_clear()
    documents = tmp_path / "documents.jsonl"
    rows = [json.dumps({"text": sentences(seed, 6 + seed % 9)}) for seed in range(40)]
    documents.write_text("\n".join([*rows, '{"text": null}']) + "\n")
    config = {
        "model": {"name": str(blank)},
        "training": {"max_steps": 4, "per_device_train_batch_size": 2, "max_seq_length": 64, "save_steps": 4},
        "qlora": {"load_in_4bit": False, "lora_r": 4, "target_modules": ["all-linear"]},
        "data": {"train_file": str(documents), "val_file": None, "replay_dataset": None},
        "output": {"output_dir": str(tmp_path / "out"), "logging_steps": 1},
    }
    (tmp_path / "cpt.yaml").write_text(yaml.safe_dump(config))
    component = Pretraining(name="notes", config="cpt.yaml", task="Predict the words of market notes", grown_by=0.25)
    spec = Pretrained("notes", lambda: component.read(tmp_path), component.task, None, component.grown_by)
    definitions = language_definitions(spec)
    job = definitions.resolve_job_def("pretrain_notes")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance)
        assert done.success
        by_key = {
            one.asset_key.path[-1]: one.step_materialization_data.materialization.metadata
            for one in done.get_asset_materialization_events()
        }
        assert set(by_key) == {"corpus", "adapter", "evaluation", "recommendation"}
        assert by_key["corpus"]["train_nulls"].value == 1
        assert by_key["corpus"]["tokens"].value > 1000
        assert by_key["adapter"]["quantization"].value == "float32"
        assert by_key["recommendation"]["model"].value.startswith("cpt-blank")
        for key, metadata in by_key.items():
            assert metadata["page"].value == f"{load().reports_url}/language_notes_{key}.html"
            assert (tmp_path / "warehouse" / "_reports" / f"language_notes_{key}.html").is_file()
        checks = {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
        assert checks["held_out_documents_are_unseen"]
        assert checks["adapter_is_whole"]
        assert set(checks) == {
            *("held_out_documents_are_unseen", "adapter_is_whole", "domain_is_predicted_better"),
            *("general_text_is_kept", "criteria_are_kept"),
        }
        for name in ("training_metrics.json", "evaluation_results.json", "recommendation.json", "adapter_config.json"):
            assert (tmp_path / "out" / name).is_file()

        key, log = spec.key("adapter"), [{"step": 1, "train_loss": 2.0}]
        assert _whole("c", key, tmp_path / "out", log).passed
        odd = _whole("c", key, tmp_path / "out", [*log, {"step": 2, "train_loss": None, "eval_loss": float("nan")}])
        assert (odd.passed, odd.description) == (False, "eval_loss nan at step 2")
        shutil.copytree(tmp_path / "out", tmp_path / "torn")
        weights = tmp_path / "torn" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        torn = _whole("c", key, tmp_path / "torn", log)
        assert not torn.passed
        assert "adapter_model.safetensors: cut short or changed" in str(torn.description)

        [sensor] = definitions.sensors
        with dg.build_sensor_context(instance=instance) as context:
            told = sensor.evaluate_tick(context)
            assert "41 rows" not in (told.skip_message or "") or not told.run_requests
            assert told.run_requests == []
        documents.write_text(documents.read_text() + "\n".join(rows[:12]) + "\n")
        with dg.build_sensor_context(instance=instance) as context:
            [request] = sensor.evaluate_tick(context).run_requests
            assert request.run_key == "notes-41-53"


def test_a_configuration_that_is_none_fails_its_step_with_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    load.cache_clear()
    component = Pretraining(name="notes", configuration={"training": {"learning_rat": 1}})
    spec = Pretrained("notes", lambda: component.read(tmp_path), component.task)
    job = language_definitions(spec).resolve_job_def("pretrain_notes")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not done.success
    [failure] = [event for event in done.all_events if event.is_step_failure]
    assert "no key training.learning_rat, perhaps learning_rate" in str(failure.event_specific_data)
