"""The canary: an event of our own that goes the way of all events, timed at each place where people would see it.

Every few seconds a read receipt of a bot goes to ingest by HTTP, in a tenant and a channel of its own. It overwrites
one row of history and counts nowhere. It has arrived when the API's live stream has shown it and Cassandra holds it.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

import httpx
import msgspec
import structlog
import uuid_utils

from infra.contracts.control import CANARY, ApiKey, Scope, hash_secret, new_secret
from infra.contracts.events import RECEIPT_READ
from infra.runtime import control
from infra.runtime.clock import Clock
from infra.runtime.health import Check
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import CANARY_LOST, CANARY_SECONDS

log = structlog.get_logger("hubbub.ledger")

#: Channel and user of the canary.
NAME: Final = "canary"

_LOOK_SECONDS: Final = 0.1
#: A live stream pings more often than this, so one that is silent for so long is dead.
_SILENCE_SECONDS: Final = 35.0
_RETRY_SECONDS: Final = 1.0


class _Shown(msgspec.Struct):
    id: str = ""


def new_key(kafka: Kafka, now: datetime) -> str:
    """A key for the canary's tenant, in place of those of earlier starts. Returns its secret. Raises `Unreachable`."""
    follower = control.ControlFollower(kafka, "hubbub-ledger")
    try:
        known = follower.start().keys.values()
    finally:
        follower.stop()
    secret = new_secret(Scope.WRITE)
    key = ApiKey(
        hash=hash_secret(secret), tenant=CANARY.id, scopes=(Scope.WRITE, Scope.READ), name=NAME, created_at=now
    )
    control.publish(kafka, [CANARY, key], removed=[old.record_key for old in known if old.tenant == CANARY.id])
    return secret


class Canary:
    """Sends one canary after the other from a thread; `seconds` is how long the last one took to each stage."""

    def __init__(
        self,
        *,
        ingest_url: str,
        api_url: str,
        secret: str,
        stored: Callable[[], str | None],
        clock: Clock,
        every: float,
        lost_after: float,
        stall: float,
        stopping: threading.Event,
    ) -> None:
        """`stored` returns the id of the canary that history holds, None while it cannot be asked.

        It flies until `stopping` is set, and sets it itself when it can fly no more: `fatal` says why.
        """
        self._ingest, self._api = ingest_url + "/v1/events", api_url + "/v1/live/events"
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._stored = stored
        self._clock = clock
        self._every, self._lost_after, self._stall = every, lost_after, stall
        self._stopping = stopping
        self.fatal: str | None = None
        self._seen = ""
        self._arrived_at: float | None = None
        self._trouble = "the first is under way"
        self.seconds: dict[str, float] = {}

    def start(self) -> None:
        """Begin."""
        for work in (self._watch, self._send):
            threading.Thread(target=self._run, args=(work,), name=f"canary-{work.__name__}", daemon=True).start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            # A thread that ended alone would leave a canary that is late forever.
            log.exception("canary.failed")
            self.fatal = type(error).__name__
            self._stopping.set()

    def check(self) -> Check:
        """Whether a canary has arrived everywhere lately."""
        if self._arrived_at is None:
            return Check(False, self._trouble)
        age = self._clock.monotonic() - self._arrived_at
        took = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in self.seconds.items())
        if age <= self._stall:
            return Check(True, f"{took}; {age:.0f} s ago")
        return Check(False, f"the last one arrived {age:.0f} s ago: {self._trouble}")

    def _send(self) -> None:
        with httpx.Client(headers=self._headers, timeout=self._lost_after) as client:
            while not self._stopping.is_set():
                missing = self.fly(client)
                if missing:
                    CANARY_LOST.labels(missing).inc()
                    log.warning("canary.lost", stage=missing, why=self._trouble)
                self._stopping.wait(_RETRY_SECONDS if missing else self._every)

    def fly(self, client: httpx.Client) -> str | None:
        """Send one and follow it. Returns the stage that it did not reach."""
        identifier = str(uuid_utils.uuid7())
        began = self._clock.monotonic()
        try:
            reply = client.post(self._ingest, json=_event(identifier, self._clock.now()))
        except httpx.TransportError as error:
            self._trouble = f"ingest does not answer ({type(error).__name__})"
            return "ingest"
        if reply.status_code != httpx.codes.OK:
            self._trouble = f"ingest answered {reply.status_code}"
            return "ingest"
        arrived = {"ingest": self._clock.monotonic() - began}
        places = {"live": lambda: self._seen, "history": self._stored}
        while True:
            for stage, held in places.items():
                if stage not in arrived and held() == identifier:
                    arrived[stage] = self._clock.monotonic() - began
            missing = next((stage for stage in places if stage not in arrived), None)
            if missing is None:
                break
            if self._clock.monotonic() - began > self._lost_after:
                self._trouble = f"{missing} has not shown it after {self._lost_after:.0f} s"
                return missing
            self._stopping.wait(_LOOK_SECONDS)
        self._arrived_at = self._clock.monotonic()
        self.seconds = arrived
        for stage, seconds in arrived.items():
            CANARY_SECONDS.labels(stage).observe(seconds)
        return None

    def _watch(self) -> None:
        timeout = httpx.Timeout(self._lost_after, read=_SILENCE_SECONDS)
        with httpx.Client(headers=self._headers, timeout=timeout) as client:
            while not self._stopping.is_set():
                try:
                    with client.stream("GET", self._api) as stream:
                        for line in stream.iter_lines():
                            if line.startswith("data:"):
                                self._seen = msgspec.json.decode(line[5:], type=_Shown).id or self._seen
                except (httpx.TransportError, msgspec.MsgspecError) as error:
                    log.info("canary.live_stream_ended", why=type(error).__name__)
                self._stopping.wait(_RETRY_SECONDS)


def _event(identifier: str, moment: datetime) -> dict[str, object]:
    return {
        "id": identifier,
        "type": RECEIPT_READ,
        "time": moment.isoformat(),
        "channel_id": NAME,
        "user_id": NAME,
        "is_bot": True,
        "message_id": identifier,
    }
