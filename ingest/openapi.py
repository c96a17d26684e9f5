"""The OpenAPI document of the ingest API, made from the contract's types, and a page that shows it without scripts."""

from html import escape
from typing import Any, Final

import msgspec

from infra.contracts import codec, problems
from infra.contracts.events import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_DEPTH, MAX_EVENT_BYTES, MAX_TEXT_BYTES, Event
from infra.contracts.problems import EVENT_CODES, REPLIES, Accepted, Problem
from infra.runtime.health import Report, version
from ingest import cloudevents, segment
from ingest.bodies import JSON, MAX_CONTEXT_BYTES, NDJSON
from ingest.review import Block, Why

_REF: Final = "#/components/schemas/{name}"
#: Set by ingest; a client need not know them.
_OURS: Final = ("tenant", "received_at", "source", "request_id", "client_time", "historical", "late")
_SENDING: Final = (200, 207, 400, 401, 403, 413, 415, 429, 500, 503)
_DECIDING: Final = (200, 400, 401, 403, 404, 413, 415, 500, 503)
_RULES: Final = f"""Every event needs `id`, `type`, `time` (RFC 3339 with zone) and one of `user_id` and `anonymous_id`,
no placeholder. Message, reaction, receipt, typing and channel types need `channel_id`; edits, deletes, reactions and
receipts need `message_id`; reactions need `reaction`; sent and edited messages need `text`, at most {MAX_TEXT_BYTES}
bytes. Types that begin with `hubbub.` are reserved, and so is `message.blocked`;
edits and deletes need a key with scope `server`. A `time`, or a
time inside a UUIDv7 or ULID that names a message, may be at most an hour ahead. At most {MAX_EVENT_BYTES} bytes an
event and {MAX_DEPTH} levels deep, {codec.MAX_ENVELOPE_BYTES} bytes with the context of its batch and our own fields;
{MAX_BATCH_BYTES} bytes and {MAX_BATCH_EVENTS} events a request, decompressed. `Content-Encoding: gzip` is
understood."""
_SEGMENT: Final = """A call becomes an event: a track named for one of our types (`message.sent` or `Message Sent`) that
one, any other track `track.<name>`, the other calls theirs by name. A call that breaks the contract is stored as a dead
letter and is among the `errors` of a 200, since Segment's clients cannot tell items apart; 429 and 503 mean that the
whole request should come again."""
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre{overflow:auto}"
)
_DECISIONS: Final = """Needs a key with scope `moderate`. A 200 means that the decision is stored; `duplicates` is 1 for
one that was made before. Hiding wins: what was rejected or blocked stays hidden, also when it is released later."""
_ANSWERS: Final = f"""A 200 means stored, each event, by every in-sync replica. `duplicates` were stored before under
the same id. Sending anything again with the same ids is safe; the same id with another body is a `conflict` for ten
minutes.
Event codes: {", ".join(f"`{code}`" + (" (retry)" if retry else "") for code, retry in EVENT_CODES.items())}."""


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    (event, accepted, problem, report, why, block), components = msgspec.json.schema_components(
        [Event, Accepted, Problem, Report, Why, Block], ref_template=_REF
    )
    for field in _OURS:
        del components["Event"]["properties"][field]
    components["Event"]["description"] = "One chat event."
    batch = {
        "type": "object",
        "required": ["batch"],
        "additionalProperties": False,
        "properties": {
            "batch": {"type": "array", "items": event, "minItems": 1, "maxItems": MAX_BATCH_EVENTS},
            "sent_at": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "The sender's clock when it sent the batch; each `time` is corrected by it.",
            },
            "context": {
                "type": ["object", "null"],
                "description": f"Put under each event's own context. At most {MAX_CONTEXT_BYTES} bytes.",
            },
            "historical": {
                "type": "boolean",
                "default": False,
                "description": "Keep each `time` as given and leave live numbers alone. Needs scope `backfill`.",
            },
        },
    }
    components["Batch"] = batch
    many = {"type": "array", "items": event, "minItems": 1, "maxItems": MAX_BATCH_EVENTS}
    events_body = {
        JSON: {"schema": {"anyOf": [event, many]}},
        NDJSON: {"schema": {"type": "string", "description": "One event a line."}},
    }
    components |= _foreign_forms(components["Event"]["properties"]["type"])
    cloudevent = {"$ref": _REF.format(name="CloudEvent")}
    cloudevents_body = {
        cloudevents.ONE: {"schema": cloudevent},
        cloudevents.MANY: {"schema": {"type": "array", "items": cloudevent, "minItems": 1}},
    }
    calls_body = {JSON: {"schema": {"$ref": _REF.format(name="SegmentBatch")}}}
    call_body = {JSON: {"schema": {"$ref": _REF.format(name="SegmentCall")}}}
    either = {"anyOf": [{"$ref": _REF.format(name=name)} for name in ("Batch", "SegmentBatch")]}
    batch_body = {JSON: {"schema": either}, **cloudevents_body}
    events_body |= cloudevents_body
    segments = {
        "/v1/import": {
            "post": _sending("Send calls of Segment's", "sendCalls", calls_body, accepted, problem, _SEGMENT)
        },
        **{
            f"/v1/{call}": {
                "post": _sending(
                    f"Send one {call} call of Segment's", f"send{call.title()}", call_body, accepted, problem, _SEGMENT
                )
            }
            for call in segment.CALLS
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hubbub ingest", "version": version()["version"], "description": " ".join(_ANSWERS.split())},
        "paths": {
            "/v1/events": {"post": _sending("Send events", "sendEvents", events_body, accepted, problem)},
            "/v1/batch": {"post": _sending("Send a batch", "sendBatch", batch_body, accepted, problem)},
            "/v1/held/{held_id}/release": _deciding(
                "Release what a rule holds or blocked", "release", ("held_id",), why, accepted, problem
            ),
            "/v1/held/{held_id}/reject": _deciding(
                "Reject what a rule holds", "reject", ("held_id",), why, accepted, problem
            ),
            "/v1/messages/{message_id}/block": _deciding(
                "Block a message that was shown", "block", ("message_id",), block, accepted, problem
            ),
            **segments,
            "/healthz": _reading("The process is alive", {200: {"type": "object"}}),
            "/readyz": _reading("It can take events in", {200: report, 503: report}),
            "/version": _reading("Name and version", {200: {"type": "object"}}),
            "/openapi.json": _reading("This document", {200: {"type": "object"}}),
            "/metrics": _reading("Prometheus metrics", {200: None, 403: problem}, "text/plain"),
            "/docs": _reading("This document as a page", {200: None, 403: problem}, "text/html"),
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The key."},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
            },
        },
    }


