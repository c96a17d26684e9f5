"""One page of a channel as the bytes a client gets, and one message with everything known of it."""

import asyncio
from dataclasses import dataclass
from typing import Literal

import msgspec
from cachetools import LRUCache

from api.errors import not_found
from api.history import cursors
from api.history.cache import PageCache
from api.history.cursors import Place
from api.history.messages import Message, Row, count_reactions, show
from api.history.reading import History, Reads, Run
from api.signing import Signer
from infra.contracts import tables

#: How many names stand beside each reaction of one message.
REACTED_NAMES = 100
_EXPECTED_CHANNELS = 5_000

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page: the newest, or the one before, after or around a place."""

    kind: Literal["newest", "before", "after", "around"] = "newest"
    place: Place | None = None

    @property
    def settled(self) -> bool:
        """Whether new messages leave this page as it is."""
        return self.kind == "before"


class Page(msgspec.Struct, kw_only=True):
    """Messages newest first. `next_cursor` leads to older ones, null at the beginning; `prev_cursor` to newer ones."""

    messages: list[Message]
    next_cursor: str | None
    prev_cursor: str | None


class Pages:
    """Builds pages from history, with reaction counts, masked where a delete was seen but is not written yet."""

    def __init__(self, database: Reads, history: History, signer: Signer, cache: PageCache) -> None:
        self._database = database
        self._history = history
        self._signer = signer
        self._cache = cache
        #: What each channel's newest page held last.
        self._expected: LRUCache[tuple[str, str], dict[int, list[str]]] = LRUCache(_EXPECTED_CHANNELS)

    async def page(self, tenant: str, channel_id: str, wanted: Wanted, limit: int) -> bytes:
        """The page, kept or read. Ask only for who may read the channel. Raises `Refused` 404."""

        async def read() -> bytes:
            return _encoder.encode(await self._build(tenant, channel_id, wanted, limit))

        return await self._cache.get(tenant, channel_id, (wanted, limit), read, settled=wanted.settled)

    async def message(self, tenant: str, channel_id: str, message_id: str) -> bytes:
        """One message with who reacted. Raises `Refused` 404."""
        place = await self._history.find(tenant, channel_id, message_id)
        row = await self._history.message(tenant, channel_id, place) if place is not None else None
        message = self._show(tenant, channel_id, row) if row is not None and row.visible else None
        if row is None or message is None:
            raise not_found("message")
        if not message.deleted:
            found = await self._history.reactions(tenant, channel_id, self._history.ids_by_bucket([row]))
            message.reactions = count_reactions(found).get(message_id, {})
            message.reacted = {}
            for _, reaction, user_id, active in found:
                names = message.reacted.setdefault(reaction, []) if active else []
                if active and len(names) < REACTED_NAMES:
                    names.append(user_id)
        return _encoder.encode(message)

    async def _build(self, tenant: str, channel_id: str, wanted: Wanted, limit: int) -> Page:
        # One more than asked tells whether there is a next page.
        match wanted.kind, wanted.place:
            case "after", Place() as place:
                run = await self._history.newer(tenant, channel_id, place, limit)
                await self._check_exists(tenant, channel_id, run)
                rows = run.rows[::-1] if run else []
                hidden = run.last if run else None
                ahead = _place(rows[0]) if rows else hidden or place
                # Whoever came from a place knows there is something before it.
                behind = _place(rows[-1]) if rows else place
                return await self._page(tenant, channel_id, rows, behind, ahead)
            case "around", Place() as place:
                return await self._around(tenant, channel_id, place, limit)
            case "newest", _:
                return await self._newest(tenant, channel_id, limit)
            case _, place:
                run = await self._history.older(tenant, channel_id, place, limit + 1)
                await self._check_exists(tenant, channel_id, run)
                rows, below = _cut(run, limit)
                return await self._page(tenant, channel_id, rows, below, _place(rows[0]) if rows else place)

    async def _newest(self, tenant: str, channel_id: str, limit: int) -> Page:
        # Most of a newest page was on it last time, so those reactions are read beside it: one round trip, not two.
        expected = self._expected.get((tenant, channel_id), {})
        run, found = await asyncio.gather(
            self._history.older(tenant, channel_id, None, limit + 1),
            self._history.reactions(tenant, channel_id, expected),
        )
        await self._check_exists(tenant, channel_id, run)
        rows, below = _cut(run, limit)
        ids = self._history.ids_by_bucket(rows)
        known = {message_id for of_bucket in expected.values() for message_id in of_bucket}
        missing = {bucket: [i for i in of_bucket if i not in known] for bucket, of_bucket in ids.items()}
        found += await self._history.reactions(
            tenant, channel_id, {b: wanted for b, wanted in missing.items() if wanted}
        )
        self._expected[tenant, channel_id] = ids
        return self._finish(tenant, channel_id, rows, found, below, _place(rows[0]) if rows else None)

    async def _around(self, tenant: str, channel_id: str, place: Place, limit: int) -> Page:
        row = await self._history.message(tenant, channel_id, place)
        if row is None or not row.visible:
            raise not_found("message")
        after = await self._history.newer(tenant, channel_id, place, limit // 2) if limit > 1 else None
        before = await self._history.older(tenant, channel_id, place, (limit - 1) // 2 + 1)
        older, behind = _cut(before, (limit - 1) // 2)
        if behind is not None and not older:
            behind = place
        newer = after.rows[::-1] if after else []
        rows = [*newer, row, *older]
        return await self._page(tenant, channel_id, rows, behind, _place(rows[0]))

    async def _page(
        self, tenant: str, channel_id: str, rows: list[Row], behind: Place | None, ahead: Place | None
    ) -> Page:
        found = await self._history.reactions(tenant, channel_id, self._history.ids_by_bucket(rows))
        return self._finish(tenant, channel_id, rows, found, behind, ahead)

    def _finish(
        self,
        tenant: str,
        channel_id: str,
        rows: list[Row],
        reactions: list[tuple[str, str, str, bool | None]],
        behind: Place | None,
        ahead: Place | None,
    ) -> Page:
        counts = count_reactions(reactions)
        messages = [message for row in rows if (message := self._show(tenant, channel_id, row)) is not None]
        for message in messages:
            if not message.deleted:
                message.reactions = counts.get(message.message_id, {})
        return Page(
            messages=messages,
            next_cursor=self._cursor(tenant, channel_id, behind),
            prev_cursor=self._cursor(tenant, channel_id, ahead),
        )

    def _show(self, tenant: str, channel_id: str, row: Row) -> Message | None:
        return show(row, masked=self._cache.masked(tenant, channel_id, row.message_id))

    def _cursor(self, tenant: str, channel_id: str, place: Place | None) -> str | None:
        return None if place is None else cursors.encode(self._signer, tenant, channel_id, place)

    async def _check_exists(self, tenant: str, channel_id: str, run: Run | None) -> None:
        if run is None and not await self._database.execute(tables.CHANNEL, (tenant, channel_id)):
            raise not_found("channel")


def _cut(run: Run | None, limit: int) -> tuple[list[Row], Place | None]:
    """The rows of a page, and the place to go on from if there is anything behind it."""
    if run is None:
        return [], None
    if len(run.rows) > limit:
        rows = run.rows[:limit]
        return rows, _place(rows[-1]) if rows else run.last
    return run.rows, run.last


def _place(row: Row) -> Place:
    return Place(row.sent_at, row.message_id)
