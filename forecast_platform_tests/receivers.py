"""A receiver of webhooks on loopback, that answers as it is told and keeps what it got."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """answers: HTTP's, one a post; 200 after them. got: id, body, timestamp and signature of each post."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[str, bytes, str, str]] = field(default_factory=list)
    delay: float = 0.0

    def verified(self, secret: str) -> list[bool]:
        """Of each post whether its signature is its own, as a receiver would check it."""
        key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
        found = []
        for delivery, body, stamp, signed in self.got:
            made = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
            own = "v1," + base64.b64encode(made).decode()
            found.append(hmac.compare_digest(own, signed) and abs(int(stamp) - time.time()) < 60)
        return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that listens while this lasts."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            names = ("webhook-id", "webhook-timestamp", "webhook-signature")
            delivery, stamp, signed = (self.headers[name] for name in names)
            kept.got.append((delivery, body, stamp, signed))
            time.sleep(kept.delay)
            self.send_response(kept.answers.pop(0) if kept.answers else 200)
            self.send_header("Location", kept.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        kept.url = f"http://127.0.0.1:{server.server_port}/hook"
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()
