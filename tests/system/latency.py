"""How long an event takes to be seen: live, on a history page, and in a metric point.

`python -m tests.system.latency STATUS.json [--seconds N]` sends a probe message four times a second, from a fixed
schedule, and measures from the intended moment of sending. `STATUS.json` is what `hubbub status --json` prints.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uuid_utils

INTERVAL = 0.25
POLL = 0.02


class Probe:
    """One measuring run on a channel of its own."""

    def __init__(self, status: dict[str, Any], seconds: float) -> None:
        self.channel = f"latency-{uuid_utils.uuid7()}"
        self.count = int(seconds / INTERVAL)
        self.intended: dict[str, float] = {}
        self.order: list[str] = []
        self.seen: dict[str, dict[str, float]] = {"live": {}, "history": {}, "metric": {}}
        self.status = status
        self.started = datetime.now(UTC).replace(second=0, microsecond=0)

    async def run(self) -> None:
        """Send, watch, and wait until everything was seen everywhere or 30 s have passed since the last send."""
        read = {"Authorization": f"Bearer {self.status['keys']['read']}"}
        async with (
            httpx.AsyncClient(base_url=self.status["ingest"]["url"], timeout=10) as ingest,
            httpx.AsyncClient(base_url=self.status["api"]["url"], headers=read, timeout=10) as api,
        ):
            watching = asyncio.Event()
            watchers = [
                asyncio.create_task(self._live(api, watching)),
                asyncio.create_task(self._poll("history", self._history, api)),
                asyncio.create_task(self._poll("metric", self._metric, api)),
            ]
            await watching.wait()
            await self._send(ingest)
            done, late = await asyncio.wait(watchers, timeout=30)
            for watcher in late:
                watcher.cancel()
            for watcher in done:
                watcher.result()

    async def _send(self, ingest: httpx.AsyncClient) -> None:
        start = time.monotonic()
        headers = {"Authorization": f"Bearer {self.status['keys']['write']}"}
        sends = []
        for number in range(self.count):
            due = start + number * INTERVAL
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            event_id = str(uuid_utils.uuid7())
            self.intended[event_id] = due
            self.order.append(event_id)
            event = {
                "id": event_id,
                "type": "message.sent",
                "time": datetime.now(UTC).isoformat(),
                "channel_id": self.channel,
                "user_id": "probe",
                "text": "probe",
            }
            sends.append(asyncio.create_task(ingest.post("/v1/events", json=event, headers=headers)))
        for reply in await asyncio.gather(*sends):
            reply.raise_for_status()

    async def _live(self, api: httpx.AsyncClient, watching: asyncio.Event) -> None:
        async with api.stream("GET", "/v1/live/events", params={"channels": self.channel}, timeout=None) as stream:
            async for line in stream.aiter_lines():
                watching.set()
                if line.startswith("data:") and '"probe"' in line:
                    self.seen["live"].setdefault(json.loads(line[5:])["id"], time.monotonic())
                if len(self.seen["live"]) == self.count:
                    return

    async def _poll(self, name: str, look: Any, api: httpx.AsyncClient) -> None:
        while len(self.seen[name]) < self.count:
            for event_id in await look(api):
                self.seen[name].setdefault(event_id, time.monotonic())
            await asyncio.sleep(POLL)  # a page can only be asked for

    async def _history(self, api: httpx.AsyncClient) -> list[str]:
        reply = await api.get(f"/v1/channels/{self.channel}/messages", params={"limit": 50})
        if reply.status_code == 404:
            return []  # nothing was written there yet
        return [m["message_id"] for m in reply.raise_for_status().json()["messages"]]

    async def _metric(self, api: httpx.AsyncClient) -> list[str]:
        params = {"scope": f"channel:{self.channel}", "grain": "1m", "from": self.started.isoformat()}
        reply = await api.get("/v1/metrics/messages_sent", params=params)
        if reply.status_code == 404:
            return []
        counted = sum(p["value"] for p in reply.raise_for_status().json()["points"])
        return self.order[: int(counted)]

    def figures(self) -> dict[str, dict[str, float]]:
        """Milliseconds from intended send to sight, by where it was seen."""
        found = {}
        for name, seen in self.seen.items():
            took = sorted((at - self.intended[i]) * 1000 for i, at in seen.items())
            cuts = statistics.quantiles(took, n=100, method="inclusive") if len(took) > 1 else [0.0] * 99
            found[name] = {
                "sent": self.count,
                "seen": len(took),
                "p50_ms": round(cuts[49], 1),
                "p99_ms": round(cuts[98], 1),
                "max_ms": round(took[-1], 1) if took else 0.0,
            }
        return found


def main() -> int:
    """Measure and print; exit 1 when a probe was not seen everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("status", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    probe = Probe(json.loads(options.status.read_text()), options.seconds)
    asyncio.run(probe.run())
    figures = probe.figures()
    print(json.dumps(figures, indent=2))
    return int(any(f["seen"] < f["sent"] for f in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
