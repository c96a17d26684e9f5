"""An import that is killed once half of a source is confirmed and remembered, with other requests under way."""

import signal
import subprocess
import sys
from pathlib import Path

from infra.contracts.control import Scope
from tests.integration.ingest.serving import Guest

_SCRIPT = """
import os
import signal
import sys
from pathlib import Path
from ingest.importers import run
from ingest.importers.checkpoint import Checkpoint
from ingest.importers.irc import open_logs
from ingest.importers.jsonl import JsonlFile
from ingest.importers.slack import SlackExport

save = Checkpoint.save

def save_and_die(checkpoint, position):
    save(checkpoint, position)
    if position.offset > checkpoint.source.size // 2:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.save = save_and_die
run._SAVE_SECONDS = 0  # else a fast machine is done before anything is remembered
form, url, key, state, *paths = sys.argv[1:]
paths = [Path(path) for path in paths]
one = {"jsonl": JsonlFile, "slack": SlackExport}
sources = open_logs(paths) if form == "irc" else [one[form](path) for path in paths]
run.import_files(sources, url=url, key=key, state_dir=Path(state), batch_events=20, in_flight=2)
"""


def killed_import(guest: Guest, form: str, state: Path, *paths: Path) -> None:
    """Import these files in a process of its own, which dies."""
    words = (form, guest.url, guest.keys[Scope.BACKFILL], str(state), *map(str, paths))
    died = subprocess.run([sys.executable, "-c", _SCRIPT, *words], timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
