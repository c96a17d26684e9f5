"""How long to wait before a process that exited is started again."""

DELAYS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the first restart, the second, and so on; the last one for all that follow."""
STEADY = 30.0
"""A process that ran this many seconds starts the row again."""


class Backoff:
    """The restarts of one process: at once at first, slower while it keeps failing quickly."""

    def __init__(self) -> None:
        self.quick_failures = 0

    def after(self, ran: float) -> float:
        """Seconds to wait, given how long the process ran before it exited."""
        if ran >= STEADY:
            self.quick_failures = 0
        delay = DELAYS[min(self.quick_failures, len(DELAYS) - 1)]
        self.quick_failures += 1
        return delay
