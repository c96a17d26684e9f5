"""Signed values: what this API hands out and takes back (sessions, tokens, cursors) cannot be made or changed outside.

HMAC-SHA256 over the purpose and the payload. There is one algorithm and no header naming another, so none can be
downgraded.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path

_MAC_BYTES = 16


class Forged(Exception):
    """The value was not signed here for this purpose."""


class Signer:
    """Signs bytes for one purpose at a time; a value signed for one is not valid for another."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, purpose: str, payload: bytes) -> str:
        """The payload and its MAC as URL-safe text."""
        return base64.urlsafe_b64encode(self._mac(purpose, payload) + payload).rstrip(b"=").decode()

    def open(self, purpose: str, value: str) -> bytes:
        """The payload signed for this purpose. Raises `Forged`."""
        try:
            # Strict: one payload has exactly one spelling.
            raw = base64.b64decode(value.encode("ascii") + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Forged from None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(purpose, payload)) or self.sign(purpose, payload) != value:
            raise Forged
        return payload

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        # The length keeps one purpose from being the beginning of another.
        scoped = len(purpose.encode()).to_bytes(4, "big") + purpose.encode() + payload
        return hmac.new(self._secret, scoped, hashlib.sha256).digest()[:_MAC_BYTES]


def kept_secret(configured: str, data_dir: Path) -> bytes:
    """The configured secret, else the one kept in the data directory, made at first need and readable by us alone."""
    if configured:
        return hashlib.sha256(configured.encode()).digest()
    path = data_dir / "api.secret"
    data_dir.mkdir(parents=True, exist_ok=True)
    fresh = data_dir / f"api.secret.{os.getpid()}.{secrets.token_hex(4)}"
    if not path.exists():
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(32))
        try:
            # A link is made whole or not at all, so processes that start together agree on one secret.
            os.link(fresh, path)
        except FileExistsError:
            return path.read_bytes()
        finally:
            fresh.unlink()
    return path.read_bytes()
