"""Chooses a port per listener: the wanted one, or a free one near it, and the same again at the next start.

The choice is kept in `ports.json` of the data directory together with what was wanted, so a changed setting counts.
"""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from infra.local.errors import PortError

OFFSET = 10_000
"""Second choices start this far above the wanted port: away from the ports beside it."""
STEP = 20
HIGHEST = 32_000
"""Second choices stay below the range from which systems give ports to outgoing connections."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A port that was wanted and the one that was taken for it."""

    wanted: int
    port: int


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections on `port` now."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether `port` can be listened on. It is called, too: on macOS a bind beside a wildcard listener succeeds."""
    if listens(port, host):
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(
    wanted: Mapping[str, int], remembered: Mapping[str, Choice], free: Callable[[int], bool] = is_free
) -> dict[str, Choice]:
    """A distinct free port for each name.

    Raises:
        PortError: nothing is free near a wanted port.
    """
    chosen: dict[str, Choice] = {}
    taken: set[int] = set()
    for name, port in wanted.items():
        before = remembered.get(name)
        first = [before.port] if before and before.wanted == port else []
        start = port + OFFSET if port + OFFSET < HIGHEST else 1024 + port % OFFSET
        for candidate in [*first, port, *range(start, HIGHEST, STEP)]:
            if candidate not in taken and free(candidate):
                break
        else:
            raise PortError(f"no free port for {name} near {port}")
        taken.add(candidate)
        chosen[name] = Choice(wanted=port, port=candidate)
    return chosen


def claim(data_dir: Path, wanted: Mapping[str, int]) -> dict[str, int]:
    """Choose ports for `wanted`, preferring those of the last start, and remember them."""
    file = data_dir / "ports.json"
    remembered = msgspec.json.decode(file.read_bytes(), type=dict[str, Choice]) if file.is_file() else {}
    chosen = choose(wanted, remembered)
    write_whole(file, msgspec.json.format(msgspec.json.encode(remembered | chosen)))
    return {name: choice.port for name, choice in chosen.items()}


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
