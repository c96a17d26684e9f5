"""Logs are events with fields: JSON for machines, a readable line on a terminal. Message text is never a field."""

import logging
import sys
from typing import Any, TextIO

import structlog

from infra.runtime.settings import Runtime, Section


def configure(settings: Runtime, role: str, stream: TextIO | None = None) -> None:
    """Route structlog and the standard library's loggers to `stream`, else stderr, each line naming the role."""
    target = stream or sys.stderr
    as_console = settings.log_format == "console" or (settings.log_format == "auto" and target.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if as_console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for noisy in ("aiokafka", "cassandra", "faust", "mode", "py4j", "httpx"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(role=role)


def log_effective(*sections: Section) -> None:
    """One line with every setting in force, secrets masked."""
    log = structlog.get_logger("hubbub.settings")
    for section in sections:
        log.info("settings", section=type(section).__name__, **section.effective())
