from pathlib import Path

import pytest

from infra.contracts.events import Invalid
from ingest.importers.lines import probe, read_lines

pytestmark = pytest.mark.unit


def test_lines_are_read_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  two \n" + b"x" * 200_000 + b"\nlast")
    lines = list(read_lines(path))
    assert [line.raw for line in lines] == [b"one", b"", b"  two ", None, b"last"]
    assert [line.number for line in lines] == [1, 2, 3, 4, 5]
    assert lines[-1].end == path.stat().st_size
    for line in lines:
        assert list(read_lines(path, line.after)) == lines[line.number :]
        assert line.before == (lines[line.number - 2].after if line.number > 1 else line.before)


def test_a_line_that_no_event_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 40_000)
    (line,) = read_lines(path)
    with pytest.raises(Invalid) as caught:
        _ = line.content
    assert caught.value.code == "too_large"


def test_a_probe_tells_another_beginning_and_another_last_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 300_000)
    found = probe(path, 200_000)
    path.write_bytes(b"a" * 200_000 + b"b" * 900)
    assert probe(path, 200_000) == found
    for changed in (b"b" + b"a" * 299_999, b"a" * 199_999 + b"b" * 100_001, b"a" * 100):
        path.write_bytes(changed)
        assert probe(path, 200_000) != found
