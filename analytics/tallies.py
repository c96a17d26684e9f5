"""What each user sent and reacted, by minute, quarter, hour and day: the rows that users are ranked from.

Computed like the windows of `analytics.ladder`, but kept by window, since all users of a window are one partition.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from analytics.recent import Recent
from infra.contracts.windows import GRAINS, MERGED_FROM, MINUTE, Grain

#: Messages sent, reactions added.
Tally = tuple[int, int]
_NOTHING: Final[Tally] = (0, 0)


@dataclass(frozen=True, slots=True)
class Board:
    """All users of a tenant in one window."""

    tenant: str
    grain: Grain
    start: datetime


@dataclass(frozen=True, slots=True)
class Score:
    """A user's tally that is not stored yet."""

    board: Board
    user: str
    tally: Tally


#: Tenant, user and start of a minute.
UserMinute = tuple[str, str, datetime]
#: Reads the stored tallies of boards, in their order.
ReadBoards = Callable[[list[Board]], Iterable[dict[str, Tally]]]


class Tallies:
    """The boards as stored; read when first needed and then kept."""

    def __init__(self, read: ReadBoards, limit: int) -> None:
        self._read = read
        self._boards: Recent[Board, str, Tally] = Recent(limit)

    def climb(self, minutes: Mapping[UserMinute, Tally]) -> list[Score]:
        """Every tally these minutes change, shortest windows first; they must be stored before the next call."""
        touched: dict[Board, set[str]] = {}
        for grain in GRAINS:
            for tenant, user, start in minutes:
                touched.setdefault(Board(tenant, grain, grain.start(start)), set()).add(user)
        self._load([*touched, *(child for board in touched for child in _children(board))])
        scores = []
        for board, users in touched.items():
            rows = self._boards[board]
            children = [self._boards[child] for child in _children(board)]
            for user in users:
                if board.grain is MINUTE:
                    counted = minutes[board.tenant, user, board.start]
                else:
                    counted = _sum(child.get(user, _NOTHING) for child in children)
                stored = rows.get(user, _NOTHING)
                # A window only grows while its log is read: see `rollups.join`.
                tally = (max(stored[0], counted[0]), max(stored[1], counted[1]))
                if tally != stored:
                    rows[user] = tally
                    scores.append(Score(board, user, tally))
        self._boards.shrink()
        return scores

    def forget(self) -> None:
        """Read everything anew: the last scores may not be stored."""
        self._boards.clear()

    def _load(self, boards: Iterable[Board]) -> None:
        absent = self._boards.missing(boards)
        self._boards.put(dict(zip(absent, self._read(absent), strict=True)))


def _children(board: Board) -> list[Board]:
    finer = MERGED_FROM.get(board.grain)
    if finer is None:
        return []
    count = board.grain.width // finer.width
    return [Board(board.tenant, finer, board.start + n * finer.width) for n in range(count)]


def _sum(tallies: Iterable[Tally]) -> Tally:
    sent = reactions = 0
    for tally in tallies:
        sent += tally[0]
        reactions += tally[1]
    return sent, reactions
