"""The format of log lines: text for a console, or JSON.

A line contains the fields of the item log and the current task. Other attributes of a record are
dropped, because Celery puts arguments and tracebacks there.
"""

from __future__ import annotations

import logging

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
# They log each message when it arrives and when it is done; the item log has the outcome.
_VERBOSE_LOGGERS = ("celery.app.trace", "celery.worker.strategy")
# They log requests and answers, with secrets: MongoDB's driver logs users and their passwords at
# DEBUG, the HTTP client logs headers.
_LEAKING_LOGGERS = ("httpcore", "httpx", "lexrpc", "pymongo", "redis", "urllib3")


def set_formatter(logger: logging.Logger, log_format: str) -> None:
    """Set the format of a logger's handlers: `console` or `json`."""
    for handler in logger.handlers:
        handler.setFormatter(_make_formatter(log_format))


def silence_libraries(level: int) -> None:
    """Raise the level of loggers that log secrets or repeat the item log."""
    for name in _LEAKING_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _VERBOSE_LOGGERS if level > logging.DEBUG else ():
        logging.getLogger(name).setLevel(logging.WARNING)


def bind_task(name: str, message_id: str) -> None:
    """Add the task to all lines from now on."""
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
    # Neither shows local variables in tracebacks, because passwords pass through them.
    json: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    console = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
    renderers = json if log_format == "json" else [console]
    return ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[ProcessorFormatter.remove_processors_meta, *renderers],
    )
