"""A stand-in for ingest behind `httpx.MockTransport`: stores ids in memory and fails as it is told to."""

import gzip
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import httpx

Script = Callable[[httpx.Request], httpx.Response]


class FakeIngest:
    """Replies 200 unless a scripted reply is waiting; scripted replies are used once, in order."""

    def __init__(self) -> None:
        self.scripts: deque[Script] = deque()
        self.down = False
        self.batches: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.refuse: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if self.down:
                raise httpx.ConnectError("refused", request=request)
            body = json.loads(gzip.decompress(request.content))
            self.requests.append(request)
            self.batches.append(body)
            if self.scripts:
                return self.scripts.popleft()(request)
            return self.store(body["batch"])

    def store(self, events: list[dict[str, Any]], unavailable: frozenset[int] = frozenset()) -> httpx.Response:
        """What ingest answers when it stores these, apart from the indexes that are `unavailable` now."""
        accepted = duplicates = 0
        errors: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            if index in unavailable:
                errors.append(_error(index, event["id"], "unavailable", None, True))
            elif event["id"] in self.refuse:
                code, field = self.refuse[event["id"]]
                errors.append(_error(index, event["id"], code, field, False))
            elif event["id"] in self.stored:
                duplicates += 1
            else:
                self.stored[event["id"]] = event
                accepted += 1
        body: dict[str, Any] = {"accepted": accepted, "duplicates": duplicates}
        if not errors:
            return httpx.Response(200, json=body)
        if accepted + duplicates:
            return httpx.Response(207, json={**body, "errors": errors})
        return problem(503 if unavailable else 400, errors=errors)


def _error(index: int, identifier: str, code: str, field: str | None, retryable: bool) -> dict[str, Any]:
    return {"index": index, "id": identifier, "code": code, "field": field, "message": code, "retryable": retryable}


def problem(
    status: int, errors: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None
) -> httpx.Response:
    """A problem+json reply."""
    body = {"title": "Problem", "status": status, "detail": "as told", "errors": errors or []}
    return httpx.Response(status, json=body, headers=headers)
