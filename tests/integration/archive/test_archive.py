import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from infra.contracts import archive, topics
from infra.runtime.archive import ArchiveReader
from infra.runtime.kafka import DeliveringProducer, admin, apply_topics, observer, producer_config
from infra.runtime.settings import Archive, Kafka, Runtime
from tests.integration.archive.archiving import INPUTS, archiving, in_archive, in_topics, publish
from tests.integration.streams.running import wait_until


@pytest.fixture
def own_kafka(kafka: Kafka) -> Iterator[Kafka]:
    """The same Kafka under a prefix that nothing has written to yet."""
    settings = Kafka(topic_prefix=f"{kafka.topic_prefix}{secrets.token_hex(2)}-")
    created = apply_topics(settings, INPUTS)
    yield settings
    client = admin(settings)
    for done in client.delete_topics(created).values():
        done.result(30)


def agree(kafka: Kafka, folder: Path) -> int:
    """Each record of the topics is in the archive, once. How many there are."""
    total = 0
    for table in archive.TABLES:
        found = in_archive(folder, table)
        assert max(found.values(), default=1) == 1
        assert found == in_topics(kafka, table)
        total += found.total()
    return total


def test_killed_five_times_under_load_each_record_is_there_once(own_kafka: Kafka, tmp_path: Path) -> None:
    rng, ended = random.Random(5), threading.Event()
    producer = DeliveringProducer(producer_config(own_kafka, "test"))
    sent = 0

    def load() -> None:
        nonlocal sent
        while not ended.is_set():
            publish(own_kafka, range(sent, sent + 100), producer)
            sent += 100
            time.sleep(0.05)  # 2,000 a second

    with archiving(own_kafka, tmp_path) as process:
        sender = threading.Thread(target=load)
        sender.start()
        try:
            for _ in range(5):
                # From before its first commit to several after it.
                time.sleep(rng.uniform(0.2, 3))
                process.kill()
                process.start(ready=False)
                wait_until(lambda: process.report()["lag"] is not None, 60)
        finally:
            ended.set()
            sender.join()
        assert producer.close(30) == 0
        process.wait_archived()
        assert agree(own_kafka, tmp_path) == sent
        assert process.stop() == 0


def test_stopped_it_commits_what_it_read(own_kafka: Kafka, tmp_path: Path) -> None:
    with archiving(own_kafka, tmp_path) as process:
        assert process.stop() == 0
        process.start(HUBBUB_ARCHIVE_COMMIT_SECONDS="3600")
        publish(own_kafka, range(300))
        wait_until(lambda: process.report()["lag"] == 0 and process.metric("hubbub_archive_buffered_bytes") > 0, 30)
        wait_until(lambda: process.metric("hubbub_archive_buffered_bytes") >= 300 * 200, 30)
        assert process.metric("hubbub_archive_rows_total") == 0
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 10
    assert agree(own_kafka, tmp_path) == 300
    group = observer(own_kafka, "test", own_kafka.group("archive"))
    partitions = [TopicPartition(own_kafka.topic(t.name), n) for t in INPUTS for n in range(t.partitions)]
    reported = {(p.topic, p.partition): p.offset for p in group.committed(partitions, timeout=10)}
    for place in partitions:
        end = group.get_watermark_offsets(place, timeout=10)[1]
        assert max(0, reported[place.topic, place.partition]) == end
    group.close()


def test_a_zombie_writes_nothing_twice(own_kafka: Kafka, tmp_path: Path) -> None:
    with archiving(own_kafka, tmp_path) as first:
        publish(own_kafka, range(500))
        first.wait_archived()
        first.send_signal(signal.SIGSTOP)
        with archiving(own_kafka, tmp_path, "1") as second:
            publish(own_kafka, range(500, 1_500))
            # The second gets everything once the first's session is over.
            second.wait_archived(60)
            first.send_signal(signal.SIGCONT)
            publish(own_kafka, range(1_500, 2_500))
            first.wait_archived()
            wait_until(lambda: first.report()["ready"] and second.report()["ready"], 60)
            assert agree(own_kafka, tmp_path) == 2_500


