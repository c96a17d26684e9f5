"""Answers ready to send: status, headers and body, as the table of replies in the contract has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from infra.contracts import problems
from infra.contracts.problems import Accepted
from ingest.errors import Refused
from ingest.request import Request

_JSON: Final = {"Content-Type": "application/json"}
_PROBLEM: Final = {"Content-Type": problems.MEDIA_TYPE}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)


def refusal(refused: Refused) -> Answer:
    """The answer to a request of which nothing is taken in."""
    body = problems.encode(problems.problem(refused.status, refused.detail))
    return Answer(refused.status, body, {**_PROBLEM, **refused.headers})


def settled(request: Request, retry_after: int) -> Answer:
    """The answer to a request whose every event has an outcome.

    A sender whose refused items are buried hears of whole requests only: it repeats one of which anything may still be
    stored, and is content with any other.
    """
    errors = tuple(request.errors)
    retryable = any(error.retryable for error in errors)
    buries = request.batch.form.salvage is not None
    if not errors or (not retryable if buries else request.accepted or request.duplicates):
        body = Accepted(
            accepted=request.accepted, duplicates=request.duplicates, dead_letters=request.dead_letters, errors=errors
        )
        status = 200 if buries or not errors else 207
        return Answer(status, problems.encode(body), {**_JSON, **_limits(request)})
    if any(error.code == "unavailable" for error in errors):
        return _refused(503, "Kafka did not confirm every event in time", request, {"Retry-After": str(retry_after)})
    if request.limited:
        return _refused(429, "a limit is reached", request, _limits(request))
    return _refused(400, "no event of the request can be stored", request, {})


def _limits(request: Request) -> dict[str, str]:
    """What a sender that was limited is to know: when all that was kept out can come, and the limit it waits for."""
    if not request.limited:
        return {}
    waits = {refusal: refusal.wait(number) for refusal, number in request.limited.items()}
    longest = max(waits, key=waits.__getitem__)
    wait = str(waits[longest])
    return {
        "Retry-After": wait,
        "RateLimit-Limit": str(longest.rate),
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": wait,
    }


def _refused(status: int, detail: str, request: Request, headers: Mapping[str, str]) -> Answer:
    body = problems.encode(problems.problem(status, detail, tuple(request.errors)))
    return Answer(status, body, {**_PROBLEM, **headers})
