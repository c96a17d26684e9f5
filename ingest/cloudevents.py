"""CloudEvents 1.0 in JSON: one, an array, or one whose attributes are headers (binary mode).

`type`, `id` and `time` are the event's own, `subject` is its channel, `data` holds its other fields; what else there is
stays in `context.cloudevents`. The form: github.com/cloudevents/spec, cloudevents/formats/json-format.md and
cloudevents/bindings/http-protocol-binding.md.
"""

import base64
import binascii
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from infra.contracts import codec
from infra.contracts.events import Event, Invalid
from ingest.bodies import UNREADABLE, Batch, Headers, split
from ingest.errors import Refused
from ingest.forms import Form, Raw

ONE: Final = "application/cloudevents+json"
MANY: Final = "application/cloudevents-batch+json"
_VERSION: Final = b"ce-specversion"
_ATTRIBUTES: Final = ("id", "type", "time")
_IN_DATA: Final = (
    "user_id",
    "anonymous_id",
    "message_id",
    "thread_id",
    "reply_to",
    "text",
    "reaction",
    "is_bot",
    "properties",
    "context",
)
_object = msgspec.json.Decoder(dict[str, Any])


def parse(body: bytes) -> Batch:
    """One event."""
    return Batch(items=[_raw(body)], form=FORM)


def parse_many(body: bytes) -> Batch:
    """An array of events."""
    if not body.lstrip().startswith(b"["):
        raise Refused(400, "expected a JSON array of CloudEvents")
    return Batch(items=split(body), form=FORM)


def is_binary(headers: Headers) -> bool:
    """Whether the attributes of an event are in these headers."""
    return _VERSION in headers


def parse_binary(body: bytes, headers: Headers) -> Batch:
    """One event whose attributes are `ce-` headers and whose data is the body."""
    event: dict[str, Any] = {
        name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    if body.strip():
        event["data"] = _raw(body)
    return Batch(items=[msgspec.json.encode(event)], form=FORM)


def decode(raw: Raw, *, limit: int) -> Event:
    """The event of one CloudEvent. Raises `Invalid`."""
    if len(raw) > limit:
        raise Invalid("too_large", None, f"the event is longer than {limit} bytes")
    if codec.too_deep(bytes(raw)):
        raise Invalid("too_deep", None, "the event nests too deep")
    try:
        found = _object.decode(raw)
    except UNREADABLE as error:
        raise Invalid("invalid_field", None, f"not a CloudEvent: {error}") from None
    if found.pop("specversion", None) != "1.0":
        raise Invalid("invalid_field", "specversion", "specversion is 1.0")
    if not found.get("source"):
        raise Invalid("missing_field", "source", "source is required")
    fields = _data(found)
    if twice := next((name for name in _ATTRIBUTES if name in fields), None):
        raise Invalid("invalid_field", f"data.{twice}", f"{twice} is an attribute and does not stand in data")
    fields |= {name: found.pop(name) for name in _ATTRIBUTES if name in found}
    subject = found.pop("subject", None)
    if subject is not None and fields.setdefault("channel_id", subject) != subject:
        raise Invalid("invalid_field", "subject", "subject is one channel and data.channel_id another")
    found.pop("datacontenttype", None)
    if wrong := next((name for name, value in found.items() if isinstance(value, dict | list)), None):
        raise Invalid("invalid_field", wrong, f"the attribute {wrong} is neither text nor number nor boolean")
    context = fields.get("context")
    if context is None or isinstance(context, dict):
        fields["context"] = {**(context or {}), "cloudevents": found}
    return codec.convert(fields)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    """The data, taken out of the event."""
    name, data = "data", event.pop("data", None)
    packed = event.pop("data_base64", None)
    if packed is not None:
        name = "data_base64"
        try:
            data = _object.decode(base64.b64decode(packed, validate=True))
        except (binascii.Error, TypeError, ValueError, *UNREADABLE):
            data = packed
    if data is not None and not isinstance(data, dict):
        raise Invalid("invalid_field", name, f"{name} is not a JSON object")
    return dict(data or {})


def _raw(body: bytes) -> msgspec.Raw:
    try:
        return msgspec.json.decode(body, type=msgspec.Raw)
    except UNREADABLE as error:
        raise Refused(400, f"not JSON: {error}") from None


FORM: Final = Form(
    source="cloudevents",
    decode=decode,
    names=MappingProxyType({"channel_id": "subject", **{name: f"data.{name}" for name in _IN_DATA}}),
)
