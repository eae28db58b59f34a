"""Format log lines as console text or JSON.

A line contains the fields of the item log and the current task. Other attributes of log records
are omitted, because Celery stores task arguments and tracebacks in them. All texts are truncated
and printable, so that a foreign text neither controls the terminal nor adds lines of its own.
"""

from __future__ import annotations

import logging

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.types import EventDict, Processor

from worker.core.settings import LogSettings
from worker.core.text import format_traceback, printable, truncate

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
_MAX_CHARACTERS = 2000  # of a value
# These loggers log the start and end of each task; the item log contains the outcome.
_VERBOSE_LOGGERS = ("celery.app.trace", "celery.worker.strategy")
# These loggers log secrets below WARNING: pymongo logs users and their passwords, the HTTP client
# logs headers.
_LEAKING_LOGGERS = ("httpcore", "httpx", "lexrpc", "pymongo", "redis", "urllib3")


def start(settings: LogSettings, level: int) -> None:
    """Log to stderr, in processes that Celery does not configure."""
    logging.basicConfig(level=level)
    set_formatter(logging.getLogger(), settings.format)
    silence_libraries(level)


def set_formatter(logger: logging.Logger, log_format: str) -> None:
    """Set the formatter of all handlers of a logger, for `console` or `json`."""
    for handler in logger.handlers:
        handler.setFormatter(_make_formatter(log_format))


def silence_libraries(level: int) -> None:
    """Set loggers that log secrets, or repeat the item log, to WARNING."""
    for name in _LEAKING_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _VERBOSE_LOGGERS if level > logging.DEBUG else ():
        logging.getLogger(name).setLevel(logging.WARNING)


def bind_task(name: str, message_id: str) -> None:
    """Add the task name and message id to all subsequent log lines."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=name, task_id=message_id)


def _make_formatter(log_format: str) -> logging.Formatter:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        ExtraAdder(allow=FIELDS),
    ]
    console = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    return ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            ProcessorFormatter.remove_processors_meta,
            _make_printable,
            ExceptionRenderer(lambda exc_info: format_traceback(exc_info[1])),
            structlog.processors.JSONRenderer() if log_format == "json" else console,
        ],
    )


def _make_printable(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Truncate all texts of a log line, and make them printable."""
    return {
        name: printable(truncate(value.strip(), _MAX_CHARACTERS))
        if isinstance(value, str)
        else value
        for name, value in event_dict.items()
    }
