"""The house's plan: which package lies above which, held by test_architecture.py and drawn in docs/architecture.md.

`python -m forecast_platform_tests.house` prints the part of that page between its markers.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "forecast_platform"
NAME = PACKAGE.name

PLAN = {
    "cli": "the command line: argument parsing and printing, nothing else",
    "app": "the workbench: pages of training jobs, workflows and recommendations, over the API alone",
    "api": "training jobs, workflows and recommendations over HTTP: routes, users, uploads; no logic",
    "doctor": "what `doctor` looks at: each fault with its mend",
    "workflow_definitions": "the submitted workflows, a code location of their own",
    "runs": "runs of the graph from a shell or the API: submit, status, cancel",
    "definitions": "the one Definitions",
    "housekeeping": "health, backup and restore, maintenance, migration",
    "components": "the public names of the Dagster components",
    "graph": "everything in Dagster's terms: assets, checks, automation, partitions, jobs, storages, step launchers",
    "remote": "what runs on a cluster",
    "language": "continual pretraining of a language model: corpus, training, perplexity, recommendation",
    "pipeline": "ingest, train, forecast, score, publish, champions: what the assets call",
    "training_jobs": "ad-hoc jobs: their table, backtest, leaderboard, forecast, results and admission store",
    "ensembles": "the obsrv grammar, tasks and folds: a workflow of tabular ensembles",
    "pages": "the daily page, fan charts, history, leaderboards, portfolios",
    "read": "the reader: public",
    "compute": "where fits and chunks of dates run: local, Spark, Databricks",
    "work": "the work on a series' keys that every compute runs: inputs, fits, chunks, storing",
    "clients": "connections to Spark and Databricks",
    "warehouse": "schemas, and Delta tables by key: in a folder, or in Unity Catalog through Spark",
    "sources": "raw prices and weather, checks, `unified_data`'s rows",
    "host": "this machine and process: folders, secrets, interrupts, child processes",
    "settings": "everything an operator can set",
    "tracking_flavor": "MLflow's loader of the models that were logged: public, its name stands in each of them",
    "plugins": "what is registered from outside",
    "testing": "the test kit for models from outside: public",
    "models": "the model contract, the registry, one file a model",
    "forecasting": "pure functions over arrays: windows, shocks, summaries, metrics, validation",
}
"""What is in each part of the package, from the top down: each may import only what stands below it."""

KNOWS_DAGSTER = ("cli", "doctor", "runs", "definitions", "housekeeping", "components", "graph", "workflow_definitions")
"""The parts that may import Dagster; it is a library to them alone."""

NAMED = {
    ("forecast_platform.clients.databricks.deploy", "forecast_platform.cli.main"): "the wheel's entry points, as text",
    ("forecast_platform.clients.databricks.deploy", "forecast_platform.remote.entry"): "the wheel's entry points",
    ("forecast_platform.host.home", "forecast_platform.graph.event_storage"): "what an instance's dagster.yaml names",
    ("forecast_platform.host.home", "forecast_platform.graph.instance_storage"): "the same",
    ("forecast_platform.host.services", "forecast_platform.cli"): "a process of its own: python -m",
    ("forecast_platform.host.services", "forecast_platform.definitions"): "what workspace.yaml names; Dagster loads it",
    ("forecast_platform.host.services", "forecast_platform.workflow_definitions"): "the same",
    ("forecast_platform.warehouse.reference", "forecast_platform.read"): "a text for people",
}
"""Modules that name one above them in a text, which one, and why that is no arrow that runs up."""


def module_of(path: Path) -> str:
    """The dotted name of a file's module, such as forecast_platform.work.rows."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part of the package that one of our modules is in; empty for the package itself."""
    return [*module.split("."), ""][1]


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax tree, parsed once for all rules."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> set[str]:
    """Full names of what a file imports anywhere, in functions and for types too; `from a import b` gives a.b."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: imports are absolute")
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


def names_in_texts(path: Path) -> set[str]:
    """Our dotted names in a file's texts, docstrings apart: what may be run by its name."""
    said = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and id(node) not in said:
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            found.update(re.findall(rf"\b{NAME}(?:\.[A-Za-z_]\w*)+", text))
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """Each of our modules, and those of ours that it imports anywhere."""
    files = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        wanted = set()
        for name in imports_of(path):
            if name.split(".")[0] == NAME:
                wanted.add(name if name in files else name.rpartition(".")[0])
        found[module] = wanted - {module, NAME}
    return found


def between_parts() -> dict[str, set[str]]:
    """Each part, and the parts that it imports from."""
    found: dict[str, set[str]] = {part: set() for part in PLAN}
    for module, wanted in arrows().items():
        if part := part_of(module):
            found[part] |= {part_of(name) for name in wanted} - {part}
    return found


def circles() -> list[list[str]]:
    """The circles of imports among our modules: strongly connected components of more than one, sorted."""
    graph, found, index, low, stack = arrows(), [], {}, {}, []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(graph.get(module, ())):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            component = []
            while not component or component[-1] != module:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def render() -> str:
    """The plan as a diagram and a table, for docs/architecture.md."""
    order, known = list(PLAN), between_parts()
    lines = ["```mermaid", "flowchart TD"]
    for part in order:
        # An arrow that a longer way says too is left out: the picture stays readable, the table has them all.
        near = [other for other in sorted(known[part], key=order.index) if not _through(known, part, other)]
        lines += [f"  {part} --> {other}" for other in near]
    lines += ["```", "", "| package | what it holds | imports of ours |", "|---|---|---|"]
    for part in order:
        below = ", ".join(f"`{other}`" for other in sorted(known[part], key=order.index)) or "nothing"
        lines.append(f"| `{part}` | {PLAN[part]} | {below} |")
    return "\n".join(lines) + "\n"


def _through(known: dict[str, set[str]], part: str, other: str) -> bool:
    """Whether `part` reaches `other` also through a third one."""
    seen, left = set(), list(known[part] - {other})
    while left:
        one = left.pop()
        if one == other:
            return True
        if one not in seen:
            seen.add(one)
            left += known.get(one, ())
    return False


if __name__ == "__main__":
    sys.stdout.write(render())
