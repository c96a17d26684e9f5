"""What a row of the fault matrix is, and the short ways to write one."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller

from tests.faults.scene import Scene

Body = Callable[[Scene], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault of the matrix: what is done, under how many events/s, and whether to disks that can be filled."""

    number: int
    what: str
    body: Body
    rate: float = 200
    small_disks: bool = False


def times(number: int, *steps: Body) -> Body:
    """These steps in turn, so often."""

    def body(scene: Scene) -> None:
        for _ in range(number):
            for step in steps:
                step(scene)

    return body


def in_turn(*steps: Body) -> Body:
    """These steps, once."""
    return times(1, *steps)


def kill(part: str) -> Body:
    return methodcaller("kill", part)


def kill_at(point: str) -> Body:
    return methodcaller("kill_at", point)


def kill_soon(part: str, least: float, most: float) -> Body:
    return methodcaller("kill_soon", part, least, most)


def freeze(part: str, seconds: float) -> Body:
    return methodcaller("freeze", part, seconds)


def terminate(part: str) -> Body:
    return methodcaller("terminate", part)


def fill_disk(disk: str) -> Body:
    """No byte is free there for 20 s."""

    def body(scene: Scene) -> None:
        with scene.strike(f"disk of {disk} full for 20 s"), scene.stack.full(disk):
            scene.stay(20)

    return body
