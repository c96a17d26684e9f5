import io

import pytest
from rich.console import Console

from ingest.progress import bar

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("unit_bytes", "shown"), [(False, "5/10"), (True, "10 bytes")])
def test_a_terminal_gets_a_bar(unit_bytes: bool, shown: str) -> None:
    screen = io.StringIO()
    with bar("import", unit_bytes=unit_bytes, console=Console(file=screen, force_terminal=True, width=120)) as advance:
        assert advance is not None
        advance(5, 10)
    assert "import" in screen.getvalue()
    assert shown in screen.getvalue()


def test_a_pipe_gets_nothing() -> None:
    screen = io.StringIO()
    with bar("import", console=Console(file=screen, force_terminal=False)) as advance:
        assert advance is None
    assert screen.getvalue() == ""
