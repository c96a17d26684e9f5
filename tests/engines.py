"""Finds real engines for the tests: addresses in the environment, else containers, else local processes."""

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDRESSES = ("HUBBUB_KAFKA_BOOTSTRAP", "HUBBUB_CASSANDRA_CONTACT_POINTS", "HUBBUB_CASSANDRA_PORT")


@contextmanager
def engines(folder: Path) -> Iterator[dict[str, str]]:
    """The environment that points at a Kafka and a Cassandra; those started here are stopped at the end."""
    if os.environ.get(ADDRESSES[0]):
        yield {name: os.environ[name] for name in ADDRESSES if name in os.environ}
    elif docker_answers():
        with _containers() as environment:
            yield environment
    else:
        from infra.local.engines import local_engines

        with local_engines(folder) as running:
            yield running.environment


def docker_answers() -> bool:
    """Whether a Docker engine is there, not only its client."""
    import docker

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # docker leaves a socket open that found nobody
        try:
            client = docker.from_env(timeout=3)
            client.ping()
            client.close()
        except docker.errors.DockerException:
            return False
        finally:
            gc.collect()
    return True


@contextmanager
def _containers() -> Iterator[dict[str, str]]:
    from testcontainers.community.cassandra import CassandraContainer
    from testcontainers.community.kafka import KafkaContainer

    with KafkaContainer("apache/kafka:4.2.1").with_kraft() as kafka, CassandraContainer("cassandra:5.0") as cassandra:
        yield {
            "HUBBUB_KAFKA_BOOTSTRAP": kafka.get_bootstrap_server(),
            "HUBBUB_CASSANDRA_CONTACT_POINTS": f'["{cassandra.get_container_host_ip()}"]',
            "HUBBUB_CASSANDRA_PORT": str(cassandra.get_exposed_port(9042)),
        }
