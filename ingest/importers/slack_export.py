"""The files of a Slack export, zipped or not: read one at a time into memory, within limits, never unpacked to disk."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from infra.runtime.errors import PreconditionError

#: A day of one channel, or one list of users: no file of an export may hold more bytes, or expand to more.
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
#: A thousand channels over ten years have three and a half million days at most; few of them are all talked in.
MAX_FILES: Final = 4_000_000


class Unreadable(Exception):
    """A file of the export cannot be read. The message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its name from the top of the export, its size unpacked, and a mark that changes with its content."""

    name: str
    size: int
    mark: str


class Export(Protocol):
    """An export on disk."""

    path: Path
    entries: dict[str, Entry]

    def opened(self) -> AbstractContextManager[Callable[[str], bytes]]:
        """A function from an entry's name to its content, which raises `Unreadable`."""
        ...


def open_export(path: Path) -> Export:
    """The export at a path. Raises `PreconditionError` when there is none."""
    try:
        export = _Folder(path) if path.is_dir() else _Zip(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise PreconditionError(f"{path} is neither a folder nor a zip file: {error}.") from None
    if "users.json" not in export.entries and "channels.json" not in export.entries:
        raise PreconditionError(f"{path} is no Slack export: it has neither users.json nor channels.json.")
    return export


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        found = []
        for file in (*path.glob("*.json"), *path.glob("*/*.json")):
            stat = file.stat()
            found.append(Entry(file.relative_to(path).as_posix(), stat.st_size, str(stat.st_mtime_ns)))
        self.entries = _by_name(path, found)

    @contextmanager
    def opened(self) -> Iterator[Callable[[str], bytes]]:
        yield self._read

    def _read(self, name: str) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                return _held(file.read(MAX_FILE_BYTES + 1))
        except OSError as error:
            raise Unreadable(f"not readable: {error.strerror}") from None


class _Zip:
    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            infos = {PurePosixPath(info.filename): info for info in archive.infolist()}
        # Some programs put all of it into one folder.
        tops = [name.parent for name in infos if name.name == "users.json"]
        top = min(tops, key=lambda name: len(name.parts), default=PurePosixPath())
        self._infos = {
            name.relative_to(top).as_posix(): info
            for name, info in infos.items()
            if name.suffix == ".json" and name.is_relative_to(top)
        }
        self.entries = _by_name(path, (Entry(n, i.file_size, str(i.CRC)) for n, i in self._infos.items()))

    @contextmanager
    def opened(self) -> Iterator[Callable[[str], bytes]]:
        with zipfile.ZipFile(self.path) as archive:

            def read(name: str) -> bytes:
                try:
                    with archive.open(self._infos[name]) as file:
                        # The directory says a size; what is packed may be another.
                        return _held(file.read(MAX_FILE_BYTES + 1))
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
                    # RuntimeError: it is encrypted. NotImplementedError: packed in a way this Python does not know.
                    raise Unreadable(f"not readable: {error}") from None

            yield read


def digest(entries: Iterable[Entry]) -> str:
    """A hash of these entries that changes with their content."""
    found = hashlib.blake2b(digest_size=16)
    for entry in entries:
        found.update(f"{entry.name}\n{entry.size}\n{entry.mark}\n".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def _by_name(path: Path, entries: Iterable[Entry]) -> dict[str, Entry]:
    found = {entry.name: entry for entry in entries if entry.name.count("/") <= 1}
    if len(found) > MAX_FILES:
        raise PreconditionError(f"{path} holds more than {MAX_FILES:,} files.")
    return found


def _held(content: bytes) -> bytes:
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable(f"longer than {MAX_FILE_BYTES:,} bytes")
    return content
