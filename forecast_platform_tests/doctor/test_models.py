"""doctor lists the models, and says of each whose library is missing what installs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecast_platform.doctor.examine import models
from forecast_platform.models import registry
from forecast_platform.models.tags import ModelTags
from forecast_platform.settings import build

MEND = "`python -m pip install 'forecast-platform[neural]'`"


def test_a_configured_model_without_its_library_fails_and_another_one_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = ModelTags(extra="neural", requires=("no_such_library.part",))
    monkeypatch.setattr(registry.model_class("xgboost"), "tags", tags)
    big = {"name": "big", "type": "xgboost", "params": {"rounds": 3}}
    asked = list(models(build(models=["naive", big], warehouse=tmp_path)))
    failed = [(finding.found, finding.mend) for finding in asked if finding.severity == "error"]
    assert failed == [("model 'big' needs no_such_library.part", MEND)]
    listed = {finding.found for finding in models(build(models=["naive"], warehouse=tmp_path))}
    assert f"not installed: model 'xgboost' needs no_such_library.part: install it with {MEND}" in listed


def test_every_model_of_an_extra_is_listed_with_what_installs_it_where_its_library_is_not(tmp_path: Path) -> None:
    listed = "\n".join(finding.found for finding in models(build(models=["naive"], warehouse=tmp_path)))
    for name, extra in {"prophet": "prophet", "neuralforecast": "neural", "autogluon": "automl"}.items():
        missing = registry.missing(registry.model_class(name), name)
        assert (missing is None) == (f"not installed: model {name!r}" not in listed)
        assert missing is None or f"`python -m pip install 'forecast-platform[{extra}]'`" in missing


def test_a_model_that_needs_a_gpu_warns_where_no_driver_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.model_class("xgboost"), "tags", ModelTags(needs_gpu=True))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(models(build(models=["naive", "xgboost"], warehouse=tmp_path)))
    assert [(one.severity, one.found) for one in found if one.severity != "good"] == [
        ("warning", "model 'xgboost' needs a GPU, and no driver is seen here")
    ]
