"""Who asks: the holder of a token, whom a trusted proxy let in, or `local` on this machine."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace

from forecast_platform.host.guarded_app import App, Receive, Scope, Send, asked_of
from forecast_platform.host.web_guard import Access, Asked, Refusal, access_for, bears_token, decide, is_loopback
from forecast_platform.settings import Settings

LOCAL = "local"
_FRONT_END = ("http://localhost:3000", "http://127.0.0.1:3000")
"""Where the front end's development server runs, which hands /api on to here."""
_EMAIL = "x-forwarded-email"
_LONGEST = 200


class Users:
    """Tells the users of one server apart."""

    def __init__(self, settings: Settings, host: str) -> None:
        self._tokens = {name: token.get_secret_value() for name, token in settings.training_jobs.tokens.items()}
        if self._tokens and settings.web_token is None and settings.trusted_proxy is None:
            # Users' tokens say who may ask as well as the one of all servers does.
            some = next(iter(settings.training_jobs.tokens.values()))
            access = access_for(settings.model_copy(update={"web_token": some}), host)
        else:
            access = access_for(settings, host)
        tokens = (*access.tokens, *self._tokens.values())
        local = is_loopback(host) and not tokens and not access.proxies
        origins = access.origins | (frozenset(_FRONT_END) if local else frozenset())
        self.access: Access = replace(access, tokens=tokens, origins=origins)

    def refusal(self, asked: Asked) -> Refusal | None:
        """Why a request is not answered; None where it is.

        Bodies of any kind are taken (uploads are forms, and the front end submits without one): a page of another site
        is known by its Origin, which browsers send with every POST.
        """
        return decide(replace(asked, headers={**asked.headers, "content-type": ("application/json",)}), self.access)

    def user_of(self, asked: Asked) -> str:
        """The user of a request that was let in."""
        kind, _, given = (asked.one("authorization") or "").partition(" ")
        if kind.lower() == "bearer":
            found = [name for name, token in self._tokens.items() if _same(token, given.strip())]
            if found:
                return found[0]
        if self.access.proxies and not bears_token(asked, self.access):
            named = asked.one(self.access.identity_header) or asked.one(_EMAIL) or ""
            if named.strip():
                return named.strip()[:_LONGEST]
        return LOCAL


def _same(token: str, given: str) -> bool:
    return hmac.compare_digest(token.encode(), given.encode())


class Guard:
    """An ASGI app behind the guard; the user is in the scope's state."""

    def __init__(self, app: App, users: Users, let_in: Callable[[], None]) -> None:
        """let_in: called for each request that is let in, before it is answered."""
        self._app, self._users, self._let_in = app, users, let_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = asked_of(scope)
        refusal = self._users.refusal(asked)
        if refusal is not None:
            await refuse_as_json(refusal, scope, send)
            return
        scope.setdefault("state", {})["user"] = self._users.user_of(asked)
        self._let_in()
        await self._app(scope, receive, send)


async def refuse_as_json(refusal: Refusal, scope: Scope, send: Send) -> None:
    """A refusal in the shape of all errors of this API."""
    import json

    body = json.dumps({"detail": refusal.text}).encode()
    head = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *refusal.headers]
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
