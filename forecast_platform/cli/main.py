"""The command line: the same operations as the UI, recorded by the same Dagster instance."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from forecast_platform import __version__
from forecast_platform.cli import databricks, ensemble, house, language, servers, source, views
from forecast_platform.cli.terminal import day
from forecast_platform.settings import Settings, SettingsError, load

OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST}
"""What a folder or disk refuses: nothing that a traceback would tell more about."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 all done, 1 something failed or is missing, 2 wrong request."""
    from forecast_platform.host.disk import full_disk
    from forecast_platform.host.memory import collect_seldom, lean_allocators
    from forecast_platform.host.private_files import restrict
    from forecast_platform.housekeeping import HousekeepingError, in_use
    from forecast_platform.housekeeping.restore import complete_restore
    from forecast_platform.read import NoForecastError
    from forecast_platform.runs.operations import UsageError
    from forecast_platform.sources.base import SourceError
    from forecast_platform.warehouse.base import WarehouseError
    from forecast_platform.work.platform import NoDataError

    options = _parser().parse_args(arguments)
    collect_seldom()
    lean_allocators()
    try:
        settings = load()
        restrict(settings)
        for text in complete_restore(settings):
            print(text, file=sys.stderr)
        with nullcontext() if "exchanges" in options else in_use(settings, looks="looks" in options):
            return int(options.command(options, settings))
    except (SettingsError, UsageError) as error:
        _say_error(error)
        return WRONG
    except (HousekeepingError, NoDataError, NoForecastError, SourceError, WarehouseError) as error:
        _say_error(error)
        return FAILED
    except KeyboardInterrupt:
        _say_error("interrupted: what was written is kept; run the command again to complete it")
        return INTERRUPTED
    except Exception as error:
        if (full := full_disk(error)) is not None:
            _say_error(f"{full}; what was written is kept")
            return FAILED
        if not isinstance(error, OSError) or error.errno not in _NOT_OURS or error.filename is None:
            raise
        _say_error(
            f"{error.filename}: {error.strerror}: make it writable for this account, or choose another folder "
            "(FORECAST_PLATFORM_WAREHOUSE, DAGSTER_HOME); `forecast-platform doctor` looks at each"
        )
        return FAILED


