"""Request bodies to undecoded events: media types, gzip that stops at the limit, arrays, lines and batches."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from infra.contracts import codec
from infra.contracts.events import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_DEPTH, Invalid, Time
from ingest.errors import Disconnected, Refused
from ingest.forms import NATIVE, Form

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
#: The context of a batch is written into each of its events, so it is held shorter than they are.
MAX_CONTEXT_BYTES: Final = 8 * 1024
#: What decoding raises for a body that is not what it should be.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_TOO_LARGE: Final = f"a request holds at most {MAX_BATCH_BYTES} bytes, decompressed"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The events of one request as sent, and what the batch says about all of them."""

    items: list[msgspec.Raw] | list[bytes]
    form: Form = NATIVE
    sent_at: datetime | None = None
    context: dict[str, Any] | None = None
    historical: bool = False

    def __post_init__(self) -> None:
        """Raise `Refused` unless it holds as many events as a request may."""
        if not self.items:
            raise Refused(400, "the request holds no event")
        if len(self.items) > MAX_BATCH_EVENTS:
            raise Refused(413, f"a request holds at most {MAX_BATCH_EVENTS} events")


class _Batch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    batch: list[msgspec.Raw]
    sent_at: Time | None = None
    context: msgspec.Raw = msgspec.Raw(b"null")
    historical: bool = False


_batch = msgspec.json.Decoder(_Batch)
_context = msgspec.json.Decoder(dict[str, Any] | None)


async def read(receive: Receive, *, length: bytes | None, encoding: bytes | None, seconds: float) -> bytes:
    """The whole body, decompressed. Raises `Refused` as soon as it is too long, whether it says so or not."""
    if encoding is not None and encoding.strip().lower() not in (b"gzip", b"identity"):
        raise Refused(415, "Content-Encoding may be gzip")
    if length is not None and length.isdigit() and int(length) > MAX_BATCH_BYTES:
        raise Refused(413, _TOO_LARGE)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        try:
            async with asyncio.timeout(seconds):
                body = await _rest(receive, body)
        except TimeoutError:
            raise Refused(503, f"the body did not arrive within {seconds:g} s", {"Retry-After": "1"}) from None
    if len(body) > MAX_BATCH_BYTES:
        raise Refused(413, _TOO_LARGE)
    if encoding is not None and encoding.strip().lower() == b"gzip":
        return gunzip(body)
    return body


def gunzip(body: bytes, limit: int = MAX_BATCH_BYTES) -> bytes:
    """The content of one gzip member, never unpacking more than a byte over the limit."""
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refused(400, f"not gzip: {error}") from None
    if len(content) > limit:
        raise Refused(413, _TOO_LARGE)
    if not stream.eof:
        raise Refused(400, "the gzip stream is cut off")
    if stream.unused_data:
        raise Refused(400, "something follows the gzip stream")
    return content


def media_type(content_type: bytes | None, allowed: Iterable[str]) -> str:
    """The media type, one of `allowed`. Raises `Refused` 415."""
    name, *parameters = (content_type or b"").decode("latin-1").lower().split(";")
    charsets = [p.partition("=")[2].strip(' "') for p in parameters if p.strip().startswith("charset=")]
    if name.strip() not in allowed or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise Refused(415, f"Content-Type may be {' or '.join(allowed)}, in UTF-8")
    return name.strip()


def parse_events(body: bytes) -> Batch:
    """One event, or an array of them."""
    return Batch(items=split(body))


def parse_lines(body: bytes) -> Batch:
    """One event a line."""
    return Batch(items=[line for line in body.split(b"\n") if line.strip()])


def parse_batch(body: bytes) -> Batch:
    """`{"batch": [...], "sent_at": ..., "context": {...}, "historical": ...}`."""
    try:
        parsed = _batch.decode(body)
        context = read_context(parsed.context)
    except UNREADABLE as error:
        raise Refused(400, f"not a batch: {error}") from None
    return Batch(items=parsed.batch, sent_at=parsed.sent_at, context=context, historical=parsed.historical)


def split(body: bytes) -> list[msgspec.Raw]:
    """The items of an array, or the one that the body is."""
    try:
        return codec.split(body)
    except Invalid as invalid:
        raise Refused(400, invalid.message) from None


def read_context(raw: msgspec.Raw) -> dict[str, Any] | None:
    """The context of a batch. Raises `Refused` where it is too much, one of `UNREADABLE` where it is no object."""
    if len(memoryview(raw)) > MAX_CONTEXT_BYTES:
        raise Refused(400, f"context is longer than {MAX_CONTEXT_BYTES} bytes")
    if codec.too_deep(bytes(raw), MAX_DEPTH - 1):
        raise Refused(400, f"context nests deeper than {MAX_DEPTH - 1} levels")
    context: dict[str, Any] | None = _context.decode(raw)
    return context


async def _rest(receive: Receive, head: bytes) -> bytes:
    parts, size, more = [head], len(head), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BATCH_BYTES:
            raise Refused(413, _TOO_LARGE)
        more = message.get("more_body", False)
    return b"".join(parts)
