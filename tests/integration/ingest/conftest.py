"""An ingest of its own for each module, and a tenant of its own for each test."""

from collections.abc import Iterator

import pytest

from infra.runtime.settings import Kafka
from tests.integration.ingest.serving import Guest, IngestProcess, serving


@pytest.fixture(scope="module")
def process(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    with serving(kafka, tmp_path_factory.mktemp("ingest") / "log") as process:
        yield process


@pytest.fixture
def guest(process: IngestProcess) -> Guest:
    guest = Guest(ingest=process)
    guest.move_in()
    return guest
