"""Problems become one message each, whoever takes them and however often they are looked for."""

from __future__ import annotations

import datetime as dt
import http.server
import itertools
import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from forecast_platform.graph.automation.messages import Message, Problem
from forecast_platform.graph.automation.notifiers import (
    EmailNotifier,
    LogNotifier,
    NotifierError,
    SlackNotifier,
    WebhookNotifier,
    notifiers_of,
)
from forecast_platform.graph.automation.problems import AlertBook
from forecast_platform.settings import EmailSettings, SettingsError, build

PROBLEM = Problem(
    key="late/Coffee",
    what="Coffee: the close of 2021-03-08 is <not> in the source",
    since="2021-03-09 11:00 PST",
    affected="forecasts of 2021-03-09",
    cause="the newest prices have not arrived",
    mend="look at the feed",
)
OPEN = Message(PROBLEM, False, "2021-03-09T19:00:00+00:00")
OVER = Message(PROBLEM, True, "2021-03-09T22:00:00+00:00")


class Kept:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.broken = False

    def send(self, message: Message) -> None:
        if self.broken:
            raise ConnectionError("no route to host")
        self.messages.append(message)

    @property
    def titles(self) -> list[str]:
        return [message.title.split(":")[0] for message in self.messages]


@pytest.fixture
def book(tmp_path: Path) -> AlertBook:
    return AlertBook(tmp_path / "_alerts", lambda: dt.datetime(2021, 3, 9, 19, tzinfo=dt.timezone.utc))


def test_a_problem_is_told_once_and_its_end_once(book: AlertBook) -> None:
    kept = Kept()
    for found in ([PROBLEM], [PROBLEM], [PROBLEM], [], []):
        book.report("daily", found)
        book.deliver([("kept", kept)])
    assert kept.titles == ["ERROR", "RESOLVED"]
    assert book.open_problems() == []


def test_a_problem_that_becomes_worse_is_told_again_with_its_newer_text_and_once(tmp_path: Path) -> None:
    now = itertools.count()
    book = AlertBook(tmp_path, lambda: dt.datetime(2021, 3, 9, next(now), tzinfo=dt.timezone.utc))
    kept, mild = Kept(), replace(PROBLEM, severity="warning", what="made from old data")
    worse = replace(PROBLEM, severity="error", what="none is made")
    for found in ([mild], [mild], [worse], [worse], [mild], [worse], []):
        book.report("daily", found)
        book.deliver([("kept", kept)])
    assert kept.titles == ["WARNING", "ERROR", "RESOLVED"]
    assert [one.problem.what for one in kept.messages] == ["made from old data", "none is made", "none is made"]
    assert kept.messages[0].at < kept.messages[1].at, "when it became worse"


def test_a_book_of_an_earlier_version_tells_no_problem_again_that_becomes_better(book: AlertBook) -> None:
    kept = Kept()
    book.report("daily", [PROBLEM])
    book.deliver([("kept", kept)])
    entries = json.loads(book.path.read_text())
    for entry in entries.values():
        del entry["worst"], entry["worse"]
    book.path.write_text(json.dumps(entries))
    book.report("daily", [replace(PROBLEM, severity="warning")])
    book.deliver([("kept", kept)])
    assert kept.titles == ["ERROR"]


def test_what_another_problem_explains_is_told_only_where_it_outlasts_it(book: AlertBook) -> None:
    kept, missing = Kept(), replace(PROBLEM, key="missing/v1.0", what="no forecast", because=("late/Coffee",))
    for found in ([PROBLEM], [missing, PROBLEM]):
        book.report("daily", found)
        book.deliver([("kept", kept)])
    assert kept.titles == ["ERROR"]
    book.report("daily", [missing])
    book.deliver([("kept", kept)])
    assert [(one.problem.key, one.resolved) for one in kept.messages[1:]] == [
        ("late/Coffee", True),
        ("missing/v1.0", False),
    ]


def test_what_another_problem_explains_ends_with_it_without_a_word(book: AlertBook) -> None:
    kept, missing = Kept(), replace(PROBLEM, key="missing/v1.0", because=("late/Coffee",))
    for found in ([PROBLEM, missing], []):
        book.report("daily", found)
        book.deliver([("kept", kept)])
    assert [one.problem.key for one in kept.messages] == ["late/Coffee", "late/Coffee"]
    assert json.loads(book.path.read_text()) == {}


def test_the_end_of_a_problem_is_said_in_the_platforms_zone(tmp_path: Path) -> None:
    kept = Kept()
    moment = dt.datetime(2021, 3, 9, 22, tzinfo=dt.timezone.utc)
    book = AlertBook(tmp_path, lambda: moment, "America/Los_Angeles")
    for found in ([PROBLEM], []):
        book.report("daily", found)
        book.deliver([("kept", kept)])
    assert "over since: 2021-03-09 14:00 PST" in kept.messages[1].text()


