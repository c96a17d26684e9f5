"""Errors of the adapters. Each carries what a person needs to act; the command line maps them to exit code 3."""


class PreconditionError(Exception):
    """Something Hubbub needs is not there or not as it must be. The message says what to do next."""


class Unreachable(PreconditionError):
    """A server did not answer."""

    def __init__(self, what: str, where: str, hint: str) -> None:
        super().__init__(f"{what} at {where} does not answer. {hint}")
        self.what = what
        self.where = where


class Undelivered(Exception):
    """A record was not confirmed: it may or may not be stored. Sending it again with the same id is safe."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
