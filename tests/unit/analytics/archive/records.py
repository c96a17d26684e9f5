"""Records of the log as the archive reads them, without a log."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.contracts import codec, headers
from infra.contracts.events import Event
from infra.runtime.settings import Archive, Runtime

NOW = datetime(2026, 3, 1, 12, 30, 0, 125_000, tzinfo=UTC)
DAY = timedelta(days=1)


class Message:
    """The part of a consumed message that matters here."""

    def __init__(
        self, topic: str, partition: int, offset: int, value: bytes | None, *found: tuple[str, bytes | None]
    ) -> None:
        self._at, self._value, self._headers = (topic, partition, offset), value, list(found)

    def topic(self) -> str:
        return self._at[0]

    def partition(self) -> int:
        return self._at[1]

    def offset(self) -> int:
        return self._at[2]

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        return self._headers or None


def event(number: int, **fields: Any) -> Event:
    return Event(
        **{
            "id": f"e{number}",
            "type": "message.sent",
            "time": NOW + timedelta(milliseconds=number),
            "received_at": NOW + timedelta(milliseconds=number, seconds=1),
            "channel_id": f"c{number % 5}",
            "user_id": f"u{number % 7}",
            "text": f"text {number}",
            "tenant": "acme",
            **fields,
        }
    )


def messages(numbers: Iterable[int], *, topic: str = "events", partition: int = 0, **fields: Any) -> list[Message]:
    """A record for each number, at the offset of that number."""
    return [
        Message(
            topic, partition, n, codec.encode(event(n, **fields)), (headers.SRC, f"ingest/{partition}/{n}/0".encode())
        )
        for n in numbers
    ]


def place(folder: Path) -> tuple[Archive, Runtime]:
    """Settings of an archive in this folder."""
    return Archive(location=str(folder)), Runtime(data_dir=folder)
