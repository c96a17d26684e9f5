"""Whom a rule looks at."""

from collections.abc import Callable, Iterable

from infra.contracts.events import Event
from infra.contracts.rules import Scope

Applies = Callable[[Event], bool]


class _Ids:
    """Ids, and beginnings of ids written with `*` behind."""

    def __init__(self, ids: Iterable[str]) -> None:
        ids = tuple(ids)
        self._whole = frozenset(name for name in ids if not name.endswith("*"))
        self._beginnings = tuple(name[:-1] for name in ids if name.endswith("*"))
        self.empty = not ids

    def __contains__(self, name: str) -> bool:
        return name in self._whole or (bool(self._beginnings) and name.startswith(self._beginnings))


def applies(scope: Scope) -> Applies | None:
    """Whether an event is in this scope; None if every one is."""
    if scope == Scope():
        return None
    channels, not_channels = _Ids(scope.channels), _Ids(scope.except_channels)
    users, not_users = _Ids(scope.users), _Ids(scope.except_users)
    bots = {None: None, "only": True, "never": False}[scope.bots]

    def in_scope(event: Event) -> bool:
        channel, author = event.channel_id or "", event.author
        return (
            (bots is None or bool(event.is_bot) is bots)
            and (channels.empty or channel in channels)
            and channel not in not_channels
            and (users.empty or author in users)
            and author not in not_users
        )

    return in_scope
