"""Posts signed JSON to an address, a bounded number of times.

Signed as Standard Webhooks (2023) has it, so that its libraries verify it: the headers webhook-id, webhook-timestamp
(seconds) and webhook-signature, `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from typing import Any

_PREFIX = "whsec_"
_NEVER = (400, 401, 403, 404, 405, 410, 413, 415, 422)
"""HTTP's answers that another try would not change."""
PAUSES = (1.0, 3.0)
"""Seconds between the tries: one more try than pauses."""
SECONDS = 5.0
"""Seconds that a receiver may take to answer."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Where a receiver sends us on to, the settings do not name."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def key_of(secret: str) -> bytes:
    """The key of a secret: `whsec_` and base64, or any other text as it is. Raises ValueError without the secret."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"a secret that begins with {_PREFIX} goes on with base64: this one does not") from None


def signature(secret: str, delivery: str, timestamp: int, body: bytes) -> str:
    """What webhook-signature is for a body. Raises ValueError where what follows `whsec_` is no base64."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def deliver(
    url: str,
    secret: str,
    payload: Mapping[str, Any],
    pauses: tuple[float, ...] = PAUSES,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """POST a payload, again after each pause while it is not taken; why it was not, in the end, or None where it was.

    A 2xx answer takes it. The delivery's id is the same in all tries, so that a receiver can tell a second copy.
    Neither address nor secret is in the answer. Nothing is raised for what the receiver does.
    """
    body, delivery = json.dumps(payload, sort_keys=True).encode(), f"msg_{uuid.uuid4().hex}"
    why = None
    for pause in (*pauses, None):
        why, final = _tried(url, secret, delivery, body)
        if why is None or final or pause is None:
            break
        sleep(pause)
    return why


def _tried(url: str, secret: str, delivery: str, body: bytes) -> tuple[str | None, bool]:
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secret, delivery, now, body),
    }
    try:
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the settings checked it
        # Its status is the answer: what a receiver writes after it may never end.
        with _OPENER.open(request, timeout=SECONDS):
            pass
    except urllib.error.HTTPError as error:
        return f"the receiver answered {error.code}", error.code in _NEVER or 300 <= error.code < 400
    except urllib.error.URLError as error:
        # The reason names at most the machine's own errors; the address is a secret.
        return f"the receiver cannot be reached: {type(error.reason).__name__}", False
    except OSError as error:
        return f"the receiver did not answer: {type(error).__name__}", False
    except (ValueError, http.client.InvalidURL):
        return "the address is none that can be posted to", True
    except http.client.HTTPException as error:
        return f"the receiver's answer is no HTTP: {type(error).__name__}", False
    return None, False
