"""Why a whole request is not taken in."""

from collections.abc import Mapping


class Refused(Exception):
    """The request gets this status of `problems.REPLIES` and nothing of it is stored."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class Disconnected(Exception):
    """The client went away before its request was complete."""
