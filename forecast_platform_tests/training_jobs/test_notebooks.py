"""The notebooks of training jobs, run as a workspace runs them: widgets, a table, an exit value."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from forecast_platform import __version__
from forecast_platform.remote.parameters import ParameterError
from forecast_platform.remote.training_job import WIDGETS, run_training_job
from forecast_platform.training_jobs.remote_files import EXTRAS
from forecast_platform_tests.house import PACKAGE
from forecast_platform_tests.training_jobs.tables import asked, weekly

NOTEBOOKS = PACKAGE.parent / "notebooks"


class Tables:
    """A session over one table."""

    def table(self, name: str) -> Any:
        assert name == "`c`.`s`.`t`"
        return SimpleNamespace(toArrow=lambda: pa.Table.from_pylist(weekly(2, 40)))


class Widgets:
    """dbutils.widgets."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given, self.shown = given, {}

    def text(self, name: str, default: str, label: str) -> None:
        self.shown[name] = self.given.get(name, default)

    def get(self, name: str) -> str:
        return self.shown[name]


@pytest.mark.slow
def test_a_notebook_trains_on_its_table_and_ends_with_the_leaderboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", str(tmp_path / "warehouse"))
    job_id = str(uuid.uuid4())
    config = {name: value for name, value in asked().items() if name != "data"}
    widgets = Widgets(
        {
            "job_id": job_id, "config": json.dumps(config), "data_table": "c.s.t", "folder": str(tmp_path / "results"),
            "tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
        }
    )  # fmt: skip
    left: list[str] = []
    dbutils = SimpleNamespace(widgets=widgets, notebook=SimpleNamespace(exit=left.append))
    source = (NOTEBOOKS / "train_statsforecast.py").read_text()
    exec(compile(source, "notebook", "exec"), {"dbutils": dbutils, "spark": Tables()})
    found = json.loads(left[0])
    assert found["job_id"] == job_id
    assert found["best_model"] == found["leaderboard"][0]["model"]
    assert found["mlflow_run_id"], found["notes"]
    assert (tmp_path / "results" / "forecast.csv").is_file()


@pytest.mark.parametrize("mode", ["autogluon", "statsforecast", "neuralforecast", "mmf"])
def test_each_mode_s_notebook_has_a_widget_for_every_parameter_and_installs_its_extra(mode: str) -> None:
    source = (NOTEBOOKS / f"train_{mode}.py").read_text()
    widgets = [line.split('"')[1::2] for line in source.splitlines() if "widgets.text(" in line]
    assert [name for name, *_ in widgets] == ["package", *WIDGETS]
    extra = f"[{EXTRAS[mode]}]" if mode in EXTRAS else ""
    assert widgets[0][1] == f"forecast-platform{extra}=={__version__}"
    assert f'run_training_job("{mode}", ' in source
    assert "# MAGIC %pip install --quiet $package" in source


def test_a_notebook_without_a_table_says_so() -> None:
    with pytest.raises(ParameterError, match="data_table: name the table"):
        run_training_job("statsforecast", {"config": "{}", "tracking_uri": "sqlite://"}, Tables())