def test_a_problem_that_comes_back_is_told_again(book: AlertBook) -> None:
    kept = Kept()
    for found in ([PROBLEM], [], [PROBLEM]):
        book.report("daily", found)
        book.deliver([("kept", kept)])
    assert kept.titles == ["ERROR", "RESOLVED", "ERROR"]


def test_a_restart_repeats_no_message(book: AlertBook, tmp_path: Path) -> None:
    kept = Kept()
    book.report("daily", [PROBLEM])
    book.deliver([("kept", kept)])
    again = AlertBook(tmp_path / "_alerts", lambda: dt.datetime(2021, 3, 10, tzinfo=dt.timezone.utc))
    again.report("daily", [PROBLEM])
    again.deliver([("kept", kept)])
    assert kept.titles == ["ERROR"]


def test_sections_do_not_end_one_another_and_kept_problems_stay(book: AlertBook) -> None:
    book.report("daily", [PROBLEM])
    book.report("runs", [])
    assert book.open_problems() == [PROBLEM]
    book.report("daily", [], keep={PROBLEM.key})
    assert book.open_problems() == [PROBLEM]


def test_a_notifier_that_fails_loses_no_alert_and_stops_no_other(book: AlertBook) -> None:
    broken, kept = Kept(), Kept()
    broken.broken = True
    notifiers = [("broken", broken), ("kept", kept)]
    book.report("daily", [PROBLEM])
    assert book.deliver(notifiers) == ["notifier broken: ConnectionError: no route to host"]
    assert kept.titles == ["ERROR"]
    book.report("daily", [])
    assert len(book.deliver(notifiers)) == 1
    broken.broken = False
    for _ in range(3):
        assert book.deliver(notifiers) == []
    assert broken.titles == ["ERROR", "RESOLVED"]
    assert kept.titles == ["ERROR", "RESOLVED"]


def test_a_message_that_is_refused_keeps_no_other_back(book: AlertBook) -> None:
    class Picky(Kept):
        def send(self, message: Message) -> None:
            if "Coffee" in message.problem.what:
                raise NotifierError("webhook answered 413 Too Large", refused=True)
            super().send(message)

    picky = Picky()
    book.report("daily", [replace(PROBLEM, key="a", what="Coffee is late"), replace(PROBLEM, key="b", what="Sugar is")])
    [failure] = book.deliver([("picky", picky)])
    assert failure == "notifier picky, ERROR: Coffee is late: NotifierError: webhook answered 413 Too Large"
    assert picky.titles == ["ERROR"]
    assert len(book.deliver([("picky", picky)])) == 1, "it is tried, and said, again"
    assert picky.titles == ["ERROR"], "what was taken is not sent again"
    book.report("daily", [])
    assert len(book.deliver([("picky", picky)])) == 1
    assert book.deliver([("picky", picky)]) == [], "it ends with its problem"
    assert picky.titles == ["ERROR", "RESOLVED"]


def test_a_damaged_book_is_set_aside_and_alerts_go_on(book: AlertBook) -> None:
    book.report("daily", [PROBLEM])
    book.path.write_text('{"late/Coffee": {"probl')
    kept = Kept()
    book.report("daily", [PROBLEM])
    book.deliver([("kept", kept)])
    assert kept.titles == ["ERROR"]
    assert book.path.with_suffix(".damaged").exists()


def test_a_message_says_what_since_when_what_is_affected_why_and_the_mend() -> None:
    text = OPEN.text()
    for part in (PROBLEM.what, PROBLEM.since, PROBLEM.affected, PROBLEM.cause, PROBLEM.mend):
        assert part in text


def test_the_log_is_told_at_the_level_of_the_problem(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "forecast_platform")
    LogNotifier().send(OPEN)
    LogNotifier().send(OVER)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.INFO]
    assert "look at the feed" in caplog.text


