"""Rows 11 to 18 and 45: the router, what it cannot process, and clocks."""

import json

from infra.contracts import topics
from infra.runtime.kafka import DeliveringProducer, producer_config
from streams import dead_letters
from tests.faults.load import message
from tests.faults.row import Row, in_turn, kill_at, times
from tests.faults.scene import Scene
from tests.integration.streams.poison import KINDS, poison
from tests.system import audit

_HOUR = 3600


def random_kills(scene: Scene) -> None:
    """Two of three routers, again and again and at any moment; who is killed last may still be starting."""
    with scene.strike("one router again"), scene.stack.worker(1) as one, scene.stack.worker(2) as two:
        for _ in range(180):
            scene.stay(scene.rng.uniform(0.1, 8))
            scene.rng.choice((one, two)).replace()
            scene.kills += 1


def rolling_workers(scene: Scene) -> None:
    for _ in range(3):
        with scene.stack.worker(1):
            scene.stay(10)
            with scene.stack.worker(2):
                # Longer than a session: the worker that is in it loses its partitions.
                scene.stack.arm("router.before_produce", "sleep 8")
                scene.stay(10)
        with scene.strike("one worker again"):
            scene.stay(10)


def zombies(scene: Scene) -> None:
    with scene.stack.worker(1):
        for _ in range(5):
            scene.freeze("router", 15)


def bury(scene: Scene, rounds: int) -> None:
    """Put poison among the load and wait until all of it is a dead letter."""
    producer = DeliveringProducer(producer_config(scene.stack.kafka, "faults"))
    before = audit.ends_of(scene.stack.kafka)
    for number in range(rounds):
        for partition, value in poison(scene.dead_letters // KINDS + number, scene.tenant + "-poison"):
            producer.produce(scene.stack.kafka.topic(topics.INGEST.name), value, partition=partition, wait=30)
    assert producer.close(30) == 0

    def there() -> bool:
        return len({key for key, *_ in audit.records(scene.stack.kafka, topics.DLQ, before)}) >= rounds * KINDS

    with scene.strike(f"{rounds * KINDS} poison records"):
        scene.stack.wait(there, 60, "every poison record to be a dead letter")
    scene.dead_letters += rounds * KINDS


def transient_and_deterministic(scene: Scene) -> None:
    scene.freeze("cassandra", 60)
    bury(scene, 1)


def replay_twice(scene: Scene) -> None:
    bury(scene, 20)
    letters = dead_letters.list_letters(scene.stack.kafka, scene.dead_letters)
    ill = next(letter for letter in letters if letter.value.startswith(b'{"id":5'))
    cured = message("mender", "mended", "cured")
    scene.load.expect(cured)
    file = scene.stack.folder / "cured.json"
    file.write_text(json.dumps({**cured, "tenant": scene.tenant}))
    pages = []
    for _ in range(2):
        with scene.strike("all replayed, one repaired"):
            scene.stack.command("dlq", "replay", "--all")
            scene.stack.command("dlq", "replay", ill.key, "--value", str(file))
        pages.append(scene.get("/v1/channels/mended/messages")[0]["messages"])
    scene.claim(
        "I1 the second replay changes nothing",
        [] if pages[0] == pages[1] and len(pages[0]) == 1 else [f"{pages[0]}, then {pages[1]}"[:500]],
        f"{len(pages[0])} message",
    )


def coordinator_lost(scene: Scene) -> None:
    for _ in range(5):
        with scene.strike("broker killed before a commit"):
            scene.stack.arm("router.before_commit", f"kill {scene.stack.pids()['kafka']}")
            scene.stack.fired("router.before_commit")
            scene.kills += 1


def skewed(scene: Scene) -> None:
    for role in ("ingest", "router"):
        for seconds in (_HOUR, -_HOUR):
            with scene.stack.altered(role, HUBBUB_FAULTS_SKEW=str(seconds)), scene.strike(f"{role} {seconds:+d} s"):
                scene.stay(15)


def same_id(scene: Scene) -> None:
    """Other bodies under known ids are refused, and another tenant's same ids are its own."""
    messages = [message("twin", f"c{n % 8}", f"first {n}") for n in range(200)]
    scene.load.send(messages)
    other = scene.stack.tenant(f"{scene.tenant}-other")
    told = scene.post([{**m, "text": "second"} for m in messages])
    refused = [e for e in told.get("errors", []) if e["code"] == "conflict"]
    scene.claim(
        "I3 another body under a known id is a conflict",
        [] if len(refused) == len(messages) else [str(told)[:500]],
        f"{len(refused)} of {len(messages)} refused",
    )
    stored = scene.post([{**m, "text": "theirs"} for m in messages], other)
    scene.claim(
        "I3 ids are a tenant's own",
        [] if stored.get("accepted") == len(messages) else [str(stored)[:500]],
        f"{stored.get('accepted')} of {len(messages)} accepted for another tenant",
    )


ROWS = (
    Row(
        number=11,
        what="kill -9 the router 200 times and the history writer 10 times, 30 of them at their worst points",
        body=in_turn(
            times(10, kill_at("router.before_produce"), kill_at("router.before_commit")),
            random_kills,
            times(5, kill_at("history.before_write"), kill_at("history.before_commit")),
        ),
    ),
    Row(
        number=12,
        what="1, 2, 3 routers and 1 again, 10 s each, one stuck for 8 s, 3 times",
        body=rolling_workers,
    ),
    Row(number=13, what="freeze one of two routers for longer than its session, 5 times", body=zombies),
    Row(number=14, what="Cassandra away for 60 s, then poison", body=transient_and_deterministic),
    Row(number=15, what=f"{50 * KINDS} poison records among the load", body=lambda scene: bury(scene, 50)),
    Row(number=16, what=f"replay {20 * KINDS} dead letters and a repaired one, twice", body=replay_twice),
    Row(number=17, what="kill -9 the broker as the router is about to commit, 5 times", body=coordinator_lost),
    Row(number=18, what="clocks of ingest and router an hour ahead and behind", body=skewed),
    Row(number=45, what="200 known ids with another body, and by another tenant", body=same_id),
)
