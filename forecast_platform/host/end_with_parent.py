"""Runs a module as a program that ends with whoever started it.

`python -m forecast_platform.host.end_with_parent MODULE ARGUMENT...`

Standard input is the leash: a pipe that the starting process holds. When it closes it, or dies of whatever cause, the
module gets the interrupt that Ctrl-C would give it. No process is left behind, not even after a kill.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """Interrupt this process once its standard input ends."""
    leash = os.dup(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)

    def wait() -> None:
        while os.read(leash, 1024):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    # A process started in the background of a shell script inherits that interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=wait, name="leash", daemon=True).start()


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    end_with_parent()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
