"""Server-sent events: what is looked at, whenever it changes, until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from forecast_platform.host.admission import UnknownJobError

if TYPE_CHECKING:
    from starlette.responses import StreamingResponse

_LOOK_SECONDS = 0.5


async def events_of(name: str, look: Callable[[], tuple[str, bool]]) -> StreamingResponse:
    """A stream of events of this name.

    look: what is told, as JSON text, and whether it has ended; it may raise UnknownJobError, at first to the asker and
    later to end the stream.
    """
    from starlette.responses import StreamingResponse

    text, ended = await run_in_threadpool(look)

    async def events() -> AsyncIterator[str]:
        current, over, told = text, ended, ""
        while True:
            if current != told:
                told = current
                yield f"event: {name}\ndata: {current}\n\n"
            if over:
                return
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                current, over = await run_in_threadpool(look)
            except UnknownJobError:
                return

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
