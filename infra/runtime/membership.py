"""Whether a consumer still gets a place in its group; one that does not, though Kafka answers, is beyond repair.

Seen once, when a broker had been frozen for longer than its own session with the controller: it took the JoinGroup,
forgot the group's members, and librdkafka asked for no place again in eight minutes, nor did it report an error (hangs
of that kind: https://github.com/confluentinc/librdkafka/issues/3437). So time has to tell.
"""

from collections.abc import Callable


class Membership:
    """Counts the seconds without a place in the group during which Kafka answered. Starts without a place."""

    def __init__(self, within: float) -> None:
        self._within = within
        self._waiting_since: float | None = None
        self._joined = False

    @property
    def joined(self) -> bool:
        """The group gave this consumer its share, which may be no partition at all."""
        return self._joined

    def join(self) -> None:
        """The group has answered."""
        self._joined = True
        self._waiting_since = None

    def lose(self) -> None:
        """The place was lost, and another is being asked for."""
        self._joined = False
        self._waiting_since = None

    def given_up(self, now: float, answers: Callable[[], bool]) -> bool:
        """Whether it has waited for too long. `now` is in monotonic seconds; `answers` is asked only while it waits."""
        if self._joined:
            return False
        if not answers():
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since >= self._within
