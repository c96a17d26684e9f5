"""The Cassandra adapters on a real node, and the cell rules that history stands on."""

from datetime import UTC, datetime

import pytest

from infra.contracts import placement, tables
from infra.runtime.cassandra import connect
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.migrations import apply_schema, check_schema
from infra.runtime.settings import Cassandra

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(cassandra):
    found = connect(cassandra)
    yield found
    found.close()


def test_every_statement_prepares_and_the_schema_is_current(database, cassandra):
    assert check_schema(cassandra) == []
    assert apply_schema(cassandra) == []
    for statement in tables.STATEMENTS.values():
        assert database.prepared(statement).is_idempotent


def test_an_edited_migration_is_refused(database, cassandra):
    update = "UPDATE schema_migrations SET checksum = %s WHERE scope = 'hubbub' AND version = 1"
    first = tables.migrations()[0]
    database.session.execute(update, ("edited",))
    try:
        with pytest.raises(PreconditionError, match="0001 was applied in another form"):
            apply_schema(cassandra)
    finally:
        database.session.execute(update, (first.checksum,))


def test_a_keyspace_that_is_not_there_and_a_node_that_is_not_there_are_told_apart(cassandra):
    missing = cassandra.model_copy(update={"keyspace": "nowhere"})
    assert check_schema(missing) == ["keyspace nowhere is missing"]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 "):
        connect(Cassandra(port=1))


async def test_cells_converge_whatever_the_order(database):
    def create(received_at, envelope):
        return tables.CREATE_MESSAGE, (placement.create_write_time(received_at), envelope, "src", "")

    edit = tables.EDIT_MESSAGE, (placement.micros(LATER), "edited")
    delete = tables.DELETE_MESSAGE, (placement.micros(LATER), LATER)
    writes = [create(AT, "first"), create(LATER, "second"), edit, create(AT, "first")]
    for name, order in (("forward", writes), ("backward", writes[::-1])):
        cell = ("t", name, 0, AT, "m")
        for statement, values in order:
            await database.execute(statement, (*values, *cell))
        [(_, _, envelope, _, _, edited, _, deleted_at, _)] = await database.execute(tables.MESSAGE, cell)
        assert (envelope, edited, deleted_at) == ("first", "edited", None)
        await database.execute(delete[0], (*delete[1], *cell))
        await database.execute(writes[0][0], (*writes[0][1], *cell))
        [(_, _, envelope, _, _, _, _, deleted_at, _)] = await database.execute(tables.MESSAGE, cell)
        assert (envelope, deleted_at) == ("", LATER.replace(tzinfo=None))
