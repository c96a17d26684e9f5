"""What was counted, by window: absolute values, each kept until it is final and stored."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from infra.contracts.interactions import COUNTS, GRAINS, bucket
from infra.contracts.windows import BY_NAME


class Key(NamedTuple):
    """Which window. `grain` is its name."""

    tenant: str
    scope: str
    grain: str
    start: datetime

    @property
    def end(self) -> datetime:
        """Exclusive."""
        return BY_NAME[self.grain].end(self.start)


class Window(msgspec.Struct, gc=False):
    """One window's values. `revision` is how often they changed, so it follows from the log as they do."""

    sessions: int = 0
    engaged_ms: int = 0
    answered: int = 0
    unanswered: int = 0
    responses: dict[int, int] = {}
    revision: int = 0

    @property
    def counts(self) -> tuple[int, ...]:
        """In the order of `interactions.COUNTS`."""
        return tuple(getattr(self, name) for name in COUNTS)


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One window in a snapshot."""

    key: Key
    window: Window


class Windows:
    """The windows that begin at `since` or later, or all; what happened before that is not counted."""

    def __init__(self, since: datetime | None, saved: Iterable[Saved] = ()) -> None:
        self._since: Final = since
        self._windows = {one.key: one.window for one in saved}
        #: What is not stored as it is now. A snapshot does not say, so all of it.
        self._changed = set(self._windows)

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def saved(self) -> list[Saved]:
        """All of them, for a snapshot."""
        return [Saved(key, window) for key, window in self._windows.items()]

    @property
    def changed(self) -> list[tuple[Key, Window]]:
        """Those that are not stored as they are now."""
        return [(key, self._windows[key]) for key in self._changed]

    def stay(self, tenant: str, scope: str, moment: datetime, began: bool, engaged_ms: int) -> None:
        """A session began, or somebody was engaged."""
        for window in self._at(tenant, scope, moment):
            window.sessions += began
            window.engaged_ms += engaged_ms

    def answer(self, tenant: str, scope: str, moment: datetime, seconds: float) -> None:
        """A wait was answered after so many seconds."""
        number = bucket(seconds)
        for window in self._at(tenant, scope, moment):
            window.answered += 1
            window.responses[number] = window.responses.get(number, 0) + 1

    def give_up(self, tenant: str, scope: str, moment: datetime) -> None:
        """A wait was not answered in time."""
        for window in self._at(tenant, scope, moment):
            window.unanswered += 1

    def stored(self, watermark: datetime | None) -> None:
        """All that had changed is stored; what is final is forgotten."""
        self._changed.clear()
        if watermark is not None:
            self._windows = {key: window for key, window in self._windows.items() if key.end > watermark}

    def _at(self, tenant: str, scope: str, moment: datetime) -> Iterator[Window]:
        for grain in GRAINS:
            start = grain.start(moment)
            if self._since is not None and start < self._since:
                continue
            key = Key(tenant, scope, grain.name, start)
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = Window()
            self._changed.add(key)
            window.revision += 1
            yield window
