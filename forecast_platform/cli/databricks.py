"""The `databricks` commands: deploy, submit, monitor, errors, cancel, with no Dagster running."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from forecast_platform.cli.terminal import day, say
from forecast_platform.settings import Settings

if TYPE_CHECKING:
    from forecast_platform.clients.databricks.connection import Connection
    from forecast_platform.clients.databricks.monitor import Ended

OK, FAILED, INTERRUPTED = 0, 1, 130


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `databricks` and what follows it."""
    parser = commands.add_parser("databricks", help="deploy to a workspace, submit runs, watch and explain them")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    deploy = verbs.add_parser("deploy", help="upload the package, the notebooks and the cluster's settings")
    deploy.add_argument("--wheel", type=Path, help="upload this wheel instead of the package as it is here")
    deploy.set_defaults(command=_guarded(_deploy))

    wheel = verbs.add_parser("wheel", help="write the wheel that clusters install, for bundles and by hand")
    wheel.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write it to")
    wheel.set_defaults(command=_wheel)

    submit = verbs.add_parser("submit", help="start a training, backfill or inference run; exit code by its outcome")
    submit.add_argument("action", choices=("train", "backfill", "infer"))
    submit.add_argument("--commodity", nargs="+", metavar="SERIES", help="series (default: all configured there)")
    submit.add_argument("--models", nargs="+", metavar="MODEL", help="models (default: all configured there)")
    submit.add_argument(
        "--model-version-tag",
        metavar="TAG",
        help="version tag (default: the configured one; for train and infer without dates, those that readers follow)",
    )
    submit.add_argument("--start-date", type=day, help="first date (train: default the current window)")
    submit.add_argument("--end-date", type=day, help="last date (default: what the data allow)")
    submit.add_argument("--train", action="store_true", help="a training task first, for windows without a model")
    submit.add_argument("--overwrite", action="store_true", help="make anew what is there and unchanged")
    submit.add_argument("--compute", help="compute of the task, such as local or spark (default: the notebook's)")
    place = submit.add_mutually_exclusive_group()
    place.add_argument("--cluster", metavar="ID", help="run on this existing cluster")
    place.add_argument("--serverless", action="store_true", help="run on serverless compute")
    submit.add_argument("--no-wait", action="store_true", help="return as soon as it is submitted")
    submit.set_defaults(command=_guarded(_submit))

    for verb, function, text in (
        ("monitor", _monitor, "watch a run until it is over; exit code by its outcome"),
        ("errors", _errors, "why each task of a run failed, and what to do; saves the log"),
        ("cancel", _cancel, "end a run"),
    ):
        one = verbs.add_parser(verb, help=text)
        one.add_argument("run_id", type=int, metavar="RUN_ID")
        one.set_defaults(command=_guarded(function))


def _guarded(
    function: Callable[[argparse.Namespace, Settings, Connection], int],
) -> Callable[[argparse.Namespace, Settings], int]:
    """The command with its connection, and the workspace's errors as messages."""

    def command(options: argparse.Namespace, settings: Settings) -> int:
        from forecast_platform.clients.databricks.connection import Connection, DatabricksError

        try:
            return function(options, settings, Connection(settings.databricks))
        except DatabricksError as error:
            say(f"forecast-platform: {error}")
            return FAILED

    return command


def _deploy(options: argparse.Namespace, settings: Settings, connection: Connection) -> int:
    from forecast_platform.clients.databricks.deploy import deploy

    deployed = deploy(connection, say, wheel=options.wheel)
    say(f"deployed forecast-platform {deployed.version} to {connection.host}{deployed.folder}")
    if deployed.config is None:
        say("no settings file: set databricks.config, or give the cluster FORECAST_PLATFORM_ variables")
    return OK


