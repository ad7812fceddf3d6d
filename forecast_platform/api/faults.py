"""What every route shares: who asks, and the statuses of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Path, Query

from forecast_platform.api import answers
from forecast_platform.host.admission import STATUSES

if TYPE_CHECKING:
    from starlette.requests import Request

FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.Fault, "description": text}
    for status, text in {
        400: "A field is wrong, or the job is in another state; the text names it.",
        401: "Nothing says who asks.",
        403: "Sent by a page of another site.",
        404: "No such job of this user.",
        413: "Too large.",
        415: "Not JSON.",
        421: "Asked under a name that is not this server's.",
        429: "Too many jobs or uploads; Retry-After says when to try again.",
        503: "Jobs are switched off, or Dagster is not there.",
    }.items()
}


Id = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$", description="As it was given when it was created.")]
"""An id of a job, an upload or a workflow; what can be none is refused before it is looked up."""
FileName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
OneStatus = Annotated[
    str | None, Query(json_schema_extra={"enum": [*STATUSES, "", None]}, description="Only those; empty: all.")
]
Limit = Annotated[int, Query(ge=1, le=100)]


def documented(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with something else than JSON; refusals are JSON all the same."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}, "description": what}}


def events(name: str) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that sends events of this name."""
    parts = {"event": {"type": "string", "const": name}, "data": {"type": "string", "description": "JSON."}}
    found = documented("text/event-stream", "The events.")
    found[200]["content"]["text/event-stream"]["schema"] = {"type": "object", "properties": parts}
    return found


def user_of(request: Request) -> str:
    """Who asks, as the guard found."""
    return str(request.state.user)
