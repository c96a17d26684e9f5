"""How well the rule of response times finds who answered whom, on chat whose answers people have marked.

`python -m tests.bench.answers FOLDER` reads IRC logs, `*.raw.txt`, and beside each its `*.annotation.txt`: lines
`a b -`, by which message b answers message a, lines of the log counted from 0. It runs the rule twice over each log:
as it is, and with every answer told by its annotation in place of `reply_to`. What the second finds is taken to be
true. Prints JSON.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from analytics.responses import GROUP_PATIENCE, Conversation, End, Said, Wait
from infra.contracts.events import MESSAGE_SENT, Event
from ingest.importers.irc import open_logs
from ingest.importers.passages import BEGINNING

#: A reply to nothing that is known.
_NOTHING = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A message of a person and its line in the log, counted from 0."""

    number: int
    said: Said


def read_log(path: Path) -> list[Line]:
    """The messages of people in one log, as they are imported."""
    (log,) = open_logs([path], channel="#ubuntu")
    found = []
    for passage in log.read(BEGINNING):
        for record in passage.records:
            event = msgspec.json.decode(record.raw, type=Event)
            if event.type == MESSAGE_SENT and not event.is_bot:
                found.append(Line(passage.line - 1, Said(event.id, event.author, event.time)))
    return found


def read_marks(path: Path) -> dict[int, list[int]]:
    """By line, the lines that it answers; a line that answers only itself begins something."""
    marks: dict[int, list[int]] = defaultdict(list)
    for row in path.read_text().splitlines():
        question, answer, _ = row.split()
        low, high = sorted((int(question), int(answer)))
        marks[high] += [low] if low != high else []
    return marks


def told(lines: Sequence[Line], marks: dict[int, list[int]]) -> list[Said]:
    """The messages with their marks as `reply_to`: of several the nearest, where there is none nothing."""
    ids = {line.number: line.said.id for line in lines}
    return [
        line.said._replace(reply_to=ids.get(max(marks.get(line.number, []), default=-1), _NOTHING)) for line in lines
    ]


def waits(messages: Iterable[Said]) -> list[Wait]:
    """Every wait of one channel."""
    conversation, found, last = Conversation(GROUP_PATIENCE), list[Wait](), None
    for said in messages:
        found += conversation.say(said)
        last = said.time
    return [*found, *(conversation.close(last) if last else ())]


def compare(folder: Path) -> dict[str, Any]:
    """The figures over all logs, of the waits that began where the marks begin."""
    ours: list[Wait] = []
    true: list[Wait] = []
    files = messages = 0
    for path in sorted(folder.glob("*.raw.txt")):
        marks = read_marks(path.with_name(path.name.replace(".raw.", ".annotation.")))
        lines = read_log(path)
        first = min(marks)
        begun = {line.said.id for line in lines if line.number >= first}
        messages += len(begun)
        files += 1
        ours += [wait for wait in waits(line.said for line in lines) if wait.opened.id in begun]
        true += [wait for wait in waits(told(lines, marks)) if wait.opened.id in begun]
    return {
        "files": files,
        "messages": messages,
        **_agreement(ours, true),
        "rule": _times(ours),
        "marked": _times(true),
    }


def _agreement(ours: Sequence[Wait], true: Sequence[Wait]) -> dict[str, float]:
    found, marked = ({(w.opened.id, w.answer.id) for w in side if w.answer} for side in (ours, true))
    return {
        "precision": round(len(found & marked) / len(found), 3),
        "recall": round(len(found & marked) / len(marked), 3),
    }


def _times(found: Sequence[Wait]) -> dict[str, Any]:
    seconds = sorted(wait.seconds or 0.0 for wait in found if wait.end is End.ANSWERED)
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return {
        "waits": len(found),
        "answered": len(seconds),
        "p50_seconds": statistics.median(seconds),
        "p90_seconds": tenths[8],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(json.dumps(compare(parser.parse_args().folder), indent=2))


if __name__ == "__main__":
    main()
