"""Work that must end: done in a process of its own, which is ended after a number of seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ProcessEndedError(RuntimeError):
    """The process ended without an answer; the message has its exit code."""


def within(seconds: float, work: Callable[[Any], Any], given: Any) -> Any:
    """What `work(given)` gives, both importable and picklable; its exceptions are raised here.

    Raises TimeoutError once the process was ended, ProcessEndedError where it ended by itself.
    """
    from multiprocessing import get_context

    context = get_context("spawn")  # delta-rs does not survive a fork
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, given))
    process.start()
    sender.close()
    try:
        if not answer.poll(seconds):
            raise TimeoutError(f"it took over {seconds:g} s")
        good, value = answer.recv()
    except EOFError:
        process.join()
        raise ProcessEndedError(f"its process ended with code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        answer.close()
    if not good:
        raise value
    return value


def _send(sender: Any, work: Callable[[Any], Any], given: Any) -> None:
    try:
        sender.send((True, work(given)))
    except Exception as error:  # noqa: BLE001 - raised again where it was asked for
        sender.send((False, error))
