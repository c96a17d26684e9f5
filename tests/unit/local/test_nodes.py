"""What Kafka and Cassandra are configured with."""

import json
import uuid
from pathlib import Path

from infra.contracts import topics
from infra.local.cassandra import CassandraNode
from infra.local.kafka import MAX_RECORD, KafkaNode, cluster_id

JAVA = Path("/java")


def kafka(tmp_path: Path) -> KafkaNode:
    return KafkaNode(
        home=tmp_path / "kafka",
        java=JAVA,
        jars=(Path("/jars/kafka.jar"), Path("/jars/log.jar")),
        heap="256m",
        port=9100,
        controller_port=9101,
        log=tmp_path / "kafka.log",
        environment={},
    )


def cassandra(tmp_path: Path, java_version: int = 17) -> CassandraNode:
    return CassandraNode(
        home=tmp_path / "cassandra",
        java=JAVA,
        java_version=java_version,
        jars=(Path("/jars/cassandra.jar"), Path("/jars/jamm-0.4.0.jar")),
        heap="900m",
        port=9200,
        storage_port=9201,
        jmx_port=9202,
        log=tmp_path / "cassandra.log",
        environment={},
    )


def test_kafka_properties(tmp_path: Path) -> None:
    node = kafka(tmp_path)
    values = dict(line.split("=", 1) for line in node.properties(node.data).splitlines())
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:9100,CONTROLLER://127.0.0.1:9101"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:9101"
    assert values["log.dirs"] == str(tmp_path / "kafka" / "data")
    assert values["auto.create.topics.enable"] == "false"
    assert int(values["group.min.session.timeout.ms"]) <= 6000


def test_kafka_takes_the_largest_record_of_any_topic() -> None:
    largest = max(topic.max_message_bytes for topic in topics.TOPICS)
    assert largest <= MAX_RECORD


def test_kafka_command(tmp_path: Path) -> None:
    command = kafka(tmp_path).command()
    assert command.argv[0] == "/java/bin/java"
    assert "-Xmx256m" in command.argv
    assert command.argv[command.argv.index("-cp") + 1] == "/jars/kafka.jar:/jars/log.jar"
    assert command.argv[-2:] == ("kafka.Kafka", str(tmp_path / "kafka" / "server.properties"))


def test_cluster_id_never_looks_like_an_option() -> None:
    ids = iter([uuid.UUID(bytes=b"\xf8" + bytes(15)), uuid.UUID(bytes=bytes(16))])
    assert cluster_id(lambda: next(ids)) == "A" * 22


async def test_cassandra_configuration_is_written_as_yaml_that_is_json(tmp_path: Path) -> None:
    node = cassandra(tmp_path)
    await node.prepare()
    written = json.loads((tmp_path / "cassandra" / "cassandra.yaml").read_text())
    assert written["native_transport_port"] == 9200
    assert written["seed_provider"][0]["parameters"] == [{"seeds": "127.0.0.1:9201"}]
    assert written["data_file_directories"] == [str(tmp_path / "cassandra" / "data")]


def test_cassandra_acknowledges_a_write_only_after_its_commit_log_sync(tmp_path: Path) -> None:
    assert cassandra(tmp_path).configuration()["commitlog_sync"] == "batch"


def test_cassandra_command(tmp_path: Path) -> None:
    argv = cassandra(tmp_path).command().argv
    assert "-javaagent:/jars/jamm-0.4.0.jar" in argv
    assert "-Dcassandra.jmx.local.port=9202" in argv
    assert "-Xmx900m" in argv
    assert argv[-1] == "org.apache.cassandra.service.CassandraDaemon"
    assert not any("security.manager" in argument for argument in argv)


def test_java_21_is_told_to_allow_the_security_manager(tmp_path: Path) -> None:
    assert "-Djava.security.manager=allow" in cassandra(tmp_path, java_version=21).command().argv


def test_addresses_for_the_roles(tmp_path: Path) -> None:
    assert kafka(tmp_path).addresses() == {"HUBBUB_KAFKA_BOOTSTRAP": "127.0.0.1:9100"}
    assert cassandra(tmp_path).addresses() == {
        "HUBBUB_CASSANDRA_CONTACT_POINTS": '["127.0.0.1"]',
        "HUBBUB_CASSANDRA_PORT": "9200",
    }


async def test_a_commit_log_segment_that_was_never_begun_is_deleted_and_no_other(tmp_path: Path) -> None:
    node = cassandra(tmp_path)
    await node.prepare()  # no commit log yet
    folder = tmp_path / "cassandra" / "commitlog"
    folder.mkdir()
    begun, unwritten = folder / "CommitLog-8-1.log", folder / "CommitLog-8-2.log"
    begun.write_bytes(bytes.fromhex("00000008000001a21ea0ba73") + bytes(1_000))
    unwritten.write_bytes(bytes(1_000))
    (folder / "CommitLog-8-3_cdc.idx").write_bytes(bytes(10))
    node.mend()
    assert sorted(f.name for f in folder.iterdir()) == ["CommitLog-8-1.log", "CommitLog-8-3_cdc.idx"]
