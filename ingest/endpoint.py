"""What every ASGI endpoint of ingest does around its work: methods, keys, CORS, request ids, and errors as answers."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog

from infra.contracts import problems
from infra.contracts.control import ApiKey, Scope, Tenant
from infra.runtime.control import Directory
from infra.runtime.telemetry import UNEXPECTED
from ingest import access, answers
from ingest.answers import Answer
from ingest.bodies import Receive
from ingest.errors import Disconnected, Refused

log = structlog.get_logger("hubbub.ingest")

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One request whose key is known."""

    id: str
    key: ApiKey
    tenant: Tenant
    headers: Mapping[bytes, bytes]
    path: Mapping[str, str]
    receive: Receive


class Endpoint(ABC):
    """Takes POST requests of keys that have one of `scopes`."""

    scopes: ClassVar[frozenset[Scope]]

    def __init__(self, directory: Directory, *, new_id: Callable[[], str]) -> None:
        self._directory = directory
        self._new_id = new_id

    @abstractmethod
    async def take(self, request: Incoming) -> Answer:
        """The answer. Raises `Refused`, or `Disconnected` when there is nobody to answer."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None
        request_id = self._new_id()
        extra = {"X-Request-Id": request_id}
        match scope["method"]:
            case "POST":
                try:
                    path = scope.get("path_params", {})
                    answer = await self._answer(headers, path, receive, request_id, origin, extra)
                except Disconnected:
                    return
            case "OPTIONS":
                answer = Answer(204, b"", access.preflight(self._directory, origin))
            case _:
                answer = answers.refusal(Refused(405, "use POST", {"Allow": "OPTIONS, POST"}))
        if answer.status != 204:
            extra["Content-Length"] = str(len(answer.body))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1"))
                    for name, value in (*answer.headers.items(), *extra.items())
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(
        self,
        headers: dict[bytes, bytes],
        path: Mapping[str, str],
        receive: Receive,
        request_id: str,
        origin: str | None,
        extra: dict[str, str],
    ) -> Answer:
        tenant: Tenant | None = None
        try:
            key, tenant = access.authenticate(self._directory, headers.get(b"authorization"), self.scopes)
            answer = await self.take(
                Incoming(id=request_id, key=key, tenant=tenant, headers=headers, path=path, receive=receive)
            )
        except Refused as refused:
            answer = answers.refusal(refused)
        except Disconnected:
            raise
        except Exception:
            UNEXPECTED.labels("ingest").inc()
            log.exception("request.failed", request_id=request_id)
            body = problems.encode(problems.problem(500, "the outcome is unknown; send it again with the same ids"))
            answer = Answer(500, body, {"Content-Type": problems.MEDIA_TYPE})
        if origin is not None:
            extra.update(access.cors(self._directory, tenant, origin))
        return answer
