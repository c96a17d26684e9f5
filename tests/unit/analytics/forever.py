"""A round that never ends."""

import signal

if __name__ == "__main__":
    while True:
        signal.pause()
