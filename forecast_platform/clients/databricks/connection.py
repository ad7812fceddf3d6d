"""The workspace's client: credentials as the SDK finds them, repeated calls where that is safe, no secret in a text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from forecast_platform.host.redaction import HIDDEN
from forecast_platform.settings.databricks import DatabricksOptions

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

T = TypeVar("T")

ATTEMPTS = 5
"""Tries of a call that may be repeated, on an error that may pass."""

RETRY_SECONDS = 120
"""How long the SDK itself goes on with a call that is throttled or finds no connection."""

_REFUSED = "the token is wrong or has expired, or its owner may not do this: make a new one, or ask an admin"
_NO_LOGIN = "the client's secret is wrong or has expired, or it may not log in here: make a new secret, or ask an admin"
_CLIENT_REFUSED = re.compile("invalid_client|unauthorized_client|invalid_grant|access_denied")

_SHAPES = re.compile(r"\b(dapi|dose|dkea|dsce)[0-9a-f]{16,}(-\d+)?\b|(?<=Bearer )\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]+")
"""What tokens look like, whoever they belong to."""


class DatabricksError(RuntimeError):
    """The workspace refused, or could not be reached; the message says what to do, and holds no secret.

    `passing`: it may pass by itself (no connection, an error of the service). A call that changes something may then
    have been carried out. `invalid`: what was asked for is wrong in itself, so that no try can have been carried out.
    """

    def __init__(self, message: str, *, passing: bool = False, invalid: bool = False) -> None:
        super().__init__(message)
        self.passing, self.invalid = passing, invalid


@contextmanager
def perhaps_started(mend: str) -> Iterator[None]:
    """Within this, the DatabricksError of a submission that may have been carried out says so, and the mend."""
    try:
        yield
    except DatabricksError as error:
        if not error.passing:
            raise
        raise DatabricksError(f"{error}\nit may have been started all the same: {mend}", passing=True) from None


class Connection:
    """A workspace client whose errors are ours."""

    def __init__(self, options: DatabricksOptions, *, pause: float = 1.0) -> None:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config

        self.options = options
        self.pause = pause
        try:
            config = Config(profile=options.profile, retry_timeout_seconds=RETRY_SECONDS, product="forecast-platform")
            self.client: WorkspaceClient = WorkspaceClient(config=config)
        except ValueError as error:
            raise DatabricksError(
                f"no usable Databricks credentials: {self.redact(str(error))}\nset DATABRICKS_HOST and DATABRICKS_TOKEN"
                " (or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET), or name a profile in databricks.profile; "
                "the host is a workspace's URL, and must be reached from here"
            ) from None

    @cached_property
    def quick(self) -> WorkspaceClient:
        """A client for what is only told to whoever watches, and not worth waiting for. It logs in by itself."""
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config

        config = Config(
            profile=self.options.profile, retry_timeout_seconds=1, http_timeout_seconds=5, product="forecast-platform"
        )
        return WorkspaceClient(config=config)

    @property
    def host(self) -> str:
        """The workspace's URL."""
        return str(self.client.config.host)

    def redact(self, text: str) -> str:
        """`text` without this client's secrets, and without what looks like a token."""
        config = getattr(getattr(self, "client", None), "config", None)
        for name in ("token", "client_secret", "azure_client_secret", "password"):
            value = getattr(config, name, None)
            if value:
                text = text.replace(str(value), HIDDEN)
        return _SHAPES.sub(HIDDEN, text)

    def call(self, what: str, function: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
        """Make a call that may be repeated (a read, an overwrite, a submission with an idempotency token).

        The SDK itself waits out 429 and 503 and dropped connections; 500, 502 and 504 are tried again here.
        Raises DatabricksError.
        """
        from databricks.sdk import errors
        from requests import RequestException

        for attempt in range(1, attempts + 1):
            try:
                return function()
            except (errors.DatabricksError, RequestException, TimeoutError, ValueError) as error:
                service = (errors.InternalError, errors.DeadlineExceeded, errors.TemporarilyUnavailable)
                # Of the base class itself are statuses that the SDK has no name for, such as a gateway's 502.
                again = isinstance(error, service) or type(error) is errors.DatabricksError
                mend = _REFUSED if isinstance(error, (errors.Unauthenticated, errors.PermissionDenied)) else ""
                if self.client.config.auth_type != "pat" and type(error) is ValueError:
                    # From the renewal of an OAuth token, which says a refusal and an outage in the same way.
                    mend = _NO_LOGIN if _CLIENT_REFUSED.search(str(error)) else ""
                    again = not mend
                if again and attempt < attempts:
                    time.sleep(self.pause * 2 ** (attempt - 1))
                    continue
                passing = again or isinstance(error, (errors.TooManyRequests, RequestException, TimeoutError))
                raise self._said(what, error, f"after {attempts} tries" if again else mend, passing=passing) from None
        raise AssertionError("unreachable")

    def _said(self, what: str, error: Exception, mend: str, *, passing: bool = False) -> DatabricksError:
        from databricks.sdk.errors import BadRequest

        code = getattr(error, "error_code", None)
        text = f"{what} on {self.host}: {code + ': ' if code else ''}{error}"
        invalid = isinstance(error, BadRequest)
        return DatabricksError(self.redact(text) + (f"\n{mend}" if mend else ""), passing=passing, invalid=invalid)
