"""Everything the interactions know: fed with records, asked for what changed. It does no I/O and reads no clock.

    records ─ lanes ─▶ acts by minute ─ the watermark passes ─▶ sessions, conversations ─▶ windows
                           └──────────────────────────────────────────▶ who waits now, provisionally

Its state after a watermark follows from the log alone, so whoever starts again from an older snapshot comes to the
same values.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final

import msgspec

from analytics.interactions import channels, windows
from analytics.interactions.acts import Act, Read
from analytics.interactions.channels import Channel
from analytics.interactions.lanes import Admission, Lane, watermark
from analytics.interactions.windows import Windows
from analytics.responses import End
from analytics.stays import Stay
from infra.contracts.interactions import BOARD_WAITS, Board
from infra.contracts.metrics import TENANT_SCOPE, channel_scope
from infra.contracts.windows import MINUTE

_BEGINNING: Final = attrgetter("since", "message_id")
_MILLISECOND: Final = timedelta(milliseconds=1)

#: Tenant, author and device.
_Device = tuple[str, str, str]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state at one moment, lanes by partition."""

    since: datetime | None
    watermark: datetime | None
    late: int
    copies: int
    forgotten: int
    lanes: dict[int, Lane]
    acts: list[Act]
    stays: list[tuple[str, str, str, Stay]]
    channels: list[tuple[str, str, list[channels.Saved]]]
    windows: list[windows.Saved]


class Books:
    """The state from the offsets `starts` on, or that of a snapshot."""

    def __init__(self, starts: dict[int, int], since: datetime | None = None) -> None:
        self.lanes = {partition: Lane(offset=offset) for partition, offset in starts.items()}
        self.watermark: datetime | None = None
        self.since: Final = since
        self.late = self.copies = self.forgotten = 0
        self.windows = Windows(since)
        self._minutes: dict[datetime, list[Act]] = {}
        self._stays: dict[_Device, Stay] = {}
        self._channels: dict[str, dict[str, Channel]] = {}
        self._touched: dict[str, set[str]] = {}

    @classmethod
    def restore(cls, snapshot: Snapshot) -> "Books":
        """The state of this snapshot."""
        books = cls({}, snapshot.since)
        books.lanes = snapshot.lanes
        books.watermark = snapshot.watermark
        books.late, books.copies, books.forgotten = snapshot.late, snapshot.copies, snapshot.forgotten
        books.windows = Windows(snapshot.since, snapshot.windows)
        books._stays = {(tenant, author, device): stay for tenant, author, device, stay in snapshot.stays}
        for tenant, channel_id, saved in snapshot.channels:
            books._channels.setdefault(tenant, {})[channel_id] = Channel(channel_id, saved)
            books._touched.setdefault(tenant, set()).add(channel_id)
        for act in snapshot.acts:
            books._keep(act)
        return books

    def snapshot(self) -> Snapshot:
        """The state as it is."""
        return Snapshot(
            since=self.since,
            watermark=self.watermark,
            late=self.late,
            copies=self.copies,
            forgotten=self.forgotten,
            lanes=self.lanes,
            acts=[act for acts in self._minutes.values() for act in acts],
            stays=[(*device, stay) for device, stay in self._stays.items()],
            channels=[
                (tenant, channel.id, channel.saved) for tenant, of in self._channels.items() for channel in of.values()
            ],
            windows=self.windows.saved,
        )

    @property
    def buffered(self) -> int:
        """Acts that the watermark has not passed."""
        return sum(map(len, self._minutes.values()))

    @property
    def sizes(self) -> dict[str, int]:
        """How much is kept, by kind."""
        return {
            "buffered": self.buffered,
            "stays": len(self._stays),
            "channels": sum(map(len, self._channels.values())),
            "windows": len(self.windows),
        }

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a record that says nothing."""
        self.lanes[partition].offset = offset + 1

    def take(self, partition: int, offset: int, read: Read) -> None:
        """Take in the next record of a partition."""
        lane = self.lanes[partition]
        lane.offset = offset + 1
        match lane.admit(read):
            case Admission.TAKEN:
                assert read.act is not None
                self._keep(read.act)
            case Admission.LATE:
                self.late += 1
            case Admission.COPY:
                self.copies += 1

    def settle(self) -> bool:
        """Count what the watermark has passed. Whether it has moved."""
        moment = watermark(self.lanes.values())
        if moment is None or (self.watermark is not None and moment <= self.watermark):
            return False
        self.watermark = moment
        for minute in sorted(minute for minute in self._minutes if minute < moment):
            for act in sorted(self._minutes.pop(minute), key=lambda act: act.order):
                if act.device is not None:
                    self._see(act, act.device)
        self._stays = {device: stay for device, stay in self._stays.items() if not stay.is_over(moment)}
        for lane in self.lanes.values():
            lane.forget()
        for tenant, of in self._channels.items():
            for channel in of.values():
                self._close(tenant, channel, moment)
            # Those that were heard of since the boards were stored are still to be shown empty.
            touched = self._touched.get(tenant, ())
            self._channels[tenant] = {one.id: one for one in of.values() if one or one.id in touched}
        return True

    def boards(self) -> Iterator[tuple[str, str, Board]]:
        """(tenant, scope, board) of every scope in which somebody began or ceased to wait."""
        for tenant, touched in self._touched.items():
            of = self._channels[tenant]
            for channel_id in touched:
                yield tenant, channel_scope(channel_id), of[channel_id].board
            yield tenant, TENANT_SCOPE, _joined([channel.board for channel in of.values()])

    def shown(self) -> None:
        """The boards are stored."""
        self._touched.clear()

    def _keep(self, act: Act) -> None:
        self._minutes.setdefault(MINUTE.start(act.time), []).append(act)
        if act.verb:
            of = self._channels.setdefault(act.tenant, {})
            channel = of.get(act.channel_id) or of.setdefault(act.channel_id, Channel(act.channel_id))
            channel.hear(act)
            self._touch(act.tenant, act.channel_id)

    def _touch(self, tenant: str, channel_id: str) -> None:
        self._touched.setdefault(tenant, set()).add(channel_id)

    def _see(self, act: Act, device: str) -> None:
        key = (act.tenant, act.author, device)
        stay = self._stays.get(key)
        if stay is None:
            self._stays[key] = Stay(act.time, act.time)
            began, engaged_ms = True, 0
        else:
            sign = stay.take(act.time)
            began, engaged_ms = sign.began, sign.engaged // _MILLISECOND
        if began or engaged_ms:
            self.windows.stay(act.tenant, TENANT_SCOPE, act.time, began, engaged_ms)

    def _close(self, tenant: str, channel: Channel, moment: datetime) -> None:
        for ended in channel.settle(moment):
            if ended.end is End.OPEN:
                self.forgotten += 1
                continue
            for scope in (TENANT_SCOPE, channel_scope(channel.id)):
                if ended.seconds is not None:
                    self.windows.answer(tenant, scope, ended.moment, ended.seconds)
                else:
                    self.windows.give_up(tenant, scope, ended.moment)
            if ended.end is End.UNANSWERED:
                self._touch(tenant, channel.id)


def _joined(boards: Sequence[Board]) -> Board:
    longest = merge(*(board.longest for board in boards), key=_BEGINNING)
    newest = merge(*(board.newest for board in boards), key=_BEGINNING, reverse=True)
    return Board(
        total=sum(board.total for board in boards),
        longest=list(islice(longest, BOARD_WAITS)),
        newest=list(islice(newest, BOARD_WAITS)),
    )
