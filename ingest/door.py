"""The endpoint behind every path that takes events: raw body in, prepared answer out."""

from collections.abc import Callable, Mapping

from infra.runtime.clock import Clock
from infra.runtime.control import Directory
from infra.runtime.telemetry import INGEST_SECONDS
from ingest import access, bodies
from ingest.answers import Answer
from ingest.doors import Parser, parser_of
from ingest.endpoint import Endpoint, Incoming
from ingest.intake import Intake
from ingest.settings import Ingest


class Door(Endpoint):
    """One endpoint: the media types it takes events in, with what reads each."""

    scopes = access.SENDING

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
        super().__init__(directory, new_id=new_id)
        self._intake = intake
        self._settings = settings
        self._parsers = parsers
        self._clock = clock

    async def take(self, request: Incoming) -> Answer:
        """The answer to a request of events."""
        headers = request.headers
        media = bodies.media_type(headers.get(b"content-type"), self._parsers)
        body = await bodies.read(
            request.receive,
            length=headers.get(b"content-length"),
            encoding=headers.get(b"content-encoding"),
            seconds=self._settings.body_seconds,
        )
        started = self._clock.monotonic()
        batch = parser_of(self._parsers, media, headers)(body)
        answer = await self._intake.take(batch, request.key, request.tenant, request.id)
        INGEST_SECONDS.observe(self._clock.monotonic() - started)
        return answer
