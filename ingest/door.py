"""The ASGI endpoint behind every path that takes events: raw body in, prepared answer out."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import structlog

from infra.contracts import problems
from infra.contracts.control import Tenant
from infra.runtime.clock import Clock
from infra.runtime.control import Directory
from infra.runtime.telemetry import INGEST_SECONDS, UNEXPECTED
from ingest import access, answers, bodies
from ingest.answers import Answer
from ingest.bodies import Receive
from ingest.doors import Parser, parser_of
from ingest.errors import Disconnected, Refused
from ingest.intake import Intake
from ingest.settings import Ingest

log = structlog.get_logger("hubbub.ingest")

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Door:
    """One endpoint: the media types it takes events in, with what reads each."""

    def __init__(
        self,
        intake: Intake,
        directory: Directory,
        settings: Ingest,
        *,
        parsers: Mapping[str, Parser],
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._intake = intake
        self._directory = directory
        self._settings = settings
        self._parsers = parsers
        self._clock = clock
        self._new_id = new_id

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None
        request_id = self._new_id()
        extra = {"X-Request-Id": request_id}
        match scope["method"]:
            case "POST":
                try:
                    answer = await self._answer(headers, receive, request_id, origin, extra)
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
        receive: Receive,
        request_id: str,
        origin: str | None,
        extra: dict[str, str],
    ) -> Answer:
        tenant: Tenant | None = None
        try:
            key, tenant = access.authenticate(self._directory, headers.get(b"authorization"))
            media = bodies.media_type(headers.get(b"content-type"), self._parsers)
            body = await bodies.read(
                receive,
                length=headers.get(b"content-length"),
                encoding=headers.get(b"content-encoding"),
                seconds=self._settings.body_seconds,
            )
            started = self._clock.monotonic()
            batch = parser_of(self._parsers, media, headers)(body)
            answer = await self._intake.take(batch, key, tenant, request_id)
            INGEST_SECONDS.observe(self._clock.monotonic() - started)
        except Refused as refused:
            answer = answers.refusal(refused)
        except Disconnected:
            raise
        except Exception:
            UNEXPECTED.labels("ingest").inc()
            log.exception("request.failed", request_id=request_id)
            body = problems.encode(problems.problem(500, "the outcome is unknown; send it again with the same ids"))
            answer = Answer(500, body, {"Content-Type": problems.MEDIA_TYPE})
        if origin is not None and tenant is not None:
            extra.update(access.cors(tenant, origin))
        return answer