def page(document: dict[str, Any]) -> str:
    """The document as plain HTML."""
    parts = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            replies = "".join(
                f"<li><b>{status}</b> {escape(reply['description'])}</li>"
                for status, reply in operation["responses"].items()
            )
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
                f"<p>{escape(operation.get('description', ''))}</p><ul>{replies}</ul>"
            )
    for name, schema in document["components"]["schemas"].items():
        text = msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
        parts.append(f"<details><summary><code>{escape(name)}</code></summary><pre>{escape(text)}</pre></details>")
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        '<p><a href="openapi.json">openapi.json</a></p>' + "".join(parts) + "</html>"
    )


def _foreign_forms(event_type: dict[str, Any]) -> dict[str, Any]:
    """The schemas of what is written by others' rules, as far as Hubbub reads it."""
    text, moment, free = {"type": "string"}, {"type": "string", "format": "date-time"}, {"type": "object"}
    person = {"type": ["string", "integer"]}
    call: dict[str, Any] = {
        "type": "object",
        "description": "One call, as Segment's clients make it; what is not named here is left out.",
        "required": ["messageId", "timestamp"],
        "properties": {
            "messageId": {"type": "string", "minLength": 1, "maxLength": 100, "description": "The event's id."},
            "type": {"enum": list(segment.CALLS), "description": "Needed in a batch; elsewhere the path says it."},
            "userId": person,
            "anonymousId": person,
            "timestamp": {**moment, "description": "The sender's own clock; `originalTimestamp` goes before it."},
            "originalTimestamp": moment,
            "event": {**text, "description": "The name of a track."},
            "properties": {
                **free,
                "description": "Of a track named for one of our types, also the event's own fields: "
                + ", ".join(f"`{name}`" for name in segment.CHAT_FIELDS),
            },
            "traits": free,
            "context": free,
            "name": text,
            "category": text,
            "groupId": text,
            "previousId": text,
        },
    }
    sent_at = {**moment, "description": "The sender's clock when it sent this; each time is corrected by it."}
    return {
        "SegmentCall": {**call, "properties": {**call["properties"], "sentAt": sent_at}},
        "SegmentBatch": {
            "type": "object",
            "required": ["batch"],
            "properties": {
                "batch": {
                    "type": "array",
                    "items": {**call, "required": [*call["required"], "type"]},
                    "minItems": 1,
                    "maxItems": MAX_BATCH_EVENTS,
                },
                "sentAt": sent_at,
                "context": free,
            },
        },
        "CloudEvent": {
            "type": "object",
            "description": "A CloudEvent 1.0; its attributes may also be `ce-` headers, `data` the body.",
            "required": ["specversion", "id", "source", "type", "time"],
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {"type": "string", "minLength": 1, "maxLength": 100},
                "source": {"type": "string", "minLength": 1},
                "type": event_type,
                "time": moment,
                "subject": {"type": "string", "minLength": 1, "maxLength": 200, "description": "The `channel_id`."},
                "data": {**free, "description": "The event's other fields."},
                "data_base64": {**text, "description": "The same, packed."},
            },
        },
    }


