"""Turns SIGTERM and SIGINT into an event that a role waits for."""

import signal
import threading


def stop_event() -> threading.Event:
    """Set at the first SIGTERM or SIGINT. Call it from the main thread."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
