"""One request to ingest: many encoded events out, one outcome for each back."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from infra.contracts.problems import Accepted, ItemError, Problem
from infra.runtime.clock import Clock
from ingest.client.backoff import retry_after
from ingest.client.outcomes import Drop

#: Replies that say nothing about the events themselves: the same request can succeed later.
TRANSIENT: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_accepted = msgspec.json.Decoder(Accepted)
_problem = msgspec.json.Decoder(Problem)


@dataclass(slots=True, kw_only=True)
class Answer:
    """What one request came to. Indexes are those of the events sent; those named nowhere are stored.

    `status` is None when no answer came. `refused_all` is set when the request, not an event, was at fault.
    """

    status: int | None
    accepted: int = 0
    duplicates: int = 0
    retry: set[int] = field(default_factory=set)
    refused: dict[int, Drop] = field(default_factory=dict)
    refused_all: Drop | None = None
    retry_after: float | None = None


class Wire:
    """A connection pool to one ingest with one key. Thread safe; `post` never raises for what a server does."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        clock: Clock,
        historical: bool = False,
        timeout: float = 15.0,
        connections: int = 4,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._clock = clock
        self._head = b'{"historical":true,' if historical else b"{"
        self._client = httpx.Client(
            base_url=self.url,
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
                "User-Agent": "hubbub-python",
            },
            timeout=timeout,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            transport=transport,
        )

    def post(self, events: Sequence[bytes]) -> Answer:
        """Send encoded events as one batch."""
        sent_at = self._clock.now().isoformat(timespec="milliseconds")
        body = b'%s"sent_at":"%s","batch":[%s]}' % (self._head, sent_at.encode(), b",".join(events))
        try:
            # Level 1: it takes nearly as much off as 6 and costs a third.
            reply = self._client.post("/v1/batch", content=zlib.compress(body, 1, wbits=31))
        except httpx.RequestError:
            return Answer(status=None, retry=set(range(len(events))))
        return self._read(reply, len(events))

    def close(self) -> None:
        """Close the pool."""
        self._client.close()

    def _read(self, reply: httpx.Response, sent: int) -> Answer:
        answer = Answer(status=reply.status_code, retry_after=retry_after(reply.headers, self._clock.now()))
        try:
            if reply.status_code in (HTTPStatus.OK, HTTPStatus.MULTI_STATUS):
                stored = _accepted.decode(reply.content)
                if stored.accepted + stored.duplicates + len(stored.errors) != sent:
                    raise msgspec.ValidationError("the counts do not add up to what was sent")
                answer.accepted, answer.duplicates = stored.accepted, stored.duplicates
                _sort(stored.errors, answer)
                return answer
            problem = _problem.decode(reply.content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # Not ingest's words: a proxy, or half a reply. After a 2xx the outcome is unknown, so it is asked again.
            problem = Problem(title=f"HTTP {reply.status_code}", status=reply.status_code, detail="")
            if reply.is_success:
                return Answer(status=reply.status_code, retry=set(range(sent)))
        _sort(problem.errors, answer)
        rest = set(range(sent)) - answer.retry - answer.refused.keys()
        if reply.status_code in TRANSIENT:
            answer.retry |= rest
        elif rest:
            answer.refused_all = Drop(code=f"http_{reply.status_code}", message=problem.detail or problem.title)
        return answer


def _sort(errors: Sequence[ItemError], answer: Answer) -> None:
    for error in errors:
        if error.retryable:
            answer.retry.add(error.index)
        else:
            answer.refused[error.index] = Drop(code=error.code, field=error.field, message=error.message)
