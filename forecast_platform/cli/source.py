"""`forecast-platform source check FILE`: what would be read of a file, before it is put into the landing folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from forecast_platform.settings import Settings


def register(commands: Any) -> None:
    """Add the commands of this module to the command line's subparsers."""
    source = commands.add_parser("source", help="look at files before they are read")
    actions = source.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="format, rows, span, step, unit and what is left out; exit code 1 if refused"
    )
    check.add_argument("file", type=Path, help="a market, macro or weather file, anywhere")
    check.add_argument("--kind", choices=("market", "macro", "weather"), help="what it is (default: as it looks)")
    check.add_argument("--series", metavar="SERIES", help="read it by the columns, dates and exchange of this series")
    check.set_defaults(command=lambda options, settings: 0 if check_file(settings, options) else 1, looks=True)


def check_file(settings: Settings, options: argparse.Namespace) -> bool:
    """Print what would be read of a file; False where it would be refused."""
    from forecast_platform.sources.inspection import inspect, picture

    series = settings.series_named(options.series) if options.series else None
    found = inspect(options.file, settings, series, options.kind)
    for name, value in found.facts.items():
        print(f"{name:<10} {value}")
    for text in found.said:
        print(f"{'':<10} - {text}")
    for rejection in found.rejections:
        print(f"{'refused':<10} {rejection}")
    if found.sample:
        print()
        for row in found.sample:
            print("  ".join(row))
    if len(found.values):
        print(f"\n{found.column}, {found.first} to {found.last}:")
        print("\n".join(picture(found.values)))
    print("\nit would be refused" if found.rejections else "\nit would be read")
    return not found.rejections
