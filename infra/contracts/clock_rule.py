"""The clock rule: what becomes of the time an event claims, given when it was received. Ingest and router share it."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from infra.contracts.events import MAX_FUTURE, MESSAGE_SENT, Event, Invalid, to_ms, truncate_ms
from infra.contracts.placement import ms_of_id

#: 9999-12-31: beyond it neither the ids nor CQL hold a time.
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)


def stamp_time(event: Event, *, received_at: datetime, sent_at: datetime | None, historical: bool) -> bool:
    """Set `time` and `client_time`; the answer is whether the client's clock was ahead.

    `received_at` is in UTC and whole milliseconds. `time` is corrected by `received_at - sent_at`; what then lies
    after `received_at` becomes `received_at`. Whenever `time` changes, the client's own stays in `client_time`, which
    places a message. A historical event keeps its time as given. Raises `Invalid` for more than an hour ahead, in
    `time` (`bad_time`) or in the id of the message (`future_id`).
    """
    latest, latest_uuid = _latest(received_at)
    if event.message_id is not None or event.type == MESSAGE_SENT:
        target = event.target
        # A UUIDv7 sorts by its time: one that does not sort after the bound need not be read.
        may_be_ahead = len(target) != 36 or target[:13].lower() > latest_uuid
        if may_be_ahead and (ms_of_id(target) or 0) > to_ms(latest):
            field = "id" if event.message_id is None else "message_id"
            raise Invalid("future_id", field, f"the {field} carries a time more than an hour ahead")
    try:
        claimed = truncate_ms(event.time)
        time = claimed if sent_at is None or historical else truncate_ms(claimed + (received_at - sent_at))
    except OverflowError:
        raise Invalid("bad_time", "time", "time is outside of the calendar") from None
    if time > latest or claimed > _LATEST:
        raise Invalid("bad_time", "time", "time is more than an hour ahead")
    skewed = not historical and time > received_at
    event.time = received_at if skewed else time
    event.client_time = None if event.time == claimed else claimed
    return skewed


@lru_cache(maxsize=64)  # one request's events share their receipt
def _latest(received_at: datetime) -> tuple[datetime, str]:
    latest = received_at + MAX_FUTURE
    digits = f"{to_ms(latest):012x}"
    return latest, f"{digits[:8]}-{digits[8:]}"
