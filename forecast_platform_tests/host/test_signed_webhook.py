"""Signed posts: the signature is the standard's, tries are bounded, and what a receiver does raises nothing."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from forecast_platform.host import signed_webhook
from forecast_platform.host.signed_webhook import deliver, signature
from forecast_platform_tests.receivers import Receiver, receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_the_standard_s_own_example() -> None:
    found = signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.fixture
def there():
    with receiver() as found:
        yield found


def test_a_post_that_fails_is_tried_again_under_the_same_id_and_no_more_than_told(there: Receiver) -> None:
    there.answers = [500, 503, 200]
    slept: list[float] = []
    assert deliver(there.url, SECRET, {"task": "ä"}, (1.0, 3.0), slept.append) is None
    assert slept == [1.0, 3.0]
    [ids, bodies] = [{one[place] for one in there.got} for place in (0, 1)]
    assert len(there.got) == 3
    assert len(ids) == 1
    assert [json.loads(body) for body in bodies] == [{"task": "ä"}]
    assert all(there.verified(SECRET)), "each try is signed with its own time"

    there.answers = [500] * 9
    assert deliver(there.url, SECRET, {}, (0.0, 0.0), slept.append) == "the receiver answered 500"
    assert len(there.got) == 6


@pytest.mark.parametrize("answer", [404, 302])
def test_what_no_other_try_would_change_is_tried_once(there: Receiver, answer: int) -> None:
    there.answers = [answer, 200]
    assert deliver(there.url, SECRET, {}, (0.0,)) == f"the receiver answered {answer}"
    assert len(there.got) == 1


def test_a_receiver_that_is_away_or_slow_is_told_of_without_its_address(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_webhook, "SECONDS", 0.1)
    there.delay = 0.6
    slow = deliver(there.url, SECRET, {}, ())
    away = deliver("http://127.0.0.1:9/hook-of-ours", SECRET, {}, ())
    wrong = deliver("http://127.0.0.1:port/hook-of-ours", SECRET, {}, ())
    assert slow == "the receiver did not answer: TimeoutError"
    assert away == "the receiver cannot be reached: ConnectionRefusedError"
    assert "hook-of-ours" not in f"{wrong}"
    assert wrong is not None


def test_who_takes_it_and_goes_on_writing_does_not_hold_us() -> None:
    let_go = threading.Event()

    def answering(listening: socket.socket) -> bool:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
            for _ in range(500):
                if let_go.wait(0.02):
                    return True
                with contextlib.suppress(OSError):
                    connection.sendall(b".")
        return False

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        told = pool.submit(answering, listening)
        assert deliver(f"http://127.0.0.1:{listening.getsockname()[1]}/hook", SECRET, {}, ()) is None
        let_go.set()
        assert told.result(), "it had not written all when we went on"
