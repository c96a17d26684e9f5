"""Follows the compacted `control` topic: tenants, hashed keys and rule sets, read whole at start and kept current."""

import threading
import time
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts import topics
from infra.contracts.control import ApiKey, Control, Tenant, hash_secret
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.kafka import DeliveringProducer, client_config, end_offsets, producer_config
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.control")

_decoder = msgspec.json.Decoder(Tenant | ApiKey)
#: How often a follower that must know how current it is asks where the topic ends.
_CONFIRM_SECONDS: Final = 0.2
_CONFIRM_FETCH_MS: Final = 50


class View(Protocol):
    """What takes the topic's records, in their order and from one thread."""

    def apply(self, key: bytes, value: bytes | None, appended_ms: int) -> None:
        """Take one record; a null value removes what stood under its key."""


class Directory:
    """Tenants and keys as of now. Reading is lock free: each change replaces one dictionary entry."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.keys: dict[str, ApiKey] = {}

    def find_key(self, secret: str) -> ApiKey | None:
        """The key with this secret, unless there is none or its tenant is gone."""
        key = self.keys.get(hash_secret(secret))
        return key if key is not None and key.tenant in self.tenants else None

    def apply(self, key: bytes, value: bytes | None, appended_ms: int = 0) -> None:
        """Take one record of the topic; a null value removes what stood under its key. Others than ours are left."""
        kind, _, name = key.decode().partition("/")
        if kind not in ("tenant", "key"):
            return
        if value is None:
            (self.tenants if kind == "tenant" else self.keys).pop(name, None)
            return
        match _decoder.decode(value):
            case Tenant() as tenant:
                self.tenants[tenant.id] = tenant
            case ApiKey() as api_key:
                self.keys[api_key.hash] = api_key


class ControlFollower:
    """Reads the topic to its end before `start` returns, then keeps following it in a thread.

    `views` see every record beside the directory. With `confirm`, the follower keeps asking where the topic ends, and
    `current_at` says up to when, by the monotonic clock, it certainly has everything.
    """

    def __init__(self, settings: Kafka, client_id: str, *views: View, confirm: bool = False) -> None:
        self.directory = Directory()
        self.current_at = 0.0
        self._views: tuple[View, ...] = (self.directory, *views)
        self._confirm = confirm
        #: By partition, the offset up to which everything is read.
        self._read: dict[int, int] = {}
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
                # A compacted log may end in nothing: only this tells that its end was reached.
                "enable.partition.eof": True,
                # A broker answers one connection's requests in turn: a question waits behind the fetch that is open.
                **({"fetch.wait.max.ms": _CONFIRM_FETCH_MS} if self._confirm else {}),
            }
        )
        asked = time.monotonic()
        try:
            found = consumer.list_topics(name, timeout=timeout).topics[name]
            partitions = [TopicPartition(name, p, OFFSET_BEGINNING) for p in found.partitions]
            if found.error is not None or not partitions:
                raise PreconditionError(f"topic {name} does not exist. Run `hubbub topics apply`.")
            ends = end_offsets(consumer, partitions, timeout)
        except KafkaException as error:
            consumer.close()
            raise Unreachable("Kafka", self._settings.bootstrap, "Is it running?") from error
        consumer.assign(partitions)
        if not self._read_until(consumer, ends, timeout):
            consumer.close()
            raise PreconditionError(f"topic {name} could not be read within {timeout:.0f} s.")
        self.current_at = asked
        follow = threading.Thread(target=self._follow, args=(consumer, partitions), name="control", daemon=True)
        self._thread = follow
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

    def _read_until(self, consumer: Consumer, ends: dict[tuple[str, int], int], timeout: float) -> bool:
        """Whether everything up to these ends was read in time."""
        deadline = time.monotonic() + timeout
        while any(self._read.get(partition, 0) < end for (_, partition), end in ends.items()):
            if self._stopping.is_set() or time.monotonic() > deadline:
                return False
            if (message := consumer.poll(0.2)) is not None:
                self._take(message)
        return True

    def _follow(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        next_asked = 0.0
        while not self._stopping.is_set():
            message = consumer.poll(_CONFIRM_SECONDS / 2 if self._confirm else 0.5)
            if message is not None:
                self._take(message)
            if self._confirm and (asked := time.monotonic()) >= next_asked:
                next_asked = asked + _CONFIRM_SECONDS
                try:
                    if self._read_until(consumer, end_offsets(consumer, partitions, 5), 5):
                        self.current_at = asked
                except KafkaException as error:
                    log.warning("control.unconfirmed", code=error.args[0].name())
        consumer.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            log.warning("control.error", code=error.name())
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        if error is not None:
            self._read[partition] = max(offset, self._read.get(partition, 0))
            return
        key, (_, appended_ms) = message.key(), message.timestamp()
        for view in self._views:
            try:
                if key is not None:
                    view.apply(key, message.value(), appended_ms)
            except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
                log.error("control.bad_record", offset=offset, error=str(bad))
        self._read[partition] = offset + 1
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
