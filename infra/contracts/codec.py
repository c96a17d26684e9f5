"""Bytes to events and back: the one decoder, and the frame that carries many events in one Kafka record.

A frame is a JSON array of envelopes of one partition; a record holding a single JSON object is a frame of one, so a
backend can produce directly.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from infra.contracts.events import MAX_DEPTH, MAX_EVENT_BYTES, Event, Invalid, check

#: A frame is closed before it would pass this many bytes.
MAX_FRAME_BYTES: Final = 512 * 1024
#: What an event may grow to by ingest's own fields and the context of its batch.
MAX_ENVELOPE_BYTES: Final = MAX_EVENT_BYTES + 1024

_encoder = msgspec.json.Encoder()
_stable = msgspec.json.Encoder(order="deterministic")
_event = msgspec.json.Decoder(Event)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_OPENING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def encode(event: Event) -> bytes:
    """The event as compact JSON."""
    return _encoder.encode(event)


def decode(raw: bytes | memoryview | msgspec.Raw, *, limit: int = MAX_ENVELOPE_BYTES) -> Event:
    """The event in these bytes, checked against every rule of the contract. Raises `Invalid`.

    A client's event is held to `MAX_EVENT_BYTES`, an envelope on the log to the default.
    """
    if len(raw) > limit:
        raise Invalid("too_large", None, f"the event is longer than {limit} bytes")
    try:
        event = _event.decode(raw)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("invalid_field", None, f"not JSON: {error}") from None
    if (event.properties or event.context) and too_deep(bytes(raw)):
        raise _too_deep()
    check(event)
    return event


def convert(fields: Mapping[str, Any]) -> Event:
    """The event of these fields, checked as `decode` does but for size and depth. Raises `Invalid`."""
    try:
        event = msgspec.convert(fields, Event)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None
    check(event)
    return event


def split(body: bytes | memoryview | msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of a JSON array, undecoded; a body that is one object is its own only element.

    Raises `Invalid` when the body is not JSON or neither an array nor an object.
    """
    head = bytes(memoryview(body)[:64]).lstrip()[:1]
    try:
        if head == b"[":
            return _raws.decode(body)
        if head == b"{":
            msgspec.json.decode(body, type=msgspec.Raw)
            return [msgspec.Raw(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("invalid_field", None, f"not JSON: {error}") from None
    raise Invalid("invalid_field", None, "expected a JSON object or an array of objects")


def frame(envelopes: Sequence[bytes]) -> bytes:
    """Many encoded envelopes as one record value."""
    return b"[" + b",".join(envelopes) + b"]"


def frames(envelopes: Iterable[bytes]) -> list[list[bytes]]:
    """The envelopes in runs whose frames stay within `MAX_FRAME_BYTES`, order kept."""
    runs: list[list[bytes]] = []
    size = MAX_FRAME_BYTES
    for envelope in envelopes:
        if size + len(envelope) + 1 > MAX_FRAME_BYTES:
            runs.append([])
            size = 2
        runs[-1].append(envelope)
        size += len(envelope) + 1
    return runs


def fingerprint(event: Event) -> int:
    """A number that tells two bodies of one id apart: a hash of what the client wrote, key order aside.

    Keyed by this process (SipHash, 64 bits), so it is of no use to another. Take it before ingest stamps the event.
    """
    return hash(_stable.encode(event))


def too_deep(raw: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether valid JSON nests arrays and objects deeper than `limit`, found without building it."""
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return False
    depth = 0
    for token in _OPENING.finditer(raw):
        mark = raw[token.start()]
        if mark in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif mark in b"]}":
            depth -= 1
    return False


def _too_deep() -> Invalid:
    return Invalid("too_deep", None, f"the event nests deeper than {MAX_DEPTH} levels")


def explain(text: str) -> Invalid:
    """What a client is told for a validation error of msgspec."""
    at = _AT.search(text)
    path = at.group(1) if at else ""
    message = text[: at.start()] if at else text
    if missing := _MISSING.search(message):
        return Invalid("missing_field", missing.group(1), f"{missing.group(1)} is required")
    if unknown := _UNKNOWN.search(message):
        return Invalid("invalid_field", unknown.group(1), f"there is no field {unknown.group(1)}")
    code = "bad_time" if path in ("time", "client_time", "received_at") else "invalid_field"
    return Invalid(code, path or None, message)
