"""One run under faults: a tenant of its own, load and two live readers, whatever is done to them, and the verdict."""

import random
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, field

import uuid_utils

from tests.faults import oracle
from tests.faults.load import Load
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
    kills: int = 0
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[str, float | int | str] = field(default_factory=dict)

    def kill(self, part: str) -> None:
        """SIGKILL a part and wait until all has caught up."""
        dead = self.stack.send_signal(part)
        self.kills += 1
        self.recovered[part].append(self._recover(part, dead))

    def kill_soon(self, part: str, least: float, most: float) -> None:
        """SIGKILL a part after a random while, and go on as soon as its successor runs."""
        time.sleep(self.rng.uniform(least, most))  # the schedule is the fault
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

    def freeze(self, part: str, seconds: float) -> None:
        """SIGSTOP a part for a while, then SIGCONT, and wait until all has caught up."""
        self.stack.send_signal(part, signal.SIGSTOP)
        time.sleep(seconds)  # the length of the freeze is the fault
        began = time.monotonic()
        self.stack.send_signal(part, signal.SIGCONT)
        self._flow()
        self.recovered[f"{part} frozen {seconds:g} s"].append(time.monotonic() - began)

    def terminate(self, part: str) -> None:
        """SIGTERM a part, and wait until all has caught up."""
        dead = self.stack.send_signal(part, signal.SIGTERM)
        self.recovered[f"{part} terminated"].append(self._recover(part, dead))

    def kill_everything(self) -> None:
        """SIGKILL all there is, and bring it back with the one command."""
        self.kills += self.stack.kill_everything()
        began = time.monotonic()
        self.stack.up()
        self._flow()
        self.recovered["everything"].append(time.monotonic() - began)

    def _recover(self, part: str, dead: int) -> float:
        """Seconds until a part has a new process and events go through the whole again."""
        began = time.monotonic()
        self.stack.recover(part, dead)
        self._flow()
        return time.monotonic() - began

    def _flow(self) -> None:
        """Wait until more events are accepted and all has caught up: what looks ready may only not have noticed yet."""
        accepted = self.load.ledger.counts["accepted"]
        more = self.load.batch * 4
        self.stack.wait(
            lambda: self.load.ledger.counts["accepted"] >= accepted + more, 180, "events to be accepted again"
        )
        self.stack.settle(times=2)


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


def play(stack: Stack, name: str, body, *, rate: float, seed: int, agree: float = _AGREE_SECONDS) -> Verdict:
    """Run `body` under load and judge what is left when all has caught up."""
    began = time.monotonic()
    tenant = f"{name.replace('_', '-')}-{str(uuid_utils.uuid7())[-8:]}"
    key = stack.tenant(tenant)
    stack.settle()
    since = audit.ends_of(stack.kafka)
    readers = [Subscriber(stack.api_url, key, f"{tenant}-{n}").start() for n in range(2)]
    load = Load(
        ingest_url=stack.ingest_url,
        key=key,
        ledger=stack.folder / f"{tenant}.jsonl",
        rate=rate,
        seed=seed,
    ).start()
    scene = Scene(stack, random.Random(seed), load)
    time.sleep(_WARM_SECONDS)  # so that faults meet a stream and not its beginning
    try:
        body(scene)
    finally:
        load.stop()
    scene.notes["seconds to drain"] = round(stack.settle(), 1)
    try:
        claims = _judge(stack, tenant, since, load, readers, agree)
    finally:
        for reader in readers:
            reader.stop()
    return Verdict(
        claims=claims,
        events=load.accepted,
        kills=scene.kills,
        retried=load.retried,
        slowest=load.slowest,
        recovered={part: [round(s, 1) for s in seconds] for part, seconds in scene.recovered.items()},
        notes=scene.notes,
        seconds=time.monotonic() - began,
    )


def _judge(
    stack: Stack, tenant: str, since: audit.Since, load: Load, readers: list[Subscriber], seconds: float
) -> list[Claim]:
    """The claims once they hold, or as they are when the time to agree is over: what is late is not lost."""
    deadline = time.monotonic() + seconds
    while True:
        claims = oracle.judge(
            stack.kafka, stack.cassandra, tenant=tenant, since=since, ledger=load.ledger, subscribers=readers
        )
        if not any(claim.wrong for claim in claims) or time.monotonic() > deadline:
            return claims
        time.sleep(2)  # sinks can only be asked again
