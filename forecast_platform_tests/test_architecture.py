"""The rules of the house: which package may know which, what loads when, and how large a file may be."""

from __future__ import annotations

import ast
import builtins
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import indent

import pytest

from forecast_platform_tests.house import (
    KNOWS_DAGSTER,
    NAMED,
    PACKAGE,
    PLAN,
    arrows,
    circles,
    imports_of,
    module_of,
    names_in_texts,
    part_of,
    render,
    tree,
)

ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = (
    *("pandas", "pyarrow", "deltalake", "mlflow", "xgboost", "scipy", "pyspark", "torch", "plotly", "statsforecast"),
    *("pmdarima", "statsmodels", "arch", "exchange_calendars", "dagster_databricks", "dagster_pyspark", "databricks"),
)
FORECASTING_LIBRARIES = {"numpy", "scipy"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def libraries(path: Path) -> set[str]:
    """The packages that a file imports anywhere."""
    return {name.split(".")[0] for name in imports_of(path)}


def test_every_module_is_in_a_part_of_the_plan() -> None:
    assert {part_of(module_of(path)) for path in FILES} - {""} == set(PLAN)


@pytest.mark.parametrize("part", PLAN)
def test_a_part_imports_only_what_stands_below_it_also_lazily_and_for_types(part: str) -> None:
    below = list(PLAN)[list(PLAN).index(part) + 1 :]
    upward = {
        (module, other)
        for module, known in arrows().items()
        if part_of(module) == part
        for other in known
        if part_of(other) not in {part, *below}
    }
    assert upward == set()


def upward_names(path: Path, module: str) -> set[tuple[str, str]]:
    """The texts of a file that name what stands above its module; a part of the plan that is none stands nowhere."""
    order = list(PLAN)
    named = {name for name in names_in_texts(path) if part_of(name) in PLAN}
    return {(module, name) for name in named if order.index(part_of(name)) < order.index(part_of(module))}


def test_no_text_names_a_module_above_for_its_import_but_those_with_a_reason() -> None:
    found = [upward_names(path, module_of(path)) for path in FILES if part_of(module_of(path))]
    assert set().union(*found) == set(NAMED)


@pytest.mark.parametrize("text", ["forecast_platform.remote.entry:main", "python -m forecast_platform.remote.entry"])
def test_a_text_that_names_a_module_above_is_found(tmp_path: Path, text: str) -> None:
    (file := tmp_path / "kinds.py").write_text(f'"""See {text}."""\nKINDS = {{"a": [{text!r}]}}\nBYTES = b{text!r}\n')
    assert upward_names(file, "forecast_platform.work.kinds") == {
        ("forecast_platform.work.kinds", "forecast_platform.remote.entry")
    }
    assert upward_names(file, "forecast_platform.cli.kinds") == set()
    (file := tmp_path / "said.py").write_text(f'"""See {text}."""\n')
    assert upward_names(file, "forecast_platform.work.kinds") == set()


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert circles() == []


def test_forecasting_knows_no_library_but_numpy_and_scipy() -> None:
    for path in sorted((PACKAGE / "forecasting").rglob("*.py")):
        foreign = libraries(path) - {PACKAGE.name, "__future__"}
        assert foreign - set(sys.stdlib_module_names) <= FORECASTING_LIBRARIES, path


def test_pipeline_and_what_is_below_it_know_no_dagster() -> None:
    for path in FILES:
        if part_of(module_of(path)) in {"", *KNOWS_DAGSTER}:
            continue
        # Pipes' own small package is what a run elsewhere speaks with; it knows no Dagster either.
        known = {name for name in libraries(path) if name.startswith("dagster")} - {"dagster_pipes"}
        assert known == set(), path


def test_the_page_of_the_architecture_shows_the_plan() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert render() in page, "python3 tasks.py docs writes it"


def test_nothing_unpickles() -> None:
    for path in FILES:
        assert not libraries(path) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}, path
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path


def test_a_file_is_replaced_whole_in_one_place_but_for_those_with_a_reason() -> None:
    """`Path.replace` and `os.replace`; those of other types take two arguments or keywords."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace"
        if (len(node.args) == 1 and not node.keywords) or ast.unparse(node.func) == "os.replace"
    }
    exchanged = {"models/isolated.py", "models/prepared.py"}  # with a process that ends with the machine
    set_aside = {"graph/automation/problems.py", "graph/automation/revisions.py"}
    made_by_libraries = {"graph/event_storage.py", "host/mlflow_store.py", "language/adapter.py"}
    assert found == {"host/files.py", *exchanged, *set_aside, *made_by_libraries}


def bodies(source: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions that do more than a line, and what they do, docstrings apart."""
    for node in ast.walk(source):
        if isinstance(node, FUNCTIONS):
            said = ast.get_docstring(node) is not None
            text = "\n".join(ast.unparse(line) for line in node.body[said:])
            if len(text) > 60:
                yield text, node.name


def test_no_two_functions_do_the_same_word_for_word() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for text, name in bodies(tree(path)):
            places.setdefault(text, []).append(f"{path.relative_to(PACKAGE)}: {name}")
    assert [found for found in places.values() if len(found) > 1] == []


SHARED = {
    *("Base", "Compute", "Ended", "Ensemble", "Fact", "Fit", "Forecast", "Forecasts", "Gluon", "Look", "Losses"),
    *("Member", "Message", "Near", "Neural", "Outcome", "Plan", "Prepared", "Problem", "Prophet", "Reader", "Record"),
    *("Result", "Rows", "Source", "Split", "Standing", "Step", "Tables"),
}
"""Names of classes that several modules have, each its own kind of thing in its own package; no others come to them."""


