"""`forecast-platform ensemble check|plan|run|status|results|export|import|schema FILE`: workflows of ensembles."""

from __future__ import annotations

import argparse
import json
import stat
import sys
from pathlib import Path
from typing import Any

from forecast_platform.settings import Settings


def register(commands: Any) -> None:
    """Add the commands of this module to the command line's subparsers."""
    ensemble = commands.add_parser("ensemble", help="workflows of tabular ensembles in the obsrv grammar")
    actions = ensemble.add_subparsers(required=True, metavar="ACTION")
    check = _action(actions, "check", _check, "read a workflow: every fault with line, column and mend")
    check.add_argument("--fix", action="store_true", help="write lists without commas and unquoted words as meant")
    plan = _action(actions, "plan", _plan, "the tasks in running order, and the workflow with all defaults")
    plan.add_argument("--yaml", action="store_true", help="print the completed workflow alone")
    _action(actions, "run", _run, "run it here; finished tasks are not done again")
    _action(actions, "status", _status, "each task's state, tries and seconds")
    results = _action(actions, "results", _results, "what is deployed, scores and leaderboards")
    results.add_argument("--json", action="store_true", help="all of it as JSON")
    export = _action(actions, "export", _export, "write the model as an MLflow model folder")
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="a new folder")
    _action(actions, "import", _import, "check it and keep it as assets of the workflows' code location")
    schema = actions.add_parser("schema", help="print the grammar as JSON schema, for editors")
    schema.set_defaults(command=_schema)


def _action(actions: Any, name: str, command: Any, text: str) -> Any:
    parser = actions.add_parser(name, help=text)
    parser.add_argument("file", type=Path, metavar="FILE", help="the workflow's YAML file")
    parser.set_defaults(command=_guarded(command))
    return parser


def _guarded(command: Any) -> Any:
    def guarded(options: argparse.Namespace, settings: Settings) -> int:
        from forecast_platform.ensembles.packaging import PackageError
        from forecast_platform.ensembles.rows import RowsError
        from forecast_platform.ensembles.yaml_lines import WorkflowError
        from forecast_platform.runs.workflows import WorkflowRunError

        try:
            return int(command(options, settings))
        except WorkflowError as error:
            print(error, file=sys.stderr)
            return 2
        except (PackageError, RowsError, WorkflowRunError, FileNotFoundError) as error:
            print(f"forecast-platform: {error}", file=sys.stderr)
            return 1

    return guarded


def _text(options: argparse.Namespace) -> str:
    from forecast_platform.ensembles.yaml_lines import text_of

    return text_of(options.file)


def _workflow(options: argparse.Namespace) -> Any:
    from forecast_platform.ensembles.reading import read_workflow

    return read_workflow(_text(options), options.file.name)


def _check(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.ensembles.reading import fixed
    from forecast_platform.host.files import write_whole

    if options.fix:
        text, told = fixed(_text(options))
        if told:
            # Whole, or as it was: it is the user's own text.
            file = options.file.resolve()
            write_whole(file, text, stat.S_IMODE(file.stat().st_mode))
        for one in told:
            print(one)
    from forecast_platform.ensembles.sense import told as told_of

    workflow = _workflow(options)
    print(f"{workflow.context.name}: {len(workflow.tasks)} tasks, nothing wrong")
    for one in told_of(workflow):
        print(f"note: {one}")
    return 0


def _plan(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.ensembles.plan import plan_of
    from forecast_platform.ensembles.reading import written

    workflow = _workflow(options)
    if options.yaml:
        print(written(workflow), end="")
        return 0
    plan = plan_of(workflow)
    for number, names in enumerate(plan.levels, 1):
        for name in names:
            needs = ", ".join(plan.needs[name])
            body = workflow.task(name).body().model_dump(exclude_none=True)
            after = f"  after {needs}" if needs else ""
            print(f"{number}  {name:<24}{workflow.task(name).task:<18}{json.dumps(body)}{after}")
    return 0


def _run(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.runs.launch import progress_bar
    from forecast_platform.runs.workflows import run_here, status, submit

    workflow = submit(settings, _text(options), options.file.name)
    with progress_bar(workflow.context.name):
        done = run_here(settings, workflow, print)
    for one in status(settings, workflow):
        print(_line(one))
    for message in done.messages:
        print(message, file=sys.stderr)
    if done.canceled:
        raise KeyboardInterrupt
    print(f"run {done.run_id}: {'done' if done.success else 'failed; run it again, what is finished is kept'}")
    return 0 if done.success else 1


def _line(one: Any) -> str:
    spent = "" if one.seconds is None else f"{one.seconds:9.1f} s"
    said = [f"run {one.run_id}" if one.run_id else "", f"webhook: {one.report}" if one.report else "", one.error]
    rest = "".join(f"  {text}" for text in said if text)
    return f"{one.task:<24}{one.state:<10}{one.attempts:>3} tries{spent:>12}{rest}"


def _status(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.runs.workflows import status

    found = status(settings, _workflow(options))
    for one in found:
        print(_line(one))
    return 0 if all(one.state == "finished" for one in found) else 1


def _results(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.runs.workflows import report, results, results_text

    workflow = _workflow(options)
    found = results(settings, workflow)
    page = report(settings, workflow)
    if options.json:
        print(results_text(found))
        return 0
    for name, task in found["tasks"].items():
        print(f"{name:<24}{'  '.join(f'{label} {value:.4g}' for label, value in task['scores'].items())}")
        for member in task["members"]:
            if member["chosen"]:
                first = next(iter(member["scores"].items()))
                weight = "" if member["weight"] is None else f"  weight {member['weight']:.3f}"
                print(f"    {member['name']:<30}{first[0]} {first[1]:.4g}{weight}")
        if task["verdict"]:
            print(f"    {task['verdict']}")
        for note in task["notes"]:
            if note != task["verdict"]:
                print(f"    {note}")
    print(f"deployed: {found['result']['task']}; report {page}")
    return 0


def _export(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.runs.workflows import export

    print(export(settings, _workflow(options), options.to))
    return 0


def _import(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.runs.workflows import folder_of, submit

    workflow = submit(settings, _text(options), options.file.name)
    print(f"{folder_of(settings) / (workflow.context.slug + '.yaml')}: reload the code location to see its assets")
    path = workflow.context.source.path
    if path is not None and not Path(path).expanduser().is_absolute():
        print(f"note: source.path {path!r} is looked for where runs start: name the whole path, or start them there")
    return 0


def _schema(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.ensembles.reading import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0
