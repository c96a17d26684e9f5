"""The API as a process of its own with one tenant and its key, in front of what a stage has put there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret, new_secret
from infra.runtime.control import publish
from tests.bench.chat import TENANT
from tests.bench.place import Place
from tests.integration.api.test_live import Api
from tests.integration.ingest.serving import free_port

_MANY: Final = "1000000"


@dataclass(frozen=True, slots=True)
class Served:
    """Where it is, and the header that opens it."""

    port: int
    pid: int
    key: str

    @property
    def headers(self) -> str:
        """As a request has it."""
        return f"Authorization: Bearer {self.key}\r\n"


@contextmanager
def served(place: Place) -> Iterator[Served]:
    """An API that is ready, killed at the end."""
    key, port = new_secret(Scope.READ), free_port()
    made = ApiKey(
        hash=hash_secret(key), tenant=TENANT, scopes=(Scope.READ,), name="bench", created_at=datetime.now(UTC)
    )
    publish(place.kafka, [Tenant(id=TENANT), made])
    environment = {
        **os.environ,
        "HUBBUB_LOG_LEVEL": "WARNING",
        "HUBBUB_KAFKA_TOPIC_PREFIX": place.kafka.topic_prefix,
        "HUBBUB_CASSANDRA_KEYSPACE": place.cassandra.keyspace,
        "HUBBUB_API_PORT": str(port),
        "HUBBUB_DATA_DIR": str(place.folder / f"api-{port}"),
        "HUBBUB_LIVE_CONNECTS_PER_SECOND": _MANY,
    }
    api = Api(environment, port)
    api.start()
    try:
        assert api.process is not None
        yield Served(port, api.process.pid, key)
    finally:
        api.stop()
