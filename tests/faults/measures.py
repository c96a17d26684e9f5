"""What a row measures beside the oracle: times under a name, live delays, memory."""

import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise

from tests.faults.subscriber import Subscriber


class Measures:
    """Figures by name in `notes`, for people; the times behind them are compared by `slower`."""

    def __init__(self, readers: list[Subscriber], resident: Callable[[str], int]) -> None:
        """`resident` gives the megabytes that a part holds."""
        self.notes: dict[str, float | int | str] = {}
        self._times: dict[str, list[float]] = {}
        self._readers = readers
        self._resident = resident

    @contextmanager
    def times(self, name: str) -> Iterator[list[float]]:
        """The seconds put into the list by the end of the block, beside those of earlier blocks of this name."""
        seconds = self._times.pop(name, [])
        yield seconds
        self._times[name] = sorted(seconds)
        self.notes[f"{name}, ms"] = (
            f"p50 {statistics.median(seconds) * 1000:.0f}, p99 {self._p99(name) * 1000:.0f}, n={len(seconds)}"
        )

    @contextmanager
    def live(self, name: str) -> Iterator[None]:
        """From an event's receipt until a live reader was shown it, for what is shown during the block."""
        begins = [len(reader.at) for reader in self._readers]
        with self.times(name) as seconds:
            yield
            for reader, begin in zip(self._readers, begins, strict=True):
                for event, at in zip(reader.shown[begin:], reader.at[begin:], strict=False):
                    seconds.append(at - datetime.fromisoformat(event["received_at"]).timestamp())

    def silence(self) -> float:
        """The longest time, in seconds, in which a live reader was shown nothing."""
        return max((b - a for reader in self._readers for a, b in pairwise(reader.at)), default=0.0)

    def slower(self, before: str, after: str, factor: float) -> list[str]:
        """What contradicts that the p99 of `after` is within a factor of that of `before`."""
        first, second = self._p99(before), self._p99(after)
        return [f"p99 {first * 1000:.0f} ms, then {second * 1000:.0f} ms"] if second > first * factor else []

    @contextmanager
    def memory(self, part: str) -> Iterator[list[int]]:
        """Resident megabytes of a part, every second of the block."""
        megabytes = [self._resident(part)]
        over = threading.Event()

        def measure() -> None:
            while not over.wait(1):
                megabytes.append(self._resident(part))

        thread = threading.Thread(target=measure, name="measure", daemon=True)
        thread.start()
        try:
            yield megabytes
        finally:
            over.set()
            thread.join()
            self.notes[f"MB of {part}"] = f"{megabytes[0]}, at most {max(megabytes)}"

    def _p99(self, name: str) -> float:
        seconds = self._times[name]
        return seconds[int(len(seconds) * 0.99)]
