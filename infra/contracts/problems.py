"""What a client is told when something is refused: `application/problem+json` replies and the codes of events."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

MEDIA_TYPE: Final = "application/problem+json"

#: Every code an event can be refused with, and whether sending it again unchanged can succeed.
EVENT_CODES: Final = {
    "missing_field": False,
    "invalid_field": False,
    "too_large": False,
    "too_deep": False,
    "bad_time": False,
    "future_id": False,
    "bad_user": False,
    "forbidden_type": False,
    "conflict": False,
    "rate_limited": True,
    "unavailable": True,
}


class ItemError(msgspec.Struct, frozen=True, kw_only=True):
    """Why one event of a request was not stored. `index` counts from 0 in the order sent."""

    index: int
    id: str | None
    code: str
    field: str | None
    message: str
    retryable: bool


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem details; `errors` names the events, where there are any."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: tuple[ItemError, ...] = ()


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a 200 and, with errors, of a 207. `dead_letters` of the errors are stored as such: Segment's door."""

    accepted: int
    duplicates: int
    dead_letters: int = 0
    errors: tuple[ItemError, ...] = ()

    def __post_init__(self) -> None:
        if min(self.accepted, self.duplicates, self.dead_letters) < 0:
            raise ValueError("counts are not negative")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the public surface: the status, its title and extra headers it always carries."""

    status: int
    title: str
    headers: tuple[str, ...] = ()


REPLIES: Final = {
    reply.status: reply
    for reply in (
        Reply(200, "Stored"),
        Reply(207, "Some events were not stored"),
        Reply(400, "Nothing valid in the request"),
        Reply(401, "No valid key", ("WWW-Authenticate",)),
        Reply(403, "The key may not do this"),
        Reply(404, "Not found"),
        Reply(405, "Method not allowed", ("Allow",)),
        Reply(413, "Too large"),
        Reply(415, "Unknown content type"),
        Reply(422, "Invalid request"),
        Reply(429, "Too many requests", ("Retry-After",)),
        Reply(500, "Internal error"),
        Reply(503, "Unavailable, try again", ("Retry-After",)),
    )
}


def problem(status: int, detail: str, errors: tuple[ItemError, ...] = ()) -> Problem:
    """The problem body of a status in `REPLIES`."""
    return Problem(title=REPLIES[status].title, status=status, detail=detail, errors=errors)


def encode(body: Any) -> bytes:
    """A reply body as JSON."""
    return msgspec.json.encode(body)
