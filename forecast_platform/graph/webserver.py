"""Dagster's webserver behind the guard: the process that `up`, the units and the containers run."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from forecast_platform.host.guarded_app import App, Guarded, Message, Receive, Scope, Send, refuse
from forecast_platform.host.web_guard import READS, Access, Asked, Refusal, access_for, bears_token
from forecast_platform.settings import PREFIX, Settings

OPEN = frozenset({"/server_info"})
"""Says which version answers; needs no token, so that it can be seen whether it is up."""

LONGEST = 8 << 20
"""Bytes of a query that a read-only server looks through."""


def serve(
    settings: Settings, host: str, port: int, workspace: Sequence[Path], *, read_only: bool, key: str | None = None
) -> None:
    """Serve the UI of the code locations of `workspace` files until interrupted.

    key: a token beside the configured one. Raises SettingsError, see `access_for`.
    """
    import uvicorn
    from dagster import DagsterInstance

    # 2026-11: dagster-webserver 1.13 makes its app of this context alone; its own command does the same.
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    access = access_for(settings, host, key=key)
    target = WorkspaceFileTarget([str(path) for path in workspace])
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        with WorkspaceProcessContext(instance, target, version=__version__, read_only=read_only) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=2000, lifespan=_until_stopped)
            # Whom a proxy speaks for is for the guard to judge, by the address that is really connected.
            uvicorn.run(guarded(app, access, read_only), host=host, port=port, log_level="warning", proxy_headers=False)


def guarded(app: App, access: Access, read_only: bool) -> Guarded:
    """Dagster's app behind the guard and the rules of its own routes."""
    access = replace(access, open_paths=access.open_paths | OPEN)
    return Guarded(_ReadOnly(app), access, _read_only_rules) if read_only else Guarded(app, access, rules)


def rules(asked: Asked, access: Access) -> Refusal | None:
    """What Dagster's routes would do for a request that nobody may have meant."""
    if asked.path.startswith("/report_asset") and not bears_token(asked, access):
        how = "with the web token as a Bearer token" if access.tokens else f"once {PREFIX}WEB_TOKEN is set, with it"
        return Refusal(403, f"events of assets are taken {how} alone")
    if asked.path.startswith("/graphql") and not asked.websocket and asked.method in READS and not _page(asked):
        return Refusal(405, "POST the query as JSON", (("Allow", "POST"),))
    return None


def _page(asked: Asked) -> bool:
    """Whether Dagster answers with the page to write queries in, and looks at no query."""
    return "text/html" in (asked.one("accept") or "")


def _read_only_rules(asked: Asked, access: Access) -> Refusal | None:
    if asked.websocket or asked.method in READS:
        return rules(asked, access)
    json_sent = (asked.one("content-type") or "").partition(";")[0].strip().lower() == "application/json"
    if asked.path != "/graphql" or asked.method != "POST" or not json_sent:
        return Refusal(403, "this server is read-only; it takes GraphQL queries as JSON")
    return None


class _ReadOnly:
    """An app that gets no GraphQL mutation, also those that Dagster's own read-only mode lets through."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        refusal = Refusal(413, f"at most {LONGEST:,} bytes") if body is None else why_not_read(body)
        if refusal is not None:
            await refuse(refusal, scope, send)
            return
        first = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return first.pop() if first else await receive()

        await self._app(scope, again, send)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where it is longer than LONGEST."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LONGEST:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def why_not_read(body: bytes) -> Refusal | None:
    """Why a GraphQL request's body is not one that only reads; None where it is."""
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    try:
        asked: Any = json.loads(body)
        document = parse(asked["query"])
    except (ValueError, TypeError, KeyError, GraphQLError, RecursionError) as error:
        return Refusal(400, f"no GraphQL query as JSON: {type(error).__name__}: {str(error)[:200]}")
    for one in document.definitions:
        if isinstance(one, OperationDefinitionNode) and one.operation is OperationType.MUTATION:
            return Refusal(403, "this server is read-only: nothing is changed here")
    return None


@contextlib.asynccontextmanager
async def _until_stopped(_app: object) -> AsyncIterator[None]:
    # uvicorn cancels it where it is interrupted (encode/uvicorn#1160).
    with contextlib.suppress(asyncio.CancelledError):
        yield
