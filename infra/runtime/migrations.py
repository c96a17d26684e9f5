"""Brings the keyspace to the schema of the contract: each migration once, in order, by one process at a time."""

import os
import socket
import time
from datetime import UTC, datetime

import structlog
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from infra.contracts.tables import SCHEMA_LEASE, SCHEMA_MIGRATIONS, migrations
from infra.runtime.cassandra import connect
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Cassandra

log = structlog.get_logger("hubbub.migrations")

_LEASE_SECONDS = 60
_SCOPE = "hubbub"


def apply_schema(settings: Cassandra, wait_seconds: float = 90) -> list[str]:
    """Create the keyspace and apply what is missing. Returns the names applied.

    Raises `PreconditionError` when a migration that is already applied has been edited since, or when another
    process holds the lease for longer than `wait_seconds`.
    """
    database = connect(settings, keyspace="", prepare=False)
    try:
        session = database.session
        session.execute(
            f'CREATE KEYSPACE IF NOT EXISTS "{settings.keyspace}" WITH replication = {settings.replication}'
        )
        session.set_keyspace(settings.keyspace)
        session.execute(SCHEMA_MIGRATIONS)
        session.execute(SCHEMA_LEASE)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        _take_lease(session, owner, wait_seconds)
        try:
            return _apply(session)
        finally:
            session.execute("DELETE FROM schema_lease WHERE scope = %s IF owner = %s", (_SCOPE, owner))
    finally:
        database.close()


def check_schema(settings: Cassandra) -> list[str]:
    """What keeps the keyspace from being as the contract says; empty when nothing does."""
    database = connect(settings, keyspace="", prepare=False)
    try:
        session = database.session
        if settings.keyspace not in database.cluster.metadata.keyspaces:
            return [f"keyspace {settings.keyspace} is missing"]
        session.set_keyspace(settings.keyspace)
        if "schema_migrations" not in database.cluster.metadata.keyspaces[settings.keyspace].tables:
            return ["no migration is applied"]
        applied = _applied(session)
        return [f"migration {m.version:04d} {m.name} is not applied" for m in migrations() if m.version not in applied]
    finally:
        database.close()


def _apply(session: Session) -> list[str]:
    applied = _applied(session)
    done = []
    for migration in migrations():
        if migration.version in applied:
            if applied[migration.version] != migration.checksum:
                raise PreconditionError(
                    f"migration {migration.version:04d} was applied in another form. "
                    "Released migrations are never edited: restore it and add a new one."
                )
            continue
        for statement in migration.statements:
            session.execute(statement, timeout=60)
        session.execute(
            "INSERT INTO schema_migrations (scope, version, name, checksum, applied_at) VALUES (%s, %s, %s, %s, %s)",
            (_SCOPE, migration.version, migration.name, migration.checksum, datetime.now(UTC)),
        )
        done.append(migration.name)
        log.info("migration.applied", version=migration.version, name=migration.name)
    return done


def _applied(session: Session) -> dict[int, str]:
    query = SimpleStatement(
        "SELECT version, checksum FROM schema_migrations WHERE scope = %s",
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
    )
    return dict(session.execute(query, (_SCOPE,)))


def _take_lease(session: Session, owner: str, wait_seconds: float) -> None:
    take = f"INSERT INTO schema_lease (scope, owner) VALUES (%s, %s) IF NOT EXISTS USING TTL {_LEASE_SECONDS}"  # noqa: S608 - a number of ours
    deadline = time.monotonic() + wait_seconds
    while not session.execute(take, (_SCOPE, owner)).was_applied:
        if time.monotonic() > deadline:
            raise PreconditionError("another process is applying migrations. Try again in a minute.")
        time.sleep(0.5)
