"""Keys, sessions and tokens."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from api.models.base import Model


class KeyBody(Model):
    """A read key, to be exchanged for a session cookie."""

    key: Annotated[str, Field(min_length=1, max_length=500)]


class SessionBody(Model):
    """The session that a cookie now carries."""

    tenant: str
    scopes: list[str]
    expires_at: datetime


class TokenRequest(Model):
    """What a channel token shall allow."""

    user_id: Annotated[str, Field(min_length=1, max_length=200)]
    channels: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=200)]
    ttl: Annotated[int, Field(ge=1)] = 3_600
    """Seconds; a longer time than the server allows is cut, as `expires_at` shows."""


class TokenBody(Model):
    """A channel token, to be given as a bearer."""

    token: str
    expires_at: datetime
