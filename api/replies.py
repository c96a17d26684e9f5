"""Replies as bytes: written by msgspec once, not validated a second time."""

from typing import Any

import msgspec
from fastapi import Response

_encoder = msgspec.json.Encoder()


def json(body: Any, status: int = 200) -> Response:
    """Anything msgspec can write, as a JSON reply."""
    return ready(_encoder.encode(body), status)


def ready(body: bytes, status: int = 200) -> Response:
    """JSON that is written already."""
    return Response(body, status, media_type="application/json")
