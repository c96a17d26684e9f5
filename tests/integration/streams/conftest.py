"""A log file for the routers of a test."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "router.log").open("wb") as file:
        yield file
