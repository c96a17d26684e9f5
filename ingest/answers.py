"""Answers ready to send: status, headers and body, as the table of replies in the contract has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infra.contracts import problems
from infra.contracts.problems import Accepted, ItemError
from ingest.errors import Refused
from ingest.limits import Bucket

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


def settled(
    *, accepted: int, duplicates: int, errors: Sequence[ItemError], empty: Bucket | None, retry_after: int
) -> Answer:
    """The answer to a request whose every event has an outcome. `empty` is the last bucket that refused one."""
    if not errors:
        return Answer(200, problems.encode(Accepted(accepted=accepted, duplicates=duplicates)))
    if accepted or duplicates:
        body = problems.encode(Accepted(accepted=accepted, duplicates=duplicates, errors=tuple(errors)))
        return Answer(207, body)
    codes = {error.code for error in errors}
    if "unavailable" in codes:
        return _nothing(503, "Kafka did not confirm any event in time", errors, {"Retry-After": str(retry_after)})
    if empty is not None:
        wait = str(empty.wait())
        limited = {
            "Retry-After": wait,
            "RateLimit-Limit": str(empty.rate),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": wait,
        }
        return _nothing(429, "a limit of events per second is reached", errors, limited)
    return _nothing(400, "no event of the request can be stored", errors, {})


def _nothing(status: int, detail: str, errors: Sequence[ItemError], headers: Mapping[str, str]) -> Answer:
    body = problems.encode(problems.problem(status, detail, tuple(errors)))
    return Answer(status, body, {**_PROBLEM, **headers})
