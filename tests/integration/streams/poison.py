"""What a topic may hold that is no event: the router must bury each once and leave its neighbours alone."""

from infra.contracts import codec, topics
from tests.integration.streams.running import event

#: Dead letters of one round.
KINDS = 14


def poison(number: int, tenant: str = "acme") -> list[tuple[int, bytes | None]]:
    """One of each kind, with the partition it goes to; the last is a frame with one bad element among good ones."""
    good = [codec.encode(event(number, id=f"good-{number}-{i}", tenant=tenant)) for i in range(2)]
    whole = codec.frame([codec.encode(event(number, id=f"cut-{number}-{i}", tenant=tenant)) for i in range(3)])
    partition = number % topics.INGEST.partitions
    values = [
        b"\xff\xfe not utf-8 \xc3\x28",
        b'{"id":"' + b"\xff" + b'","type":"message.sent"}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"id":5,"type":"message.sent","time":"soon"}',
        None,
        b'{"id":"big","type":"message.sent","text":"' + b"x" * 2_000_000 + b'"}',
        whole[: len(whole) // 2],
        b'{"id":"n","type":"message.sent","time":NaN}',
        b'{"id":"h","type":"message.sent","time":' + b"9" * 5_000 + b"}",
        b'{"id":"s","type":"message.sent","text":"\\ud800","time":"2026-01-01T00:00:00Z"}',
        b"\x00" * 1_000,
        b'{"id":"v","type":"message.sent","type":7}',
        codec.encode(event(number, id=f"mine-{number}", tenant=tenant, type="hubbub.heartbeat")),
        codec.frame([good[0], b'{"id":"bad","type":"message.sent"}', good[1]]),
    ]
    assert len(values) == KINDS
    return [(partition, value) for value in values]
