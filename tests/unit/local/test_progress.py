"""What a start shows, here and through a pipe."""

import io
import os

from rich.console import Console

from infra.local.progress import Lines, PipeProgress, Progress, Terminal, relay


def tell(progress: Progress) -> None:
    progress.began("jars")
    progress.moved("jars", 1_000_000, 2_000_000)
    progress.ready("jars", "151 downloaded")
    progress.note("a note")
    progress.close()


EXPECTED = "jars: 1.0 MB of 2.0 MB\njars: ready after 5.0 s (151 downloaded)\na note\n"


def lines(stream: io.StringIO) -> Lines:
    now = iter([100.0, 103.0, 105.0])
    return Lines(stream, now=lambda: next(now))


def test_lines() -> None:
    stream = io.StringIO()
    tell(lines(stream))
    assert stream.getvalue() == EXPECTED


def test_a_terminal_shows_the_same() -> None:
    stream = io.StringIO()
    tell(Terminal(Console(file=stream, force_terminal=True, width=120)))
    assert "151 downloaded" in stream.getvalue()
    assert "a note" in stream.getvalue()


def test_a_pipe_carries_every_call() -> None:
    reading, writing = os.pipe()
    sender = PipeProgress(writing)
    tell(sender)
    sender.finish()
    sender.note("too late to be seen")
    stream = io.StringIO()
    with os.fdopen(reading, "rb") as events:
        assert relay(events, lines(stream)) is None
    assert stream.getvalue() == EXPECTED


def test_a_failure_and_a_silent_end_are_told() -> None:
    shown = Lines(io.StringIO())
    assert relay(io.BytesIO(b'["finish", "no port"]\n'), shown) == "no port"
    assert "supervisor.log" in str(relay(io.BytesIO(b""), shown))


def test_a_reader_that_left_does_not_disturb_the_sender() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sender = PipeProgress(writing)
    tell(sender)
    sender.finish()
