"""What every command shares: a line on the terminal, and arguments that are days and ports."""

from __future__ import annotations

import argparse
import datetime as dt


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def day(text: str) -> dt.date:
    """A day such as 2022-12-30, as an argument of the command line. Raises ArgumentTypeError for anything else."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2022-12-30") from error


def port(text: str) -> int:
    """The number of a port, as an argument of the command line.

    Raises ArgumentTypeError for what is no number from 0 to 65535.
    """
    if not text.isdecimal() or not int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return int(text)
