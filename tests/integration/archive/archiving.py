"""An archive writer as a process of its own, the topics before it and the tables behind it as a test sees them."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from infra.contracts import archive, codec, headers, placement, topics
from infra.contracts.archive import ArchiveTable
from infra.contracts.events import Event
from infra.contracts.records import Action, Held, Judged, Verdict
from infra.runtime.archive import ArchiveReader
from infra.runtime.kafka import DeliveringProducer, Headers, apply_topics, producer_config
from infra.runtime.settings import Archive, Kafka, Runtime
from tests.integration.streams.running import Stored, free_port, read, wait_until

INPUTS = tuple(topic for table in archive.TABLES for topic in table.topics)
VERDICT = Verdict(action=Action.BLOCK, rule="words", version=1, reason="listed")
#: What tells two records apart: what they are about, and where they came from.
Key = tuple[str, str]


class ArchiveProcess:
    """One archive writer under its own topic prefix. `kill` is SIGKILL; `start` brings it back under the same name."""

    def __init__(self, kafka: Kafka, folder: Path, instance: str = "0") -> None:
        self.log = folder / f"archive-{instance}.log"
        self._port = free_port()
        self.environment = {
            **os.environ,
            "HUBBUB_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "HUBBUB_DATA_DIR": str(folder),
            "HUBBUB_ARCHIVE_PORT": str(self._port),
            "HUBBUB_ARCHIVE_INSTANCE": instance,
            "HUBBUB_ARCHIVE_COMMIT_SECONDS": "0.5",
            "HUBBUB_LOG_FORMAT": "json",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True, **settings: str) -> None:
        command = [sys.executable, "-m", "infra.cli", "run", "archive"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env={**self.environment, **settings}, stdout=log, stderr=log)
        if ready:
            wait_until(lambda: bool(self.report()["ready"]), 60)

    def report(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-4000:]
        try:
            return dict(httpx.get(f"http://127.0.0.1:{self._port}/readyz", timeout=2).json())
        except httpx.HTTPError:
            return {"ready": False, "lag": None, "checks": {}}

    def metric(self, name: str) -> float:
        """The sum of one metric over its labels."""
        text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=2).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)

    def command(self, *words: str, code: int = 0) -> Any:
        """What `hubbub archive WORDS --json` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", "archive", *words, "--json"],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr.decode()
        return json.loads(done.stdout)

    def wait_archived(self, seconds: float = 60) -> None:
        """Until the tables have everything that the topics hold now."""
        wait_until(lambda: all(t["lag"] == 0 for t in self.command("status")["tables"]), seconds)

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self.send_signal(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(20)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


@contextmanager
def archiving(kafka: Kafka, folder: Path, instance: str = "0") -> Iterator[ArchiveProcess]:
    """A started writer, killed at the end if the test left it running."""
    apply_topics(kafka, INPUTS)
    process = ArchiveProcess(kafka, folder, instance)
    process.start()
    try:
        yield process
    finally:
        if process.running:
            process.kill()


def event(number: int, **fields: Any) -> Event:
    """One event as the router lets it through."""
    now = datetime.now(UTC)
    place = {"id": f"e{number}", "channel_id": f"c{number % 40}", "user_id": f"u{number % 9}"}
    stamped = {"type": "message.sent", "time": now, "received_at": now, "tenant": f"t{number % 3}"}
    return Event(**{**place, **stamped, "text": f"text {number}", **fields})


def publish(kafka: Kafka, numbers: Iterable[int], producer: DeliveringProducer | None = None) -> None:
    """A record for each number, as the router writes them: most are events, some history, held ones and verdicts."""
    own = producer or DeliveringProducer(producer_config(kafka, "test"))
    for number in numbers:
        one = event(number)
        topic, value = topics.EVENTS, codec.encode(one)
        if number % 10 == 1:
            topic = topics.EVENTS_BACKFILL
        elif number % 10 == 2:
            topic, value = topics.HELD, msgspec.json.encode(Held(event=one, verdict=VERDICT))
        elif number % 10 == 3:
            judged = Judged(
                tenant=one.tenant or "",
                event_id=one.id,
                channel_id=one.channel_id,
                received_at=one.time,
                verdict=VERDICT,
            )
            topic, value = topics.VERDICTS, msgspec.json.encode(judged)
        found: Headers = [(headers.SRC, b"ingest/%d/%d/0" % (number % 8, number))]
        own.produce(kafka.topic(topic.name), value, key=placement.key(one.tenant or "", one), headers=found, wait=30)
        if number % 50 == 0:
            own.produce(
                kafka.topic(topics.EVENTS.name),
                b"{}",
                partition=number % 8,
                headers=[(headers.KIND, headers.HEARTBEAT)],
            )
    if producer is None:
        assert own.close(30) == 0


def in_topics(kafka: Kafka, table: ArchiveTable) -> Counter[Key]:
    """Every record that the table's topics hold, and how often."""
    return Counter(
        (_about(record), record.src.encode().decode()) for topic in table.topics for record in read(kafka, topic)
    )


def in_archive(folder: Path, table: ArchiveTable) -> Counter[Key]:
    """Every row of the table, copies included, and how often."""
    name = "id" if "id" in table.names else "event_id"
    rows = ArchiveReader(Archive(), Runtime(data_dir=folder)).rows(
        table, copies=True, columns=[name, "src_topic", "src_partition", "src_offset", "src_index"]
    )
    return Counter(
        (row[name], f"{row['src_topic']}/{row['src_partition']}/{row['src_offset']}/{row['src_index']}") for row in rows
    )


def _about(record: Stored) -> str:
    body = msgspec.json.decode(record.value)
    return str(body.get("id") or body.get("event_id") or body["event"]["id"])
