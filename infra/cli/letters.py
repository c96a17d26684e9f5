"""`hubbub dlq`: look at what could not be processed, repair it and put it back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from infra.cli.output import AsJson, note, print_json, print_table
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Kafka

if TYPE_CHECKING:
    from streams.dead_letters import DeadLetter, Filter

app = typer.Typer(name="dlq", help="Dead letters.", no_args_is_help=True)

Code = Annotated[str | None, typer.Option(help="Only those with this code.")]
Stage = Annotated[
    str | None, typer.Option(help="Only those of this stage: ingest, split, decode, stamp, route or history.")
]
Topic = Annotated[str | None, typer.Option(help="Only those that came from this topic.")]
LetterKey = Annotated[str, typer.Argument(help="The dead letter's key, as `hubbub dlq list` shows it.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 20,
    code: Code = None,
    stage: Stage = None,
    topic: Topic = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest dead letters: where each came from and why it could not be processed."""
    from streams.dead_letters import list_letters as newest

    letters = newest(Kafka(), limit, _filter(code, stage, topic))
    if as_json:
        print_json([_described(letter) for letter in letters])
        return
    print_table(
        ("KEY", "STAGE", "CODE", "ERROR", "BYTES", "FIRST SEEN"),
        [(x.key, x.stage, x.code, x.error, len(x.value), f"{x.first_seen:%Y-%m-%d %H:%M:%S}") for x in letters],
    )


@app.command("show")
def show(
    key: LetterKey,
    raw: Annotated[bool, typer.Option("--raw", help="Only the original bytes, to repair them in a file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole."""
    from streams.dead_letters import find_letter

    try:
        letter = find_letter(Kafka(), key)
    except KeyError as error:
        raise _unknown(error) from error
    if raw:
        sys.stdout.buffer.write(letter.value)
    elif as_json:
        print_json(_described(letter))
    else:
        print_table(("WHAT", "FOUND"), [(k, v) for k, v in _described(letter).items()])


@app.command("replay")
def replay(
    key: Annotated[str, typer.Argument(help="One dead letter's key; or give --all or --repaired.")] = "",
    value: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Repaired bytes of that one.")] = None,
    repaired: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help='JSONL of {"key": ..., "event": {...}}: many repaired at once.'),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that match, unchanged.")] = False,
    code: Code = None,
    stage: Stage = None,
    topic: Topic = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back where they came from. Doing it twice stores nothing twice: ids stay the same."""
    from streams import dead_letters

    if (bool(key), bool(repaired), every).count(True) != 1:
        raise typer.BadParameter("give a key, or --repaired FILE, or --all")
    try:
        if key:
            done = dead_letters.replay(Kafka(), key, value.read_bytes() if value else None)
        elif repaired:
            done = dead_letters.replay_repaired(Kafka(), _repairs(repaired))
        else:
            done = dead_letters.replay_all(Kafka(), _filter(code, stage, topic))
    except KeyError as error:
        raise _unknown(error) from error
    if as_json:
        print_json({"replayed": done.keys, "skipped": done.skipped})
    else:
        note(f"put back {len(done.keys)}, skipped {len(done.skipped)} that have nothing to put back")


class _Repair(msgspec.Struct):
    key: str
    event: msgspec.Raw


def _repairs(path: Path) -> dict[str, bytes]:
    try:
        found = msgspec.json.Decoder(_Repair).decode_lines(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise PreconditionError(f"{path}: {error}") from error
    return {repair.key: bytes(repair.event) for repair in found}


def _filter(code: str | None, stage: str | None, topic: str | None) -> "Filter":
    from streams.dead_letters import Filter

    return Filter(code=code, stage=stage, topic=topic)


def _described(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "key": letter.key,
        "stage": letter.stage,
        "code": letter.code,
        "error": letter.error,
        "attempts": letter.attempts,
        "first_seen": letter.first_seen,
        "bytes": len(letter.value),
        "value": letter.value[:2_000].decode("utf-8", "backslashreplace"),
    }


def _unknown(error: KeyError) -> PreconditionError:
    return PreconditionError(f"there is no dead letter {error.args[0]}. See `hubbub dlq list`.")
