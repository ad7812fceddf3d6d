"""Libraries kept quiet by several threads at once: the process is as before once the last one is out."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings

import pytest

from forecast_platform.models.quiet import quiet


def test_the_process_is_as_before_in_whichever_order_threads_leave(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("lightning.pytorch")
    level, filters, stdout = logger.level, list(warnings.filters), sys.stdout
    first, second = threading.Event(), threading.Event()

    def one() -> None:
        with quiet():
            first.set()
            second.wait(10)

    thread = threading.Thread(target=one)
    thread.start()
    assert first.wait(10)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        second.set()
        thread.join(10)
        # Still quiet although the thread that came first has left.
        assert logger.level == logging.ERROR
        with warnings.catch_warnings(record=True) as said:
            warnings.warn("advice", stacklevel=1)
        assert not said
        print("progress of the command")  # noqa: T201 - another thread's own words are not the library's
    assert "progress of the command" in capsys.readouterr().out
    assert (logger.level, list(warnings.filters), sys.stdout) == (level, filters, stdout)


def test_it_is_left_by_an_error_too() -> None:
    filters = list(warnings.filters)
    with pytest.raises(ValueError, match="of the library"), quiet():
        raise ValueError("of the library")
    assert list(warnings.filters) == filters


def test_what_a_library_prints_is_dropped_in_its_own_thread_alone(capsys: pytest.CaptureFixture[str]) -> None:
    stdout, printing, done = sys.stdout, threading.Event(), threading.Event()

    def library() -> None:
        with quiet(prints=False):
            print("epoch 1")  # noqa: T201 - the library's
            printing.set()
            done.wait(10)
            print("epoch 2")  # noqa: T201 - the library's
        print("the thread's own, afterwards")  # noqa: T201

    thread = threading.Thread(target=library)
    thread.start()
    assert printing.wait(10)
    with quiet(prints=False):
        print("another library's")  # noqa: T201
    print("the command's")  # noqa: T201
    done.set()
    thread.join(10)
    assert sys.stdout is stdout
    assert capsys.readouterr().out == "the command's\nthe thread's own, afterwards\n"
