"""Who is told of problems. A notifier has one method; settings name those that are used."""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import Any, Protocol

from forecast_platform.graph.automation.messages import Message
from forecast_platform.plugins import registry as plugins
from forecast_platform.settings import PREFIX, EmailSettings, Settings, SettingsError

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds that a server may take: the sensor's tick ends after 60."""

_OF_THE_MESSAGE = (400, 413, 422)
"""HTTP's answers to a message that its server cannot take, however often it is sent."""
_SLACK_MOST = 35_000
"""Characters of a text; Slack cuts at 40,000, and counts what is escaped."""


class NotifierError(RuntimeError):
    """A message was not taken; the text names no secret.

    `refused`: it was this message that was refused; others may be taken.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Notifier(Protocol):
    """Takes messages to people."""

    def send(self, message: Message) -> None:
        """Deliver one message, or raise: it is tried again at the next tick.

        After an error of the connection the others wait too; after NotifierError(refused=True) they are sent.
        """
        ...


@dataclass(frozen=True)
class LogNotifier:
    """Writes to the process's log (the daemon's and the sensor's in the UI)."""

    def send(self, message: Message) -> None:
        """Log at the problem's level; what is over as information."""
        critical = message.problem.severity in ("critical", "error")
        level = logging.INFO if message.resolved else logging.ERROR if critical else logging.WARNING
        log.log(level, "%s\n%s", message.title, message.text())


@dataclass(frozen=True)
class WebhookNotifier:
    """Posts JSON: status (open or resolved), title, text, and the problem's fields."""

    url: str
    name: str = "webhook"

    def send(self, message: Message) -> None:
        """POST; anything but a 2xx answer is a failure. Raises NotifierError."""
        _post(self.name, self.url, self.payload(message))

    def payload(self, message: Message) -> dict[str, Any]:
        """What is posted."""
        status = "resolved" if message.resolved else "open"
        title, text = message.title, message.text()
        return {"status": status, "at": message.at, "title": title, "text": text, **asdict(message.problem)}

    def __repr__(self) -> str:
        # The address is a secret: whoever has it can post.
        return f"{type(self).__name__}(<{self.name}>)"


@dataclass(frozen=True, repr=False)
class SlackNotifier(WebhookNotifier):
    """Posts to a Slack incoming webhook."""

    name: str = "slack"

    def payload(self, message: Message) -> dict[str, Any]:
        """Slack's shape: one text; &, < and > are escaped as Slack asks."""
        title, text = (_slack_escape(part) for part in (message.title, message.text()))
        return {"text": f"*{title}*\n{text}"[:_SLACK_MOST]}


@dataclass(frozen=True)
class EmailNotifier:
    """Sends mail by SMTP."""

    settings: EmailSettings

    def send(self, message: Message) -> None:
        """One mail to all recipients. Raises NotifierError where the server does not take it."""
        mail = EmailMessage()
        mail["Subject"] = f"[forecast_platform] {message.title}"[:200]
        mail["From"] = self.settings.sender
        mail["To"] = ", ".join(self.settings.recipients)
        mail.set_content(message.text())
        settings = self.settings
        try:
            if settings.security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    settings.host, settings.port, timeout=TIMEOUT, context=ssl.create_default_context()
                )
            else:
                server = smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT)
            with server:
                if settings.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if settings.user and settings.password:
                    server.login(settings.user, settings.password.get_secret_value())
                server.send_message(mail)
        except (smtplib.SMTPException, OSError) as error:
            # An authentication error repeats what was sent: name its code only.
            reason = f"code {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else str(error)
            refused = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            raise NotifierError(
                f"{settings.host}:{settings.port} did not take the mail: {reason}", refused=refused
            ) from None


def _slack_escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _post(name: str, url: str, payload: dict[str, Any]) -> None:
    if not url.startswith(("http://", "https://")):
        raise NotifierError(f"the address of {name} is not http:// or https://")
    body = json.dumps(payload).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - the scheme was checked
            answer.read(1000)
    except urllib.error.HTTPError as error:
        refused = error.code in _OF_THE_MESSAGE
        raise NotifierError(f"{name} answered {error.code} {error.reason}", refused=refused) from None
    except (urllib.error.URLError, OSError) as error:
        raise NotifierError(f"{name} cannot be reached: {getattr(error, 'reason', error)}") from None


def _webhook(settings: Settings) -> Notifier:
    if settings.webhook_url is None:
        raise SettingsError(f"notifiers: webhook needs {PREFIX}WEBHOOK_URL")
    return WebhookNotifier(settings.webhook_url.get_secret_value())


def _slack(settings: Settings) -> Notifier:
    if settings.slack_webhook_url is None:
        raise SettingsError(f"notifiers: slack needs {PREFIX}SLACK_WEBHOOK_URL")
    return SlackNotifier(settings.slack_webhook_url.get_secret_value())


def _email(settings: Settings) -> Notifier:
    if settings.email is None:
        raise SettingsError(f"notifiers: email needs {PREFIX}EMAIL__HOST, __SENDER and __RECIPIENTS")
    return EmailNotifier(settings.email)


REGISTRY: dict[str, Callable[[Settings], Notifier]] = {
    "log": lambda _: LogNotifier(),
    "webhook": _webhook,
    "slack": _slack,
    "email": _email,
}
"""The package's own notifiers by name; others come from plugins."""


def notifiers_of(settings: Settings) -> list[tuple[str, Notifier]]:
    """The notifiers that the settings name. Raises SettingsError for an unknown name or a missing address."""
    broken = plugins.load(settings.plugins)
    unknown = [name for name in settings.notifiers if name not in {*REGISTRY, *plugins.names("notifier")}]
    if unknown:
        raise SettingsError(f"notifiers: {plugins.unknown_text('notifier', unknown[0], broken)}")
    return [(name, _notifier(name, settings)) for name in dict.fromkeys(settings.notifiers)]


def _notifier(name: str, settings: Settings) -> Notifier:
    if name in REGISTRY:
        return REGISTRY[name](settings)
    try:
        made: Notifier = plugins.make("notifier", name, settings)
    except plugins.PluginError as error:
        raise SettingsError(f"notifiers: {error}") from error
    return made