def test_a_class_s_name_is_one_thing_s_but_for_the_known_ones() -> None:
    names = [node.name for path in FILES for node in tree(path).body if isinstance(node, ast.ClassDef)]
    assert {name for name in names if names.count(name) > 1 and not name.startswith("_")} == SHARED


def test_clients_of_mlflow_are_made_in_one_place() -> None:
    """The one that names the registry: a client without it asks the active Spark session, whose server may be gone."""
    made = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MlflowClient")
    }
    assert made == {"host/mlflow_store.py"}


def catches(handler: str, error: str) -> bool:
    """Whether `except handler` catches `error`: by its name, or as a built-in base of it."""
    kinds = [getattr(builtins, name, None) for name in (error, handler)]
    return handler == error or (all(isinstance(kind, type) for kind in kinds) and issubclass(*kinds))


def name_of(error: ast.expr) -> str:
    return ast.unparse(error.func if isinstance(error, ast.Call) else error).rpartition(".")[2]


def caught_by(handler: ast.ExceptHandler) -> list[str]:
    """The errors that end at a handler: none where a bare `raise` sends them on."""
    if handler.type is None or any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler)):
        return []
    return [name_of(kind) for kind in (handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type])]


def raised(nodes: Iterable[ast.AST]) -> set[str]:
    """The errors that leave these statements by a `raise` of their own; those of functions inside are theirs.

    AssertionError is none of them: it marks what nothing reaches.
    """
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = name_of(node.exc)
            found |= {name} if name[:1].isupper() else set()
        elif isinstance(node, ast.Try):
            caught = [name for handler in node.handlers for name in caught_by(handler)]
            found |= {name for name in raised(node.body) if not any(catches(kind, name) for kind in caught)}
            found |= raised([*node.handlers, *node.orelse, *node.finalbody])
        elif not isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            found |= raised(ast.iter_child_nodes(node))
    return found - {"AssertionError"}


def public_functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions and methods no part of whose name begins with an underscore; not those inside of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield from public_functions(child, prefix)
        elif child.name.startswith("_"):
            continue
        elif isinstance(child, ast.ClassDef):
            yield from public_functions(child, f"{prefix}{child.name}.")
        else:
            yield f"{prefix}{child.name}", child


def unnamed_errors(source: ast.Module) -> list[str]:
    """The public functions of a file that raise an error which their docstring does not name."""
    return [
        f"{name}: {error}"
        for name, function in public_functions(source)
        for error in sorted(raised(function.body))
        if not re.search(rf"\b{error}\b", ast.get_docstring(function) or "")
    ]


def test_public_functions_name_the_errors_that_they_raise_in_their_docstrings() -> None:
    unnamed = {str(path.relative_to(ROOT)): unnamed_errors(tree(path)) for path in FILES}
    assert {path: names for path, names in unnamed.items() if names} == {}, "add `Raises ... where ...`"


ARRAYS = re.compile(r"\b(Floats|Dates|Bools|Ints|Samples|Paths|NDArray|ndarray)\b")


def unshaped(source: ast.Module) -> list[str]:
    """The public functions of a file that take or give arrays, and whose docstring neither has a shape such as [n] nor
    names what it does as (`See `Model.fit``), nor is of what only raises."""
    found = []
    for name, function in public_functions(source):
        arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        types = [ast.unparse(one) for one in (*(each.annotation for each in arguments), function.returns) if one]
        said = ast.get_docstring(function) or ""
        if ARRAYS.search(" ".join(types)) and not re.search(r"\[[^\]]+\]|^(See|As|Raises) ", said):
            found.append(name)
    return found


def test_public_functions_over_arrays_say_their_shapes() -> None:
    assert {str(path.relative_to(ROOT)): names for path in FILES if (names := unshaped(tree(path)))} == {}


@pytest.mark.parametrize(
    ("types", "said", "found"),
    [
        ("x: Floats", "Of x.", ["f"]),
        ("x: Sequence[NDArray[Any]] | None", "Of x.", ["f"]),
        ("x: Floats", "Of x [n], in days.", []),
        ("x: Floats", "See `Model.fit`: of x.", []),
        ("x: float", "Of x.", []),
    ],
)
def test_a_function_over_arrays_whose_shapes_nobody_says_is_found(types: str, said: str, found: list[str]) -> None:
    assert unshaped(ast.parse(f"def f({types}):\n  '''{said}'''")) == found
    assert unshaped(ast.parse(f"def _f({types}):\n  '''{said}'''")) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("'''Of x.'''\nraise ValueError(x)", ["ValueError"]),
        ("'''Of x. Raises ValueErrors.'''\nraise ValueError(x)", ["ValueError"]),
        ("'''Of x. Raises ValueError.'''\nraise ValueError(x)", []),
        ("if x:\n  raise errors.JobError(x)", ["JobError"]),
        ("try:\n  raise PermissionError\nexcept OSError:\n  pass", []),
        ("try:\n  raise KeyError\nexcept (KeyError, TypeError) as e:\n  raise JobError from e", ["JobError"]),
        ("try:\n  raise KeyError\nexcept KeyError:\n  raise", ["KeyError"]),
        ("try:\n  pass\nfinally:\n  raise KeyError", ["KeyError"]),
        ("raise AssertionError", []),
        ("def g():\n  raise KeyError\nreturn g", []),
    ],
)
def test_an_error_that_no_docstring_names_is_found(body: str, found: list[str]) -> None:
    function = f"async def f(x):\n{indent(body, '  ')}\n"
    places = {"f": function, "C.f": f"if True:\n class C:\n{indent(function, '  ')}"}
    for name, text in places.items():
        assert unnamed_errors(ast.parse(text)) == [f"{name}: {error}" for error in found]
    assert unnamed_errors(ast.parse(f"class _C:\n{indent(function, ' ')}")) == []


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
