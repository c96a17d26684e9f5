"""Sends a community's plan to ingest on a fixed schedule, whatever the answers take, and accounts for every send."""

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from infra.runtime.clock import Clock, SystemClock
from ingest.client import Client, Drop
from ingest.progress import Advance
from ingest.simulator.community import Community, Shares
from ingest.simulator.ledger import Ledger

#: Waits shorter than this are not worth their wake-up.
_SHORTEST_WAIT: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSummary:
    """What a run came to. `accepted + duplicates + refused + unknown = sent`; `max_lag` is how far sending fell behind
    its schedule, in seconds; `types` counts accepted events, `refusals` the others by code.
    """

    sent: int
    accepted: int
    duplicates: int
    refused: int
    unknown: int
    retried: int
    seconds: float
    max_lag: float
    types: dict[str, int]
    refusals: dict[str, int]

    @property
    def events_per_second(self) -> float:
        """Sends per second."""
        return self.sent / self.seconds if self.seconds else 0.0

    @property
    def exit_code(self) -> int:
        """0 when every event is stored, else 1."""
        return 1 if self.refused or self.unknown else 0


def simulate(
    url: str,
    write_key: str,
    server_key: str,
    *,
    users: int = 200,
    channels: int = 20,
    rate: float = 50.0,
    seed: int = 1,
    duration: float | None = 60.0,
    shares: Shares | None = None,
    ledger: Path | None = None,
    flush_interval: float = 0.02,
    settle_seconds: float = 60.0,
    stopping: threading.Event | None = None,
    clock: Clock | None = None,
    progress: Advance | None = None,
    transport: httpx.BaseTransport | None = None,
) -> SimulationSummary:
    """Live through `duration` seconds of a community, or until `stopping` is set; then wait for what is unsettled.

    Edits and deletes go with the server key, everything else with the write key. `ledger` is a file for one line per
    send; `progress` is told seconds lived and in all.
    """
    clock = clock or SystemClock()
    stopping = stopping or threading.Event()
    refusals: Counter[str] = Counter()

    def count_refusal(_: dict[str, Any], drop: Drop) -> None:
        refusals[drop.code] += 1

    with contextlib.ExitStack() as stack:
        kept = Ledger(stack.enter_context(ledger.open("wb")) if ledger is not None else None)

        def connect(key: str) -> Client:
            client = Client(
                url,
                key,
                flush_interval=flush_interval,
                max_queue_events=500_000,
                on_drop=count_refusal,
                on_result=kept.settle,
                clock=clock,
                transport=transport,
            )
            stack.callback(client.close, 0.0)
            return client

        as_client, as_server = connect(write_key), connect(server_key)
        began = clock.monotonic()
        plan = Community(
            users=users, channels=channels, rate=rate, seed=seed, start=clock.now(), duration=duration, shares=shares
        ).plan()
        max_lag = 0.0
        sent = 0
        shown_every = max(1, round(rate / 5))
        for planned in plan:
            wait = planned.offset - (clock.monotonic() - began)
            if (wait > _SHORTEST_WAIT and stopping.wait(wait)) or stopping.is_set():
                break
            max_lag = max(max_lag, -wait)
            kept.expect(planned)
            (as_server if planned.as_server else as_client).send(planned.event)
            sent += 1
            if progress is not None and duration is not None and sent % shown_every == 0:
                progress(round(planned.offset), round(duration))
        seconds = clock.monotonic() - began
        if progress is not None and duration is not None:
            progress(min(round(seconds), round(duration)), round(duration))
        retried = 0
        for client in (as_client, as_server):
            client.close(settle_seconds)
            retried += client.stats.retried
    return SimulationSummary(
        sent=sent,
        accepted=kept.outcomes["accepted"],
        duplicates=kept.outcomes["duplicate"],
        refused=kept.outcomes["refused"],
        unknown=kept.outcomes["unknown"],
        retried=retried,
        seconds=seconds,
        max_lag=max_lag,
        types=dict(sorted(kept.types.items())),
        refusals=dict(sorted(refusals.items())),
    )