def _wheel(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.clients.databricks.deploy import build_wheel
    from forecast_platform.host.files import write_whole

    name, content = build_wheel()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_whole(options.folder / name, content, 0o644)
    # A bundle installs every wheel of this folder, and the version in their names tells one source from another.
    for old in sorted(options.folder.glob("forecast_platform-*.whl")):
        if old.name != name:
            old.unlink()
            say(f"removed {old.name}: one wheel a folder is what a bundle installs")
    say(str(options.folder / name))
    return OK


def _submit(options: argparse.Namespace, settings: Settings, connection: Connection) -> int:
    from forecast_platform.clients.databricks.deploy import deployment
    from forecast_platform.clients.databricks.submit import Actions, Ledger, submit

    parameters = {
        "commodity": ",".join(options.commodity or ()),
        "models": ",".join(options.models or ()),
        "start_date": str(options.start_date or ""),
        "end_date": str(options.end_date or ""),
        "model_version_tag": options.model_version_tag or "",
        "overwrite": "true" if options.overwrite else "",
        "compute": options.compute or "",
    }
    first = ("train",) if options.train and options.action != "train" else ()
    if first and options.action == "backfill" and not options.start_date:
        # Alone, training without a date is for today's window; here it is for all that are forecast.
        parameters["start_date"] = "first"
    request = Actions(
        actions=(*first, options.action),
        parameters={name: value for name, value in parameters.items() if value},
        serverless=options.serverless,
        cluster_id=options.cluster,
    )
    done = submit(connection, deployment(connection), request, Ledger(_folder(settings) / "submitted.json"))
    say(f"run {done.run_id} " + ("submitted" if done.started else "is the same request and still going on: attached"))
    if not done.started:
        say(f"it works with what was deployed when it was submitted; to begin anew: databricks cancel {done.run_id}")
    if options.no_wait:
        say(f"watch it with: forecast-platform databricks monitor {done.run_id}")
        return OK
    return _watch(settings, connection, done.run_id)


def _monitor(options: argparse.Namespace, settings: Settings, connection: Connection) -> int:
    connection.call("looking at the run", lambda: connection.client.jobs.get_run(options.run_id))
    return _watch(settings, connection, options.run_id)


def _watch(settings: Settings, connection: Connection, run_id: int) -> int:
    from forecast_platform.clients.databricks.connection import DatabricksError
    from forecast_platform.clients.databricks.watch import watch

    why = ""
    try:
        ended = watch(connection, run_id, say)
    except KeyboardInterrupt:
        pass
    except DatabricksError as error:
        why = f"forecast-platform: {error}"
    else:
        return _conclude(settings, connection, ended)
    say(
        f"{why}\nno longer watched; run {run_id} goes on. Watch it again with `forecast-platform databricks monitor "
        f"{run_id}`, end it with `forecast-platform databricks cancel {run_id}`"
    )
    return INTERRUPTED


def _conclude(settings: Settings, connection: Connection, ended: Ended) -> int:
    say(f"run {ended.run_id}: {ended.result}{': ' + ended.message if ended.message else ''}")
    if ended.success:
        return OK
    _explain(settings, connection, ended.run_id, ended.result)
    return FAILED


def _explain(settings: Settings, connection: Connection, run_id: int, result: str) -> bool:
    from forecast_platform.clients.databricks.monitor import error_text, errors, full_log

    found = errors(connection, run_id)
    for error in found:
        say("\n" + error_text(error))
    path = _folder(settings) / "logs" / f"{run_id}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(full_log({"run": run_id, "result": result, "workspace": connection.host}, found))
    say(f"\nlog: {path}")
    return bool(found)


def _errors(options: argparse.Namespace, settings: Settings, connection: Connection) -> int:
    from forecast_platform.clients.databricks.monitor import ENDED, life_of, result_of

    run = connection.call("looking at the run", lambda: connection.client.jobs.get_run(options.run_id))
    if life_of(run) not in ENDED:
        say(f"run {options.run_id} is {life_of(run)}; of the tasks that are over:")
    if not _explain(settings, connection, options.run_id, result_of(run)):
        say(f"run {options.run_id}: {result_of(run)}, no errors")
        return OK
    return FAILED


def _cancel(options: argparse.Namespace, settings: Settings, connection: Connection) -> int:
    from forecast_platform.clients.databricks.monitor import cancel

    ended = cancel(connection, options.run_id)
    say(f"run {ended.run_id}: {ended.result}{': ' + ended.message if ended.message else ''}")
    return OK


def _folder(settings: Settings) -> Path:
    return settings.warehouse / "_databricks"
