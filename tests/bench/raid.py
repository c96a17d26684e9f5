"""What a raid on one channel does to the others: acknowledgement and live latency there, before and during.

`python -m tests.bench.raid STATUS.json [--rate 5000] [--seconds 30]` sends a steady trickle to quiet channels, raids
one channel beside them, and prints both spans as JSON. `STATUS.json` is what `hubbub status --json` prints; set the
limits before with `hubbub tenants set demo --channel-rate 100 --slow-mode`. Everything is measured from the intended
moment of sending, so that a sender that is held up does not hide it. Exit code 1 when a probe was not seen.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import httpx
import uuid_utils

QUIET: Final = tuple(f"quiet-{n}" for n in range(8))
#: Probes a second over all quiet channels.
PROBES: Final = 40
#: Events in one request of the raid, and how many people raid.
BATCH: Final = 100
RAIDERS: Final = 500
#: Seconds after the last probe in which it must have been seen.
GRACE: Final = 15


@dataclass
class Span:
    """One stretch of measuring: seconds from the intended moment until the reply, and until a live reader had it."""

    intended: dict[str, float] = field(default_factory=dict)
    acknowledged: dict[str, float] = field(default_factory=dict)
    live: dict[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Milliseconds."""
        return {
            "probes": len(self.intended),
            "acknowledged": _percentiles(self.acknowledged),
            "live": _percentiles(self.live),
        }

    @property
    def whole(self) -> bool:
        """Whether every probe was acknowledged and seen."""
        return len(self.intended) == len(self.acknowledged) == len(self.live)


class Raid:
    """Sends so many events a second to one channel, from a process of its own, and counts what it is told."""

    def __init__(self, url: str, key: str, rate: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._stopping = context.Event()
        self._told: Queue[dict[str, Any]] = context.Queue()
        self._process = context.Process(target=_raid, args=(url, key, rate, self._stopping, self._told), daemon=True)

    def start(self) -> None:
        self._process.start()

    def stop(self) -> dict[str, Any]:
        """Stop it. Returns what it was told."""
        self._stopping.set()
        told = self._told.get(timeout=30)
        self._process.join()
        return told


def _raid(url: str, key: str, rate: int, stopping: Event, told: "Queue[dict[str, Any]]") -> None:
    """Two connections, each a request behind the other's."""
    replies: list[httpx.Response] = []
    started = time.monotonic()

    def run(number: int) -> None:
        due = started + number * BATCH / rate
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=10) as client:
            while not stopping.wait(max(0.0, due - time.monotonic())):
                due += 2 * BATCH / rate
                replies.append(client.post(url + "/v1/events", json=[_raider() for _ in range(BATCH)]))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bodies = [reply.json() for reply in replies]
    refused = Counter(error["message"] for body in bodies for error in body.get("errors", []))
    told.put(
        {
            "events_per_second": round(len(replies) * BATCH / (time.monotonic() - started)),
            "sent": len(replies) * BATCH,
            "accepted": sum(body.get("accepted", 0) for body in bodies),
            "statuses": Counter(reply.status_code for reply in replies),
            "retry_after": Counter(r.headers["Retry-After"] for r in replies if "Retry-After" in r.headers),
            "refused": dict(refused.most_common(5)),
        }
    )


def _raider() -> dict[str, Any]:
    identifier = uuid_utils.uuid7()
    return _message(str(identifier), "raided", f"raider-{identifier.int % RAIDERS}")


class Trickle:
    """The people of the quiet channels, and one reader who follows them all."""

    def __init__(self, status: dict[str, Any]) -> None:
        self._status = status
        self._spans: list[Span] = []
        self._watching = asyncio.Event()

    async def measure(self, seconds: float, raid: Raid) -> tuple[Span, Span, dict[str, Any]]:
        """Both spans, quiet and with the raid, which has run for some seconds by then; and what the raid was told."""
        read = {"Authorization": f"Bearer {self._status['keys']['read']}"}
        write = {"Authorization": f"Bearer {self._status['keys']['write']}"}
        async with (
            httpx.AsyncClient(base_url=self._status["api"]["url"], headers=read, timeout=None) as api,
            httpx.AsyncClient(base_url=self._status["ingest"]["url"], headers=write, timeout=10) as ingest,
        ):
            watcher = asyncio.create_task(self._watch(api))
            await asyncio.wait_for(self._watching.wait(), 20)
            await self._span(ingest, 5)  # connections are made and caches filled
            before = await self._span(ingest, seconds)
            raid.start()
            await self._span(ingest, 5)
            during = await self._span(ingest, seconds)
            told = await asyncio.to_thread(raid.stop)
            deadline = time.monotonic() + GRACE
            while not (before.whole and during.whole) and time.monotonic() < deadline:
                await asyncio.sleep(0.05)  # the reader is another task
            watcher.cancel()
        return before, during, told

    async def _span(self, ingest: httpx.AsyncClient, seconds: float) -> Span:
        span = Span()
        self._spans.append(span)
        start = time.monotonic()
        sends = []
        for number in range(int(seconds * PROBES)):
            due = start + number / PROBES
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            identifier = str(uuid_utils.uuid7())
            span.intended[identifier] = due
            event = _message(identifier, QUIET[number % len(QUIET)], f"resident-{number % 50}")
            sends.append(asyncio.create_task(self._send(ingest, span, event)))
        await asyncio.gather(*sends)
        return span

    async def _send(self, ingest: httpx.AsyncClient, span: Span, event: dict[str, Any]) -> None:
        reply = await ingest.post("/v1/events", json=event)
        if reply.status_code == httpx.codes.OK:
            span.acknowledged[event["id"]] = time.monotonic() - span.intended[event["id"]]

    async def _watch(self, api: httpx.AsyncClient) -> None:
        async with api.stream("GET", "/v1/live/events", params={"channels": ",".join(QUIET)}) as stream:
            async for line in stream.aiter_lines():
                self._watching.set()
                if not line.startswith("data:"):
                    continue
                at, identifier = time.monotonic(), json.loads(line[5:]).get("id")
                for span in self._spans[::-1]:
                    if identifier in span.intended:
                        span.live.setdefault(identifier, at - span.intended[identifier])
                        break


def _message(identifier: str, channel: str, user: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "type": "message.sent",
        "time": datetime.now(UTC).isoformat(),
        "channel_id": channel,
        "user_id": user,
        "text": "one of those things that people say in a channel",
    }


def _percentiles(seconds: dict[str, float]) -> dict[str, float]:
    took = sorted(seconds.values())
    if not took:
        return {"seen": 0}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    named = {
        f"{name}_ms": round(took[min(len(took) - 1, int(len(took) * part))] * 1000, 1) for name, part in at.items()
    }
    return {"seen": len(took), **named}


def _slow_channels(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("hubbub_ingest_slow_channels ")).split()[1])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("status", type=Path)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    status = json.loads(options.status.read_text())
    raid = Raid(status["ingest"]["url"], status["keys"]["write"], options.rate)
    before, during, raided = asyncio.run(Trickle(status).measure(options.seconds, raid))
    told = {
        "before": before.figures(),
        "during": during.figures(),
        "raid": raided,
        "slow_channels_at_its_end": _slow_channels(status["ingest"]["url"]),
    }
    print(json.dumps(told, indent=2))
    return int(not (before.whole and during.whole))


if __name__ == "__main__":
    sys.exit(main())
