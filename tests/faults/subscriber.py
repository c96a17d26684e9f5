"""A live reader over SSE that resumes after every break, and keeps what it was shown in the order it was shown."""

import json
import threading
import time
from contextlib import suppress
from typing import Any, Final

import httpx

_RETRY: Final = 0.3


class Subscriber:
    """One reader of all channels of its tenant, from `start` to `stop`."""

    def __init__(self, api_url: str, key: str, name: str) -> None:
        self._url = api_url + "/v1/live/events"
        self._key = key
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.shown: list[dict[str, Any]] = []
        #: When each of `shown` came, in seconds since the epoch.
        self.at: list[float] = []
        self._token = ""
        self.gaps = 0
        self.resumed = 0

    def start(self, seconds: float = 30) -> "Subscriber":
        """Return once the stream is open."""
        self._thread.start()
        if not self._ready.wait(seconds):
            raise TimeoutError("the live stream did not open")
        return self

    def stop(self) -> None:
        """Take no more. The thread ends with the next line it reads, at the latest with a ping."""
        self._stopping.set()

    def _run(self) -> None:
        token = ""
        # A quiet stream pings, so one without a line for so long is dead.
        with httpx.Client(timeout=httpx.Timeout(10, read=35)) as client:
            while not self._stopping.is_set():
                with suppress(httpx.TransportError):  # what a reader is for: it comes back with its token
                    token = self._follow(client, token)
                self._stopping.wait(_RETRY)

    def _follow(self, client: httpx.Client, token: str) -> str:
        headers = {"Authorization": f"Bearer {self._key}"} | ({"Last-Event-ID": token} if token else {})
        kind = data = pending = ""
        self._token = token
        with client.stream("GET", self._url, headers=headers) as stream:
            if stream.status_code != 200:
                return token
            try:
                for line in stream.iter_lines():
                    field, _, value = line.partition(":")
                    match field:
                        case "event":
                            kind = value.strip()
                        case "data":
                            data = value.strip()
                        case "id":
                            pending = value.strip()
                        case "" if not line:
                            # Only what came whole moves the token.
                            if kind:
                                self._take(kind, data, bool(token))
                            self._token = pending or self._token
                            kind = data = pending = ""
                    if self._stopping.is_set():
                        break
            except httpx.TransportError:
                if not self._token:
                    raise
        return self._token

    def _take(self, kind: str, data: str, again: bool) -> None:
        if kind == "ready":
            self._ready.set()
            self.resumed += again
            if again and not json.loads(data)["recovered"]:
                self.gaps += 1
        elif kind == "gap":
            self.gaps += 1
        elif kind == "event":
            self.shown.append(json.loads(data))
            self.at.append(time.time())
