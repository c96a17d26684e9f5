"""A role's health as a tree of named checks, and the small server that shows it where a role has no API of its own.

`/healthz` says the process is alive, `/readyz` that it makes progress with everything it needs. Both answer JSON.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version as package_version

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

log = structlog.get_logger("hubbub.health")


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one thing a role needs."""

    ok: bool
    detail: str = ""


class Report(msgspec.Struct, kw_only=True):
    """What `/readyz` answers."""

    role: str
    ready: bool
    lag: int | None
    checks: dict[str, dict[str, bool | str]]


class Health:
    """Named checks, each a function that answers at once from what the role already knows."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._checks: dict[str, Callable[[], Check]] = {}
        self._lag: Callable[[], int | None] = lambda: None

    def add(self, name: str, check: Callable[[], Check]) -> None:
        """Readiness includes this check from now on."""
        self._checks[name] = check

    def report_lag(self, lag: Callable[[], int | None]) -> None:
        """How many records the role still has before it; shown by `hubbub status`."""
        self._lag = lag

    def report(self) -> Report:
        """Every check, run now."""
        results = {name: _run(name, check) for name, check in self._checks.items()}
        return Report(
            role=self.role,
            ready=bool(results) and all(r.ok for r in results.values()),
            lag=self._lag(),
            checks={name: {"ok": r.ok, "detail": r.detail} for name, r in results.items()},
        )


class Progress:
    """A check that holds while `beat` is called at least every `within` seconds."""

    def __init__(self, within: float) -> None:
        self._within = within
        self._last: float | None = None

    def beat(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> Check:
        if self._last is None:
            return Check(False, "not started")
        age = time.monotonic() - self._last
        return Check(age <= self._within, f"last progress {age:.1f} s ago")


def version() -> dict[str, str]:
    """What `/version` answers."""
    return {"name": "hubbub", "version": package_version("hubbub")}


def serve(health: Health, host: str, port: int) -> ThreadingHTTPServer:
    """Serve `/healthz`, `/readyz`, `/metrics` and `/version` from a daemon thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, body = _answer(health, self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Probes are not worth a line."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def _answer(health: Health, path: str) -> tuple[int, str, bytes]:
    match path.partition("?")[0]:
        case "/healthz":
            return 200, "application/json", b'{"alive":true}'
        case "/readyz":
            report = health.report()
            return (200 if report.ready else 503), "application/json", msgspec.json.encode(report)
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        case "/version":
            return 200, "application/json", msgspec.json.encode(version())
        case _:
            return 404, "application/json", b'{"title":"Not found","status":404}'


def _run(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        log.exception("health.check_failed", check=name)
        return Check(False, f"{type(error).__name__}: {error}")
