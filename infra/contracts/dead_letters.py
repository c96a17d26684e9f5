"""One dead letter: the original bytes and, in headers, where they stood, at which stage they failed and why."""

from datetime import UTC, datetime
from typing import Final

from infra.contracts import headers as h
from infra.contracts.events import Invalid
from infra.contracts.headers import Headers, Src

#: The code of a failure that is our own fault.
INTERNAL: Final = "internal"
#: A longer record is cut: what expands to more than this from a compressed batch cannot be written again.
MAX_BYTES: Final = 4 * 1024 * 1024
#: An error never quotes what the record says at length.
_MAX_ERROR: Final = 200


def letter_headers(
    src: Src, stage: str, error: Invalid, appended_at: datetime, previous: Headers | None = None
) -> Headers:
    """The headers of a dead letter. `previous` are the input record's: a replayed one keeps counting its attempts."""
    before = dict(previous or ())
    attempts, first_seen = before.get(h.ATTEMPTS), before.get(h.FIRST_SEEN)
    return [
        (h.SRC, src.encode()),
        (h.STAGE, stage.encode()),
        (h.CODE, error.code.encode()),
        (h.ERROR, _describe(error).encode()),
        (h.ATTEMPTS, b"%d" % (_number(attempts) + 1)),
        (h.FIRST_SEEN, first_seen or appended_at.astimezone(UTC).isoformat(timespec="milliseconds").encode()),
    ]


def _describe(error: Invalid) -> str:
    text = f"{error.field}: {error.message}" if error.field else error.message
    return text.encode("utf-8", "replace").decode()[:_MAX_ERROR]


def _number(raw: str | bytes | None) -> int:
    return int(raw) if raw is not None and raw.isdigit() and len(raw) < 10 else 0