def _say_error(error: object) -> None:
    print(f"forecast-platform: {error}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forecast-platform", description="Probabilistic commodity forecasts: train once, infer many."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    quickstart = commands.add_parser("quickstart", help="ingest, train, forecast recent windows, evaluate, report")
    quickstart.add_argument("--models", nargs="+", metavar="MODEL", help="models to run (default: three quick ones)")
    quickstart.set_defaults(command=_quickstart)

    train = commands.add_parser("train", help="fit models on training windows")
    _selection(train)
    _span(train)
    train.add_argument("--train-frequency", help="must be the configured one, which the partitions are made of")
    train.add_argument("--overwrite", action="store_true", help="fit again what is there and unchanged")
    train.set_defaults(command=_train)

    backfill = commands.add_parser("backfill", help="forecast a range of dates with trained models, then score them")
    _selection(backfill)
    _span(backfill)
    backfill.add_argument("--train", action="store_true", help="train the windows that have no model first")
    backfill.add_argument("--overwrite", action="store_true", help="replace what is there and unchanged")
    backfill.add_argument("--no-score", action="store_true", help="leave scoring to a later run")
    _accept(backfill)
    backfill.set_defaults(command=_backfill)

    infer = commands.add_parser("infer", help="forecast one date, all series of a group in one run")
    _selection(infer)
    infer.add_argument("--date", type=day, help="forecast date (default: today; the last one of data that have ended)")
    infer.add_argument("--train", action="store_true", help="train the windows that have no model first")
    infer.add_argument("--overwrite", action="store_true", help="replace what is there and unchanged")
    _accept(infer)
    infer.set_defaults(command=_infer)

    coverage = commands.add_parser("coverage", help="dates of the models in use, and gaps; exit code 1 with gaps")
    _selection(coverage)
    coverage.set_defaults(command=_coverage, looks=True)

    evaluate = commands.add_parser("evaluate", help="metrics by model and horizon, skill against naive")
    _selection(evaluate)
    evaluate.add_argument(
        "--all", action="store_true", help="over every series of the tables together, also of other code locations"
    )
    evaluate.set_defaults(command=_evaluate)

    _judging(commands)

    servers.register(commands)

    doctor = commands.add_parser("doctor", help="check installation, settings, warehouse, tracking, disk")
    doctor.add_argument(
        "--deep", action="store_true", help="also compare every byte of the tables with what was written"
    )
    doctor.set_defaults(command=_doctor, looks=True)

    house.register(commands)
    databricks.register(commands)
    source.register(commands)
    views.register(commands)
    ensemble.register(commands)
    language.register(commands)
    return parser


def _judging(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What only looks, and what decides which model is followed."""
    plan = commands.add_parser("plan", help="what a backfill would do: runs, dates, missing models, time, disk")
    _selection(plan)
    _span(plan)
    plan.add_argument("--overwrite", action="store_true", help="as if the backfill were to replace what is there")
    plan.add_argument(
        "--ui",
        action="store_true",
        help="also say which runs the UI would launch for these dates (years of them take it minutes)",
    )
    plan.set_defaults(command=_plan, looks=True)

    compare = commands.add_parser("compare", help="which of two versions is better, by how much, how sure")
    compare.add_argument("versions", nargs=2, metavar="VERSION", help="the version in place, and its rival")
    _series(compare)
    compare.add_argument("--models", nargs="+", metavar="MODEL", help="models (default: all configured)")
    compare.set_defaults(command=_compare, looks=True)

    promote = commands.add_parser("promote", help="make a model and version the one that readers follow")
    promote.add_argument("--commodity", required=True, metavar="SERIES", help="series")
    promote.add_argument("--model", required=True, help="model")
    promote.add_argument("--model-version-tag", metavar="TAG", help="version tag (default: the configured one)")
    promote.add_argument("--why", required=True, help="what speaks for it; kept in the champions table")
    promote.add_argument("--force", action="store_true", help="also where the newest date has no forecast of it")
    promote.set_defaults(command=_promote)

    rollback = commands.add_parser("rollback", help="go back to the champion before")
    rollback.add_argument("--commodity", required=True, metavar="SERIES", help="series")
    rollback.add_argument("--why", default="", help="the reason; kept in the champions table")
    rollback.add_argument("--force", action="store_true", help="also where the newest date has no forecast of it")
    rollback.set_defaults(command=_rollback)


def _series(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--commodity", nargs="+", metavar="SERIES", help="series, or all (default: all configured)")
    parser.add_argument("--group", nargs="+", metavar="GROUP", help="the series of these groups (setting groups)")


def _selection(parser: argparse.ArgumentParser) -> None:
    _series(parser)
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="models (default: all configured)")
    parser.add_argument("--model-version-tag", metavar="TAG", help="version tag (default: the configured one)")


def _span(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start-date", type=day, help="first forecast date (default: the configured start)")
    parser.add_argument("--end-date", type=day, help="last forecast date (default: the day after the last data)")


def _accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept",
        type=day,
        nargs="+",
        default=(),
        metavar="DATE",
        help="the closes of these days were looked at and are right, however odd (as setting `confirmed` of a series)",
    )


def _quickstart(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.forecasts import quickstart

    return OK if quickstart(settings, options.models) else FAILED


def _train(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.forecasts import train

    return OK if train(settings, options) else FAILED


def _backfill(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.forecasts import accepting, backfill

    return OK if backfill(accepting(settings, options), options) else FAILED


def _infer(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.forecasts import accepting, infer

    return OK if infer(accepting(settings, options), options) else FAILED


def _coverage(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.forecasts import show_coverage

    return OK if show_coverage(settings, options) else FAILED


def _evaluate(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.forecasts import evaluate

    return OK if evaluate(settings, options) else FAILED


def _plan(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.models import plan

    return OK if plan(settings, options) else FAILED


def _compare(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.models import compare

    return OK if compare(settings, options) else FAILED


def _promote(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.models import promote

    return OK if promote(settings, options) else FAILED


def _rollback(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.cli.models import rollback

    return OK if rollback(settings, options) else FAILED


def _doctor(options: argparse.Namespace, settings: Settings) -> int:
    from forecast_platform.doctor.examine import examine

    return OK if examine(settings, deep=options.deep) else FAILED


if __name__ == "__main__":
    sys.exit(main())