def _sending(
    summary: str,
    name: str,
    content: dict[str, Any],
    accepted: dict[str, Any],
    problem: dict[str, Any],
    rules: str = _RULES,
) -> dict[str, Any]:
    return {
        "summary": summary,
        "description": " ".join(rules.split()),
        "operationId": name,
        "security": [{"bearer": []}, {"basic": []}],
        "requestBody": {"required": True, "content": content},
        "responses": _responses(_SENDING, accepted, problem),
    }


def _deciding(
    summary: str,
    name: str,
    path: tuple[str, ...],
    body: dict[str, Any],
    accepted: dict[str, Any],
    problem: dict[str, Any],
) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "description": " ".join(_DECISIONS.split()),
            "operationId": name,
            "security": [{"bearer": []}, {"basic": []}],
            "parameters": [
                {"name": part, "in": "path", "required": True, "schema": {"type": "string"}} for part in path
            ],
            "requestBody": {"required": name == "block", "content": {JSON: {"schema": body}}},
            "responses": _responses(_DECIDING, accepted, problem),
        }
    }


def _responses(statuses: tuple[int, ...], accepted: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in statuses:
        reply = REPLIES[status]
        stored = status in (200, 207)
        media = JSON if stored else problems.MEDIA_TYPE
        responses[str(status)] = {
            "description": reply.title,
            "headers": {"X-Request-Id": _header("Names this request in logs and in the events it brought")}
            | {name: _header(f"Sent with every {status}") for name in reply.headers},
            "content": {media: {"schema": accepted if stored else problem}},
        }
    return responses


def _reading(summary: str, replies: dict[int, dict[str, Any] | None], media: str = JSON) -> dict[str, Any]:
    responses = {}
    for status, schema in replies.items():
        kind = problems.MEDIA_TYPE if status == 403 else media
        responses[str(status)] = {
            "description": REPLIES[status].title if status >= 400 else "OK",
            "content": {kind: {"schema": schema or {"type": "string"}}},
        }
    return {"get": {"summary": summary, "responses": responses}}


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}
