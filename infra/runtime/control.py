"""Follows the compacted `control` topic: tenants and hashed keys, read whole at start and kept current by a thread."""

import threading
from collections.abc import Iterable

import msgspec
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from infra.contracts import topics
from infra.contracts.control import ApiKey, Control, Tenant, hash_secret
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.kafka import DeliveringProducer, client_config, producer_config
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.control")

_decoder = msgspec.json.Decoder(Control)


class Directory:
    """Tenants and keys as of now. Reading is lock free: each change replaces one dictionary entry."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.keys: dict[str, ApiKey] = {}

    def find_key(self, secret: str) -> ApiKey | None:
        """The key with this secret, unless there is none or its tenant is gone."""
        key = self.keys.get(hash_secret(secret))
        return key if key is not None and key.tenant in self.tenants else None

    def apply(self, record_key: bytes | None, value: bytes | None) -> None:
        """Take one record of the topic; a null value removes what stood under its key."""
        if record_key is None:
            return
        if value is None:
            kind, _, name = record_key.decode().partition("/")
            if kind == "tenant":
                self.tenants.pop(name, None)
            else:
                self.keys.pop(name, None)
            return
        match _decoder.decode(value):
            case Tenant() as tenant:
                self.tenants[tenant.id] = tenant
            case ApiKey() as key:
                self.keys[key.hash] = key


class ControlFollower:
    """Reads the topic to its end before `start` returns, then keeps following it in a thread."""

    def __init__(self, settings: Kafka, client_id: str) -> None:
        self.directory = Directory()
        #: Set after each record taken.
        self.changed = threading.Event()
        self._settings = settings
        self._client_id = client_id
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, timeout: float = 30) -> Directory:
        """Read everything there is. Raises `PreconditionError` when Kafka or the topic is not there in time."""
        name = self._settings.topic(topics.CONTROL.name)
        consumer = Consumer(
            {
                **client_config(self._settings, f"{self._client_id}-control"),
                "group.id": f"{self._client_id}-control",  # required by librdkafka; nothing is committed
                "enable.auto.commit": False,
            }
        )
        try:
            found = consumer.list_topics(name, timeout=timeout).topics[name]
            partitions = [TopicPartition(name, p, OFFSET_BEGINNING) for p in found.partitions]
            if found.error is not None or not partitions:
                raise PreconditionError(f"topic {name} does not exist. Run `hubbub topics apply`.")
            ends = {p.partition: consumer.get_watermark_offsets(p, timeout=timeout)[1] for p in partitions}
        except KafkaException as error:
            consumer.close()
            raise Unreachable("Kafka", self._settings.bootstrap, "Is it running?") from error
        consumer.assign(partitions)
        self._read_until(consumer, partitions, ends, timeout)
        self._thread = threading.Thread(target=self._follow, args=(consumer,), name="control", daemon=True)
        self._thread.start()
        return self.directory

    @property
    def following(self) -> bool:
        """Whether changes are still being taken."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _read_until(
        self, consumer: Consumer, partitions: list[TopicPartition], ends: dict[int, int], timeout: float
    ) -> None:
        waited = 0.0
        # A compacted log has gaps, so the position decides, not a count of records.
        while any(p.offset < ends[p.partition] for p in consumer.position(partitions)) and any(ends.values()):
            message = consumer.poll(0.2)
            if message is not None:
                self._take(message)
                continue
            waited += 0.2
            if waited > timeout:
                raise PreconditionError(f"topic {partitions[0].topic} could not be read within {timeout:.0f} s.")

    def _follow(self, consumer: Consumer) -> None:
        while not self._stopping.is_set():
            message = consumer.poll(0.5)
            if message is not None:
                self._take(message)
        consumer.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            log.warning("control.error", code=error.name())
            return
        try:
            self.directory.apply(message.key(), message.value())
        except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
            log.error("control.bad_record", offset=message.offset(), error=str(bad))
        self.changed.set()


def publish(settings: Kafka, records: Iterable[Control], removed: Iterable[bytes] = (), timeout: float = 10) -> None:
    """Write records to the topic, and tombstones for the keys in `removed`, and wait until they are stored."""
    producer = DeliveringProducer(producer_config(settings, "hubbub-control"))
    name = settings.topic(topics.CONTROL.name)
    for record in records:
        producer.produce(name, msgspec.json.encode(record), key=record.record_key)
    for key in removed:
        producer.produce(name, None, key=key)
    if producer.close(timeout):
        raise Unreachable("Kafka", settings.bootstrap, "The change was not stored; try again.")
