"""An ASGI app behind the guard of `web_guard`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from forecast_platform.host.web_guard import Access, Asked, Refusal, decide

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guarded:
    """An ASGI app behind the guard.

    also: further rules of the app's own, asked after those of `decide`.
    """

    def __init__(self, app: App, access: Access, also: Callable[[Asked, Access], Refusal | None] | None = None) -> None:
        self._app, self._access, self._also = app, access, also

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = asked_of(scope)
        refusal = decide(asked, self._access) or (self._also and self._also(asked, self._access))
        if refusal is None:
            await self._app(scope, receive, _unframed(send))
        else:
            await refuse(refusal, scope, send)


def asked_of(scope: Scope) -> Asked:
    """The head of a request as an ASGI server hands it on."""
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        headers[key] = (*headers.get(key, ()), value.decode("latin-1"))
    client, given = scope.get("client"), str(scope.get("scheme", "http"))
    scheme = {"ws": "http", "wss": "https"}.get(given, given)
    peer = client[0] if client else None
    return Asked(scope.get("method", "GET"), scope["path"], headers, scheme, peer, scope["type"] == "websocket")


async def refuse(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Answer an ASGI request with a refusal; a websocket, which carries no text before it is open, with a mere 403."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = f"{refusal.text}\n".encode()
    head = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"), *refusal.headers]
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _unframed(send: Send) -> Send:
    """Pages of other sites cannot lay ours under the operator's mouse."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"X-Frame-Options", b"SAMEORIGIN")]
        await send(message)

    return sending
