"""The pages written from the code are those that the code writes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from forecast_platform.forecasting.shocks import Shocks
from forecast_platform.models.base import TrainingWindow
from forecast_platform.settings import Settings
from forecast_platform.settings import reference as settings_reference
from forecast_platform.sources.formats import READERS
from forecast_platform.testing.histories import changed_from, random_history
from forecast_platform.warehouse import reference
from forecast_platform.warehouse.schemas import TABLES

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize(
    ("page", "written"), [("tables.md", reference.render), ("configuration.md", settings_reference.render)]
)
def test_a_generated_page_is_up_to_date(page: str, written) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == written(), "run `python3 tasks.py docs`"


def test_every_column_and_every_setting_is_explained() -> None:
    tables, configuration = reference.render(), settings_reference.render()
    assert all(f"`{column.name}`" in tables for table in TABLES for column in table.columns)
    assert all(f"FORECAST_PLATFORM_{name.upper()}" in configuration for name in Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())


def test_the_configuration_page_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings_reference.render()
    monkeypatch.setenv("FORECAST_PLATFORM_WAREHOUSE", "/elsewhere")
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert settings_reference.render() == before
    assert str(Path.home()) not in before


def test_every_vendor_that_is_read_is_in_the_page_of_files() -> None:
    page = (DOCS / "files.md").read_text(encoding="utf-8")
    assert [reader.NAME for reader in READERS if f"| {reader.NAME} |" not in page] == []


def test_the_worked_example_of_a_model_keeps_the_contract(tmp_path: Path) -> None:
    page = (DOCS / "adding.md").read_text(encoding="utf-8")
    source = tmp_path / "damped_momentum.py"
    source.write_text(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0])
    spec = importlib.util.spec_from_file_location("damped_momentum", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.DampedMomentum()

    window = TrainingWindow(np.datetime64("2015-01-01"), np.datetime64("2018-01-01"))
    history = random_history(seed=3, momentum=0.3, name="Synthetic")
    fitted = model.fit(history.before(window.end), window)
    assert fitted.training_metrics()["part"] == pytest.approx(0.3, abs=0.1)

    origins = np.arange(np.datetime64("2018-01-01"), np.datetime64("2018-02-01"))
    shocks = Shocks(7, fitted.n_slots)
    paths = fitted.simulate(history, origins, 14, 50, shocks)
    assert np.array_equal(fitted.simulate(history, origins[::-1], 14, 50, shocks)[::-1], paths)
    stored = model.load(fitted.to_json(), window)
    assert np.array_equal(stored.simulate(history, origins, 14, 50, shocks), paths)
    day = origins[12]
    changed = fitted.simulate(changed_from(history, day), origins, 14, 50, shocks)
    assert np.array_equal(changed[:13], paths[:13])
    assert not np.array_equal(changed[13:], paths[13:])


def test_coverage_is_of_dates_and_hit_rate_is_of_bands() -> None:
    for page in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))):
        if page.name == "glossary.md":
            continue
        # What stands between ticks is a command or a column.
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search("coverage", prose, re.IGNORECASE), page.name
