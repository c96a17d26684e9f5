"""Runs `up --detach` with roles of the least kind in a process of its own, since it forks."""

import os
import sys
from pathlib import Path

from infra.local.errors import LocalError
from infra.local.settings import Local
from infra.local.stack import Plan, Step
from infra.local.supervisor import up
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime

ROLE = Path(__file__).with_name("role.py")


def plan(data_dir: Path) -> Plan:
    """Roles only: both engines are said to be elsewhere."""
    return Plan(
        roles=("ingest", "api"),
        steps=(Step(title="set-up", run=lambda env: (data_dir / "step").write_text(env["HUBBUB_KAFKA_BOOTSTRAP"])),),
        command=lambda role: (sys.executable, str(ROLE), role),
        runtime=Runtime(data_dir=data_dir),
        listen=Listen(ingest_port=26080, api_port=26090),
        local=Local(role_start_seconds=20),
        kafka=Kafka(bootstrap="kafka.test:9092"),
        cassandra=Cassandra(contact_points=["cassandra.test"]),
        environ={**os.environ, "HUBBUB_KAFKA_BOOTSTRAP": "kafka.test:9092"},
    )


if __name__ == "__main__":
    try:
        up(plan(Path(sys.argv[1])), detach=True, ready=lambda found: print(found.dashboard))
    except LocalError as error:
        print(error)
        sys.exit(3)
