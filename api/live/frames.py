"""What is put on the wire, made once and shared by every stream that gets it."""

from typing import Any

import msgspec

from api.live.records import OVERHEAD


class Frame:
    """An event and the token of the position after it, encoded for each protocol at most once."""

    __slots__ = ("_sse", "_text", "size", "token", "value")

    def __init__(self, token: str, value: bytes) -> None:
        self.token = token
        self.value = value
        self.size = len(value) + OVERHEAD
        self._sse: bytes | None = None
        self._text: str | None = None

    def sse(self) -> bytes:
        """As a server-sent event; its id is the resume token."""
        if self._sse is None:
            self._sse = b"id: %s\nevent: event\ndata: %s\n\n" % (self.token.encode(), self.value)
        return self._sse

    def text(self) -> str:
        """As a WebSocket message."""
        if self._text is None:
            self._text = f'{{"op":"event","token":"{self.token}","event":{self.value.decode()}}}'
        return self._text


class Notice:
    """Something other than an event, for server-sent events alone: a metric point or a gauge.

    With a token a stream can be resumed after it.
    """

    __slots__ = ("_sse", "size", "token")

    def __init__(self, event: str, data: bytes, token: str | None = None) -> None:
        self.token = token or ""
        self._sse = sse(event, data, token)
        self.size = len(self._sse)

    def sse(self) -> bytes:
        return self._sse


def sse(event: str, data: bytes, token: str | None = None, retry_ms: int | None = None) -> bytes:
    """One server-sent event. `data` is JSON without line breaks."""
    identity = f"id: {token}\n" if token is not None else ""
    retry = f"retry: {retry_ms}\n" if retry_ms is not None else ""
    return f"{retry}{identity}event: {event}\ndata: ".encode() + data + b"\n\n"


def ping(token: str | None) -> bytes:
    """Keeps a quiet stream open. With a token it also moves the browser's Last-Event-ID: no data, so no event."""
    return b": ping\n\n" if token is None else f": ping\nid: {token}\n\n".encode()


def message(op: str, **fields: Any) -> str:
    """A WebSocket message other than an event."""
    return msgspec.json.encode({"op": op, **fields}).decode()