def test_what_is_gone_from_the_log_is_told_and_waits_for_a_decision(own_kafka: Kafka, tmp_path: Path) -> None:
    name = own_kafka.topic(topics.EVENTS.name)
    with archiving(own_kafka, tmp_path) as process:
        publish(own_kafka, range(400))
        process.wait_archived()
        assert process.stop() == 0
        publish(own_kafka, range(400, 800))
        archived = {o["partition"]: o for t in process.command("status")["tables"] for o in t["offsets"]}
        partition = max((o for o in archived.values() if o["partition"].startswith("events/")), key=lambda o: o["lag"])
        number, stands = int(partition["partition"].rpartition("/")[2]), partition["archived"]
        # As retention does it: three of the records that nobody has archived yet.
        client = admin(own_kafka)
        (done,) = client.delete_records([TopicPartition(name, number, stands + 3)]).values()
        done.result(30)
        process.start(ready=False)
        wait_until(lambda: not process.report()["checks"].get("gaps", {"ok": True})["ok"], 60)
        told = process.report()["checks"]["gaps"]["detail"]
        assert told == f"gone before they were archived: events/{number}: 3 records before {stands + 3}"
        assert process.metric("hubbub_archive_gap_records") == 3
        # The others go on meanwhile.
        wait_until(
            lambda: sum(t["lag"] for t in process.command("status", code=1)["tables"]) == partition["lag"] - 3, 60
        )
        assert not process.report()["ready"]
        skipped = process.command("skip", f"events/{number}")
        assert skipped == {"partition": f"events/{number}", "records": 3, "archived": stands, "resumed": stands + 3}
        process.wait_archived()
        wait_until(lambda: bool(process.report()["ready"]), 30)
        assert process.metric("hubbub_archive_gap_records") == 0
        lost = 0
        for table in archive.TABLES:
            found, there = in_archive(tmp_path, table), in_topics(own_kafka, table)
            assert max(found.values()) == 1
            assert not there - found
            lost += found.total()
        assert 800 - 3 <= lost < 800  # a heartbeat may be among the three
        history = ArchiveReader(Archive(), Runtime(data_dir=tmp_path)).open(archive.EVENTS).history()
        assert [commit["hubbub.skipped"] for commit in history if "hubbub.skipped" in commit] == [skipped]


def test_a_table_that_cannot_be_written_holds_its_partitions_and_loses_nothing(
    own_kafka: Kafka, tmp_path: Path
) -> None:
    with archiving(own_kafka, tmp_path) as process:
        publish(own_kafka, range(200))
        process.wait_archived()
        table, away = tmp_path / "archive" / "events", tmp_path / "away"
        table.rename(away)
        publish(own_kafka, range(200, 600))
        wait_until(lambda: not process.report()["checks"]["tables"]["ok"], 30)
        assert "events" in process.report()["checks"]["tables"]["detail"]
        publish(own_kafka, range(600, 900))
        away.rename(table)
        process.wait_archived()
        wait_until(lambda: bool(process.report()["ready"]), 60)
        assert agree(own_kafka, tmp_path) == 900


def test_maintenance_and_writer_go_on_beside_each_other(own_kafka: Kafka, tmp_path: Path) -> None:
    """Days long over and today's are put together while both are written to."""
    producer, ended = DeliveringProducer(producer_config(own_kafka, "test")), threading.Event()
    sent = 0

    def load() -> None:
        nonlocal sent
        while not ended.is_set():
            publish(own_kafka, range(sent, sent + 50), producer)
            sent += 50
            time.sleep(0.05)

    with archiving(own_kafka, tmp_path) as process:
        process.stop()
        process.start(HUBBUB_ARCHIVE_COMMIT_SECONDS="0.1")
        sender = threading.Thread(target=load)
        sender.start()
        try:
            wait_until(lambda: process.command("status")["tables"][0]["files"] >= 40, 60)
            (events, *_) = process.command("maintain")
            assert events["days"] >= 1
            assert events["files_after"] < events["files_before"]
            process.command("maintain")
        finally:
            ended.set()
            sender.join()
        assert producer.close(30) == 0
        process.wait_archived()
        assert agree(own_kafka, tmp_path) == sent
        assert process.report()["ready"]
