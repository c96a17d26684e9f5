"""Work that is done now and then in a process of its own, so that the memory it takes goes with it."""

import subprocess
import sys
import threading
from typing import Final

import structlog

from infra.runtime.health import Check

log = structlog.get_logger("hubbub.rounds")

#: What a round gets to end by itself. It may be cut off at any moment.
GRACE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.2


class Rounds:
    """Runs a module again and again. As a check it holds unless the last round that ended by itself has failed."""

    def __init__(self, module: str, advice: str) -> None:
        """`advice` is what to do about a round that failed."""
        self._module = module
        self._advice = advice
        self._code = 0

    def run(self, stopping: threading.Event) -> int | None:
        """One round, until it ends or `stopping` is set. Returns its exit code, None if it was cut off."""
        with subprocess.Popen([sys.executable, "-m", self._module]) as process:  # noqa: S603 - a module of ours
            while process.poll() is None and not stopping.wait(_LOOK_SECONDS):
                pass
            code = process.poll()
            if code is not None:
                self.ended(code)
                return code
            process.terminate()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            return None

    def ended(self, code: int) -> None:
        """A round has ended by itself, with this exit code."""
        self._code = code
        if code:
            log.error("round.failed", module=self._module, code=code)

    def __call__(self) -> Check:
        return Check(self._code == 0, f"the last round ended with {self._code}: {self._advice}" if self._code else "")
