"""The rules of the house: which package may know which, what loads when, and how large a file may be."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "forecast_platform"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = (
    *("pandas", "pyarrow", "deltalake", "mlflow", "xgboost", "scipy", "pyspark", "torch", "plotly", "statsforecast"),
    *("pmdarima", "statsmodels", "arch", "exchange_calendars", "dagster_databricks", "dagster_pyspark", "databricks"),
)

KNOWS = {
    "forecasting": {"forecasting"},
    "models": {"forecasting", "models"},
    "warehouse": {"warehouse", "hiding"},
    "sources": {"sources", "forecasting", "settings"},
    "reports": {"reports", "forecasting", "warehouse"},
}
"""What of ours each package may import; what is not named here is not restricted."""

WITHOUT_DAGSTER = ("forecasting", "models", "pipeline", "sources", "warehouse", "reports")
FORECASTING_LIBRARIES = {"numpy", "scipy"}


def imported(path: Path, *, at_runtime: bool = False) -> set[str]:
    """Full names of the modules that a file imports anywhere; `at_runtime` leaves out `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden: set[ast.AST] = set()
    if at_runtime:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                hidden.update(inner for statement in node.body for inner in ast.walk(statement))
    found = set()
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "forecast_platform":
                found.update(f"forecast_platform.{name.name}" for name in node.names)
            else:
                found.add(str(node.module))
    return found


def ours(path: Path) -> set[str]:
    """First part, below forecast_platform, of each of our modules that a file imports at run time."""
    names = (name.split(".") for name in imported(path, at_runtime=True))
    return {parts[1] for parts in names if parts[0] == "forecast_platform" and len(parts) > 1}


def files_of(package: str) -> list[Path]:
    return sorted((PACKAGE / package).rglob("*.py"))


@pytest.mark.parametrize("package", KNOWS)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    beyond = {str(path.relative_to(ROOT)): ours(path) - KNOWS[package] for path in files_of(package)}
    assert {name: extra for name, extra in beyond.items() if extra} == {}


def test_forecasting_knows_no_library_but_numpy_and_scipy() -> None:
    for path in files_of("forecasting"):
        foreign = {name.split(".")[0] for name in imported(path)} - {"forecast_platform"}
        assert foreign - set(sys.stdlib_module_names) <= FORECASTING_LIBRARIES, path


@pytest.mark.parametrize("package", WITHOUT_DAGSTER)
def test_dagster_is_known_to_assets_and_automation_alone(package: str) -> None:
    for path in files_of(package):
        known = {name.split(".")[0] for name in imported(path)}
        assert not {name for name in known if name.startswith("dagster")}, path


def test_pipeline_knows_no_asset_and_no_automation() -> None:
    for path in files_of("pipeline"):
        assert not ours(path) & {
            "assets",
            "automation",
            "checks",
            "jobs",
            "partitions",
            "launch",
            "operations",
            "cli",
        }, path


def test_nothing_unpickles() -> None:
    for path in FILES:
        assert not imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path


def test_no_file_has_more_than_400_lines() -> None:
    everything = [*FILES, *(ROOT / "forecast_platform_tests").rglob("*.py"), ROOT / "tasks.py"]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in everything}
    assert {name: count for name, count in lengths.items() if count > 400} == {}


@pytest.mark.parametrize("compute", ["local", "databricks"])
def test_definitions_load_without_a_heavy_library(tmp_path: Path, compute: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FORECAST_PLATFORM_")}
    environment["FORECAST_PLATFORM_WAREHOUSE"] = str(tmp_path / "warehouse")
    environment["FORECAST_PLATFORM_COMPUTE"] = compute
    code = (
        "import json, sys, forecast_platform.definitions as found; found.defs.resolve_all_asset_keys(); "
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert set(HEAVY) & set(json.loads(done.stdout.splitlines()[-1])) == set()
    assert not (tmp_path / "warehouse").exists(), "loading the definitions opens and makes no table"


def test_the_registry_lists_every_model_without_importing_one() -> None:
    code = "import sys, forecast_platform.models.registry as r; print(len(r.names()), 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"


def test_no_file_names_a_machine_s_paths() -> None:
    texts = [
        *FILES,
        *(ROOT / "docs").glob("*.md"),
        ROOT / "requirements.lock",
        ROOT / "README.md",
        ROOT / "pyproject.toml",
    ]
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert "/root/" not in text, path
        assert "index-url" not in text, path
        assert str(ROOT) + "/" not in text, path
