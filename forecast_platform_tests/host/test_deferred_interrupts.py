"""An interrupt that Python would forget is raised all the same."""

from __future__ import annotations

import signal
import threading

import pytest

from forecast_platform.host.deferred_interrupts import deferred_interrupts, telling


class Finalized:
    """What an interrupt meets in its finalizer."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def lose_one() -> None:
    thing = Finalized()
    del thing


def _fail_after_losing_one() -> None:
    lose_one()
    raise ValueError("for instance, the token has expired meanwhile")


pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_python_forgets_an_interrupt_that_comes_in_a_finalizer() -> None:
    lose_one()


def test_it_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        lose_one()


def test_it_is_raised_in_place_of_an_error_that_came_after_it() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        _fail_after_losing_one()


def test_an_interrupt_that_is_not_lost_is_raised_once_and_an_error_stays_itself() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ValueError, match="itself"), deferred_interrupts():
        raise ValueError("itself")
    with deferred_interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_one_is_told_before_the_interrupt_goes_its_way_and_other_threads_take_no_signals() -> None:
    told: list[int] = []
    with pytest.raises(KeyboardInterrupt), telling(told.append):
        signal.raise_signal(signal.SIGINT)
    assert told == [signal.SIGINT]
    seen: list[object] = []

    def beside() -> None:
        with telling(told.append):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
