"""Calls as Segment's clients put them on the wire."""

from typing import Any


def call(number: int = 1, kind: str = "track", **fields: Any) -> dict[str, Any]:
    """A call with what every client adds."""
    return {
        "type": kind,
        "messageId": f"m-{number}",
        "userId": "ada",
        "anonymousId": None,
        "timestamp": "2026-03-14T09:26:50.123+00:00",
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        "integrations": {},
        **fields,
    }


def message(number: int = 1, **properties: Any) -> dict[str, Any]:
    """A track that is one of our messages."""
    told = {"channel_id": "general", "text": f"text {number}", **properties}
    return call(number, event="Message Sent", properties=told)


def batch(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The body that clients send."""
    return {"batch": list(calls), "sentAt": "2026-03-14T09:26:53.589Z", "writeKey": "write", **fields}
