"""The OpenAPI document describes what the API really answers, for whatever it is asked."""

from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.app import create_app
from api.settings import Api
from api.signing import Signer
from api.state import assemble
from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret
from infra.runtime.cassandra import Database
from infra.runtime.clock import SystemClock
from infra.runtime.control import Directory
from infra.runtime.settings import Kafka
from tests.integration.api.conftest import KEY, History

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
async def document(kafka: Kafka, database: Database) -> Any:
    directory, clock = Directory(), SystemClock()
    directory.tenants["described"] = Tenant(id="described")
    key = ApiKey(hash=hash_secret(KEY), tenant="described", scopes=(Scope.READ,), name="", created_at=NOW)
    directory.keys[key.hash] = key
    history = History(database, "described")
    await history.create(history.say(NOW, 1, message_id="m1"), history.say(NOW, 2))
    limits = Api(trace_seconds=0.2, trace_records=1_000)
    app = create_app(assemble(limits, kafka, database, directory, clock, Signer(b"secret")))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_replies_are_as_described(document: Any, mode: GenerationMode) -> None:
    asked = 0
    for operation in (result.ok() for result in document.get_all_operations()):
        # Nothing about the parameters of some operations can be wrong.
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue

        @settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            # No schema tells a cursor of ours from other text, nor that `from` lies before `to`: those are 400.
            case.call_and_validate(
                headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=[positive_data_acceptance]
            )

        ask()
        asked += 1
    assert asked > 5
