"""Delivers batches over several requests at a time, those of one lane one after another, each until it is settled."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar

from infra.runtime.clock import Clock
from infra.runtime.errors import PreconditionError, Unreachable
from ingest.client.backoff import Backoff
from ingest.client.outcomes import Drop
from ingest.client.wire import Answer, Wire


class Parcel(Protocol):
    """Encoded events that go in one request."""

    raws: list[bytes]


P = TypeVar("P", bound=Parcel)


@dataclass(slots=True)
class Delivered:
    """What became of a parcel; every event that is not in `refused`, by its index, is stored."""

    accepted: int = 0
    duplicates: int = 0
    refused: dict[int, Drop] = field(default_factory=dict)


class Lanes(Generic[P]):
    """`settle` is called on a lane's thread, once for every parcel that ingest has answered for in full."""

    def __init__(
        self,
        wire: Wire,
        settle: Callable[[P, Delivered], None],
        *,
        count: int,
        patience: float,
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._wire = wire
        self._settle = settle
        self._patience = patience
        self._clock = clock
        self._backoff = backoff
        self._lanes = [ThreadPoolExecutor(1, thread_name_prefix=f"lane-{n}") for n in range(count)]
        self._slots = threading.BoundedSemaphore(count * 2)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None

    def put(self, lane: int, parcel: P) -> None:
        """Queue a parcel, waiting while too many are under way. Raises what has made a lane give up."""
        self._slots.acquire()
        if self._failure is not None:
            self._slots.release()
            raise self._failure
        self._lanes[lane].submit(self._run, parcel)

    def drain(self) -> None:
        """Wait until everything is settled. Raises what has made a lane give up."""
        self._join()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Stop after the requests now under way; what is not settled stays so."""
        self._stopping.set()
        self._join()

    def _join(self) -> None:
        for lane in self._lanes:
            lane.shutdown(wait=True)

    def _run(self, parcel: P) -> None:
        try:
            delivered = self._deliver(parcel)
            if delivered is not None:
                self._settle(parcel, delivered)
        except BaseException as error:
            # Kept for the thread that feeds the lanes; the others stop, since their order would be lost.
            self._failure = self._failure or error
            self._stopping.set()
        finally:
            self._slots.release()

    def _deliver(self, parcel: P) -> Delivered | None:
        delivered = Delivered()
        left = list(range(len(parcel.raws)))
        attempt, heard = 0, self._clock.monotonic()
        while left:
            if self._stopping.is_set():
                return None
            answer = self._wire.post([parcel.raws[index] for index in left])
            if answer.refused_all is not None:
                raise _refusal(answer, answer.refused_all)
            delivered.accepted += answer.accepted
            delivered.duplicates += answer.duplicates
            delivered.refused.update({left[index]: drop for index, drop in answer.refused.items()})
            again = [left[index] for index in sorted(answer.retry)]
            attempt = 1 if len(again) < len(left) else attempt + 1
            if len(again) < len(left) or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                heard = self._clock.monotonic()
            elif self._clock.monotonic() - heard > self._patience:
                raise Unreachable("ingest", self._wire.url, "Run it again: it goes on from here.")
            left = again
            if left:
                self._stopping.wait(self._backoff.delay(attempt, answer.retry_after))
        return delivered


def _refusal(answer: Answer, drop: Drop) -> PreconditionError:
    hint = {
        HTTPStatus.UNAUTHORIZED: " Is it the right key?",
        HTTPStatus.FORBIDDEN: " History needs a key with scope backfill.",
        HTTPStatus.NOT_FOUND: " Is that the address of ingest?",
    }.get(HTTPStatus(answer.status or 0), "")
    return PreconditionError(f"ingest refuses the import (HTTP {answer.status}): {drop.message}.{hint}")
