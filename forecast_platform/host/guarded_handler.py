"""A handler of the standard library's server behind the guard of `web_guard`."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from forecast_platform.host.web_guard import Access, Asked, decide


def asked_by(handler: BaseHTTPRequestHandler) -> Asked:
    """The head of a request as the standard library's server hands it on."""
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in handler.headers.items():
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    path = unquote(handler.path.partition("?")[0])
    return Asked(handler.command, path, headers, "http", str(handler.client_address[0]))


def answered(handler: BaseHTTPRequestHandler, access: Access) -> bool:
    """Whether a handler may answer; where not, it has said why."""
    refusal = decide(asked_by(handler), access)
    if refusal is None:
        return True
    body = f"{refusal.text}\n".encode()
    handler.send_response(refusal.status)
    for name, value in (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        *refusal.headers,
    ):
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
    return False
