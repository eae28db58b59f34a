"""How log lines look: for a person at a console, or as JSON for whatever collects them.

Fields are those of the engine's own lines, and which task they were written in. Nothing else that
hangs on a line is let in: Celery puts arguments and tracebacks there.
"""

from __future__ import annotations

import logging
from enum import StrEnum

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.types import Processor

FIELDS = (
    "attempt",
    "code",
    "detail",
    "did",
    "id",
    "lane",
    "outcome",
    "retry_at",
    "since_save",
    "step",
    "type",
)
# A line for each message that comes and goes: the item log has one that says what became of it.
_VERBOSE_LOGGERS = ("celery.app.trace", "celery.worker.strategy")
# What they send and get: a line per request, and secrets in it. MongoDB's driver logs whole answers
# at DEBUG, users and their passwords among them; the HTTP client logs headers.
_INDISCREET = ("httpcore", "httpx", "lexrpc", "pymongo", "redis", "urllib3")


class LogFormat(StrEnum):
    """What a line is for."""

    CONSOLE = "console"
    JSON = "json"


def set_formatter(logger: logging.Logger, log_format: LogFormat) -> None:
    """Have all that a logger's handlers write look like this."""
    for handler in logger.handlers:
        handler.setFormatter(_make_formatter(log_format))


def silence_libraries(level: int) -> None:
    """Keep libraries from logging secrets, and from saying what the item log says."""
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _VERBOSE_LOGGERS if level > logging.DEBUG else ():
        logging.getLogger(name).setLevel(logging.WARNING)


def bind_task(name: str, message_id: str) -> None:
    """Have all lines from now on name the task that they are written in."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=name, task_id=message_id)


def _make_formatter(log_format: LogFormat) -> logging.Formatter:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        ExtraAdder(allow=FIELDS),
    ]
    return ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[ProcessorFormatter.remove_processors_meta, *_make_processors(log_format)],
    )


def _make_processors(log_format: LogFormat) -> list[Processor]:
    # Neither shows local variables, through which passwords pass.
    if log_format is LogFormat.JSON:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain, pad_event_to=0)]
