"""What every route shares: who asks, and the statuses of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forecast_platform.api import answers

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
        429: "Too many jobs; Retry-After says when to try again.",
        503: "Jobs are switched off, or Dagster is not there.",
    }.items()
}


def user_of(request: Request) -> str:
    """Who asks, as the guard found."""
    return str(request.state.user)
