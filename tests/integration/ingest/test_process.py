"""The ingest process: it stops in order, says what is wrong when it cannot start, and keeps to its OpenAPI document."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from infra.contracts.control import Scope
from infra.contracts.topics import INGEST
from infra.runtime.settings import Kafka
from tests.integration.ingest.serving import Guest, IngestProcess, free_port, serving
from tests.unit.ingest.deliveries import event


@pytest.fixture(scope="module")
def process(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    with serving(kafka, tmp_path_factory.mktemp("ingest") / "log") as process:
        yield process


@pytest.fixture(scope="module")
def guest(process: IngestProcess) -> Guest:
    guest = Guest(ingest=process)
    guest.move_in()
    return guest


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_api_does_what_its_document_says(guest: Guest, mode: GenerationMode) -> None:
    document: Any = schemathesis.openapi.from_url(f"{guest.url}/openapi.json")
    asked = set()
    for operation in (result.ok() for result in document.get_all_operations()):
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # nothing about it can be wrong

        @settings(max_examples=30, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            # No schema says that a reaction needs a message id, so a body that fits the schema may still be refused;
            # and of a body with one bad event the good ones are stored.
            case.call_and_validate(
                headers={"Authorization": f"Bearer {guest.keys[Scope.SERVER]}"},
                excluded_checks=[positive_data_acceptance, negative_data_rejection],
            )

        ask()
        asked.add(operation.path)
    assert {"/v1/events", "/v1/batch"} <= asked


def test_it_is_ready_with_every_check_named(process: IngestProcess) -> None:
    report = httpx.get(f"{process.url}/readyz").json()
    assert report["ready"]
    assert set(report["checks"]) == {"topics", "control", "producer", "queue"}


def test_a_term_signal_under_load_loses_nothing_acknowledged(kafka: Kafka, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    other: list[object] = []
    with serving(kafka, tmp_path / "log") as process:
        guest = Guest(ingest=process)
        guest.move_in()
        half_way = threading.Event()

        def send(worker: int) -> None:
            with httpx.Client(headers={"Authorization": f"Bearer {guest.keys[Scope.WRITE]}"}) as client:
                for number in range(1_000):
                    items = [event(id=f"{worker}-{number}-{i}", channel_id=f"c{i}") for i in range(20)]
                    try:
                        reply = client.post(f"{process.url}/v1/events", json=items)
                    except httpx.TransportError as gone:
                        other.append(gone)
                        return
                    assert reply.json() == {"accepted": 20, "duplicates": 0}
                    acknowledged.extend(item["id"] for item in items)
                    if number == 10:
                        half_way.set()

        workers = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        assert half_way.wait(30)
        assert process.process is not None
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(12) == 0
        for worker in workers:
            worker.join()
        assert len(other) == 4
        process.start()
        stored = [one.id for one in guest.stored(INGEST)]
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from ingest.role import run; sys.exit(run())"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_taken_port_is_named(kafka: Kafka) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = start(HUBBUB_INGEST_PORT=str(port), HUBBUB_KAFKA_TOPIC_PREFIX=kafka.topic_prefix)
    assert f"PreconditionError: cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_missing_topics_are_named(kafka: Kafka) -> None:
    ended = start(HUBBUB_INGEST_PORT=str(free_port()), HUBBUB_KAFKA_TOPIC_PREFIX="nowhere-")
    assert "PreconditionError: topic nowhere-control does not exist. Run `hubbub topics apply`." in ended.stderr