@pytest.fixture
def web() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A web server that keeps what is posted; /refuse/STATUS answers that."""
    posted: list[dict[str, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append({"type": self.headers["Content-Type"], **json.loads(body)})
            status = self.path.removeprefix("/refuse/")
            self.send_response(200 if status == self.path else int(status) if status.isdigit() else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


def test_a_webhook_gets_the_problem_as_json(web: tuple[str, list[dict[str, object]]]) -> None:
    url, posted = web
    WebhookNotifier(f"{url}/hook").send(OPEN)
    WebhookNotifier(f"{url}/hook").send(OVER)
    first, second = posted
    assert (first["status"], first["key"], first["mend"]) == ("open", "late/Coffee", "look at the feed")
    assert first["type"] == "application/json"
    assert second["status"] == "resolved"


def test_slack_gets_one_text_with_its_special_characters_escaped(web: tuple[str, list[dict[str, object]]]) -> None:
    url, posted = web
    SlackNotifier(f"{url}/services/T/B/secret").send(OPEN)
    assert set(posted[0]) == {"type", "text"}
    assert "is &lt;not&gt; in the source" in str(posted[0]["text"])


def test_a_webhook_that_refuses_is_an_error_that_names_no_address(web: tuple[str, list[dict[str, object]]]) -> None:
    notifier = SlackNotifier(f"{web[0]}/refuse/secret-part")
    with pytest.raises(NotifierError, match="slack answered 403") as caught:
        notifier.send(OPEN)
    with pytest.raises(NotifierError, match="cannot be reached") as unreachable:
        WebhookNotifier("http://127.0.0.1:9/secret-part").send(OPEN)
    for text in (str(caught.value), str(unreachable.value), repr(notifier), str(caught.value.__cause__)):
        assert "secret-part" not in text


@pytest.mark.parametrize(("status", "refused"), [(400, True), (413, True), (403, False), (429, False), (503, False)])
def test_an_answer_tells_a_message_that_is_refused_from_a_server_that_refuses(
    web: tuple[str, list[dict[str, object]]], status: int, refused: bool
) -> None:
    with pytest.raises(NotifierError, match=f"slack answered {status}") as caught:
        SlackNotifier(f"{web[0]}/refuse/{status}").send(OPEN)
    assert caught.value.refused is refused


class _Smtp(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to hand over one mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper()
            if word == b"EHLO":
                self.wfile.write(b"250-test\r\n250 AUTH PLAIN LOGIN\r\n")
            elif word == b"AUTH":
                self.wfile.write(b"535 5.7.8 no such user hunter2\r\n")
            elif word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                mail = []
                while (row := self.rfile.readline()) not in (b".\r\n", b""):
                    mail.append(row.decode())
                self.server.mails.append("".join(mail))  # type: ignore[attr-defined]
                self.wfile.write(b"250 taken\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


@pytest.fixture
def smtp() -> Iterator[tuple[int, list[str]]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp) as server:
        server.mails = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], server.mails  # type: ignore[attr-defined]
        server.shutdown()


def _email(port: int, **changes: object) -> EmailSettings:
    values = {"host": "127.0.0.1", "port": port, "sender": "fp@x.org", "recipients": ("a@x.org", "b@x.org")}
    return EmailSettings(**{**values, "security": "none", **changes})  # type: ignore[arg-type]


def test_mail_goes_to_every_recipient(smtp: tuple[int, list[str]]) -> None:
    EmailNotifier(_email(smtp[0])).send(OPEN)
    [mail] = smtp[1]
    assert "To: a@x.org, b@x.org" in mail
    assert "ERROR: Coffee: the close of 2021-03-08" in mail.replace("\r\n ", " ")
    assert "mend: look at the feed" in mail


def test_a_refused_password_is_not_repeated(smtp: tuple[int, list[str]]) -> None:
    settings = _email(smtp[0], user="me", password=SecretStr("hunter2"))
    with pytest.raises(NotifierError, match="code 535") as caught:
        EmailNotifier(settings).send(OPEN)
    assert "hunter2" not in str(caught.value) + repr(settings)
    assert smtp[1] == []


def test_settings_name_the_notifiers_and_hide_their_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_NOTIFIERS", '["log", "slack"]')
    with pytest.raises(SettingsError, match="FORECAST_PLATFORM_SLACK_WEBHOOK_URL"):
        notifiers_of(build(warehouse=tmp_path))
    monkeypatch.setenv("FORECAST_PLATFORM_SLACK_WEBHOOK_URL", "https://hooks.example/secret-part")
    settings = build(warehouse=tmp_path)
    assert [name for name, _ in notifiers_of(settings)] == ["log", "slack"]
    assert "secret-part" not in repr(settings)
    assert "secret-part" not in settings.model_dump_json()


def test_an_unknown_notifier_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'pager' is unknown; known: 'log', 'webhook', 'slack', 'email'"):
        notifiers_of(build(warehouse=tmp_path, notifiers=("pager",)))


def test_a_wrong_mail_setting_is_named_without_the_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORECAST_PLATFORM_EMAIL__PASSWORD", "hunter2")
    with pytest.raises(SettingsError, match=r"email\.host") as caught:
        build(warehouse=tmp_path)
    assert "hunter2" not in str(caught.value)
