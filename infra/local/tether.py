"""Replaces itself by a command that is told to stop when its parent dies: `python tether.py PARENT_PID COMMAND…`.

Standard library only, and a file of its own run before the command, because code between fork and exec in a process
with threads may deadlock. The kernel keeps the setting over exec. Elsewhere than on Linux the command simply runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From Linux's prctl.h."""


def main(argv: list[str]) -> int:
    """Tie this process to its parent and become the command."""
    parent, command = int(argv[1]), argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:
            return 1
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    sys.exit(main(sys.argv))
