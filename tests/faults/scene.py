"""One run under faults: a tenant of its own, load and two live readers, whatever is done to them, and the verdict."""

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uuid_utils

from tests.faults import oracle
from tests.faults.load import Load
from tests.faults.measures import Measures
from tests.faults.stack import Stack
from tests.faults.subscriber import Subscriber
from tests.system import audit
from tests.system.audit import Claim

#: How long sinks may take to agree after everything has caught up.
_AGREE_SECONDS = 60.0
_WARM_SECONDS = 3.0


@dataclass
class Scene:
    """What a row works with. `recovered` holds seconds from each strike until all had caught up, by part."""

    stack: Stack
    rng: random.Random
    load: Load
    tenant: str
    key: str
    readers: list[Subscriber]
    measures: Measures
    kills: int = 0
    #: Dead letters that must be there in the end.
    dead_letters: int = 0
    claims: list[Claim] = field(default_factory=list)
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def kill(self, part: str) -> None:
        """SIGKILL a part and wait until all has caught up."""
        dead = self.stack.send_signal(part)
        self.kills += 1
        self.recovered[part].append(self._recover(part, dead))

    def kill_soon(self, part: str, least: float, most: float) -> None:
        """SIGKILL a part a random while after it began to run, and go on without waiting for its successor."""
        self.stack.wait(lambda: self.stack.pids().get(part), 60, f"{part} to run")
        self.stay(self.rng.uniform(least, most))
        self.stack.send_signal(part)
        self.kills += 1

    def kill_at(self, point: str) -> None:
        """Have a role killed at a named point, and wait until all has caught up."""
        part = point.partition(".")[0]
        dead = self.stack.wait(lambda: self.stack.pids().get(part), 60, f"{part} to run")
        self.stack.arm(point)
        self.stack.fired(point)
        self.kills += 1
        self.recovered[point].append(self._recover(part, dead))

    @contextmanager
    def strike(self, name: str, seconds: float = 180) -> Iterator[None]:
        """What is done in the block is the fault; wait for at most so long until all has caught up from its end on."""
        yield
        began = time.monotonic()
        self.flow(seconds)
        self.recovered[name].append(time.monotonic() - began)

    def stay(self, seconds: float) -> None:
        """Let things be as they are: how long a fault lasts is part of it."""
        time.sleep(seconds)

    def freeze(self, part: str, seconds: float) -> None:
        """SIGSTOP a part for a while, then SIGCONT, and wait until all has caught up."""
        with self.strike(f"{part} frozen {seconds:g} s"):
            self.stack.send_signal(part, signal.SIGSTOP)
            self.stay(seconds)
            self.stack.send_signal(part, signal.SIGCONT)

    def terminate(self, part: str) -> None:
        """SIGTERM a part, which must end by itself and in order, and wait until all has caught up."""
        dead = self.stack.send_signal(part, signal.SIGTERM)
        self.recovered[f"{part} terminated"].append(self._recover(part, dead))
        code = self.stack.exit_codes(part)[-1]
        self.claim(f"{part} ends with 0", [f"it ended with {code}"] if code else [], f"{code}")

    def kill_everything(self) -> None:
        """SIGKILL all there is, and bring it back with the one command."""
        self.kills += self.stack.kill_everything()
        with self.strike("everything"):
            self.stack.up()

    def claim(self, name: str, wrong: Iterable[str], figure: str = "") -> None:
        """One more thing that must hold, beside what the oracle asks."""
        self.claims.append(Claim(name, list(wrong), figure))

    def get(self, path: str, **query: str | int | None) -> tuple[dict[str, Any], float]:
        """What the API answers, and the seconds that took."""
        began = time.monotonic()
        reply = self._client.get(
            self.stack.api_url + path,
            params={k: v for k, v in query.items() if v is not None},
            headers=bearer(self.key),
        )
        seconds = time.monotonic() - began
        reply.raise_for_status()
        return reply.json(), seconds

    def post(self, events: list[dict[str, Any]], key: str = "") -> dict[str, Any]:
        """What ingest answers to events that are not the load's."""
        url = self.stack.ingest_url + "/v1/events"
        told: dict[str, Any] = self._client.post(url, json=events, headers=bearer(key or self.key)).json()
        return told

    def _recover(self, part: str, dead: int) -> float:
        """Seconds until a part has a new process and events go through the whole again."""
        began = time.monotonic()
        self.stack.recover(part, dead)
        self.flow()
        return time.monotonic() - began

    def flow(self, seconds: float = 180) -> None:
        """Wait until more events are accepted and all has caught up: what looks ready may only not have noticed yet."""
        accepted = self.load.ledger.counts["accepted"]
        more = self.load.batch * 4
        self.stack.wait(
            lambda: self.load.ledger.counts["accepted"] >= accepted + more, seconds, "events to be accepted again"
        )
        self.stack.settle(seconds, times=2)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run showed."""

    claims: list[Claim]
    events: int
    kills: int
    retried: int
    slowest: float
    recovered: dict[str, list[float]]
    notes: dict[str, float | int | str]
    seconds: float

    @property
    def kept(self) -> bool:
        return not any(claim.wrong for claim in self.claims)


def play(
    stack: Stack,
    name: str,
    body: Callable[[Scene], None],
    *,
    rate: float,
    seed: int,
    agree: float = _AGREE_SECONDS,
) -> Verdict:
    """Run `body` under load and judge what is left when all has caught up."""
    began = time.monotonic()
    tenant = f"{name.replace('_', '-')}-{str(uuid_utils.uuid7())[-8:]}"
    key = stack.tenant(tenant)
    stack.settle()
    since = audit.ends_of(stack.kafka)
    late = oracle.late_events(stack.cassandra)
    readers = [Subscriber(stack.api_url, key, f"{tenant}-{n}").start() for n in range(2)]
    load = Load(
        ingest_url=stack.ingest_url,
        key=key,
        ledger=stack.folder / f"{tenant}.jsonl",
        rate=rate,
        seed=seed,
    ).start()
    scene = Scene(stack, random.Random(seed), load, tenant, key, readers, Measures(readers, stack.resident))
    try:
        scene.stay(_WARM_SECONDS)  # so that faults meet a stream and not its beginning
        try:
            body(scene)
        finally:
            load.stop()
        scene.measures.notes["seconds to drain"] = round(stack.settle(), 1)
        scene.measures.notes["longest live silence, s"] = round(scene.measures.silence(), 1)
        claims = _judge(scene, since, late, agree)
    finally:
        for reader in readers:
            reader.stop()
    return Verdict(
        claims=[*claims, *scene.claims],
        events=load.accepted,
        kills=scene.kills,
        retried=load.retried,
        slowest=load.slowest,
        recovered={part: [round(s, 1) for s in seconds] for part, seconds in scene.recovered.items()},
        notes={**scene.measures.notes, "slowest 503, s": round(load.slowest_refusal, 2)},
        seconds=time.monotonic() - began,
    )


def _judge(scene: Scene, since: audit.Since, late: int, seconds: float) -> list[Claim]:
    """The claims once they hold, or as they are when the time to agree is over: what is late is not lost."""
    deadline = time.monotonic() + seconds
    while True:
        claims = oracle.judge(
            scene.stack.kafka,
            scene.stack.cassandra,
            scene.stack.archive,
            tenant=scene.tenant,
            since=since,
            ledger=scene.load.ledger,
            subscribers=scene.readers,
            dead_letters=scene.dead_letters,
            late_before=late,
        )
        if not any(claim.wrong for claim in claims) or time.monotonic() > deadline:
            return claims
        time.sleep(2)  # sinks can only be asked again
