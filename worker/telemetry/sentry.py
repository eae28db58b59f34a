"""Report failed items and unexpected errors to Sentry, without secrets.

Expected failures are grouped by step and code, unexpected errors by stack trace. The Celery
integration of the SDK reports errors raised by tasks. The engine reports errors of items, tagged
with item, account and attempt, and marks them so that they are not reported twice.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Literal, cast

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from worker.core.documents import Account, Failure
from worker.core.errors import ItemFailed, MediaError
from worker.core.secrets import Secret
from worker.core.settings import SentrySettings
from worker.core.text import printable
from worker.telemetry.alerts import AffectedItem, Alerts
from worker.telemetry.redaction import collect_secrets, redact_nested

Level = Literal["error", "warning"]

_TAGGED_ARGUMENTS = ("type", "id", "user", "subject", "rkey")
_MAX_TAG = 200  # characters; Sentry drops tags with longer values


class _ReportedMark(str):
    """A note that marks an exception as reported; tracebacks in the log show it."""

    __slots__ = ()


def start(settings: SentrySettings, urls: Iterable[Secret], keys: Iterable[Secret] = ()) -> None:
    """Initialize Sentry for this process and its children, if SENTRY_DSN is set.

    The passwords in `urls`, and `keys`, are removed from events.
    """
    if settings.dsn is None:
        return
    secrets = tuple(collect_secrets((settings.dsn, *urls), keys))
    sentry_sdk.init(
        settings.dsn.reveal(),
        release=f"media-atproto@{version('media-atproto')}",
        environment=settings.environment,
        # The default integrations add the key of the DSN to the headers of messages and requests,
        # and add log lines, URLs and arguments to events.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            CeleryIntegration(propagate_traces=False),
            AtexitIntegration(_ignore_pending),
        ],
        trace_propagation_targets=[],
        shutdown_timeout=5,
        max_breadcrumbs=0,
        in_app_include=["tasks", "worker"],
        # Local variables may contain passwords and tokens.
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        before_send=lambda event, hint: _filter_event(event, hint, secrets),
    )


def set_context(task: str, arguments: Mapping[str, object], attempt: int) -> None:
    """Tag subsequent events with the current task, its arguments and attempt."""
    tags = {name: str(arguments[name]) for name in _TAGGED_ARGUMENTS if name in arguments}
    tags |= {"task": task, "attempt": str(attempt)}
    sentry_sdk.set_tags({name: value[:_MAX_TAG] for name, value in tags.items()})


class SentryAlerts(Alerts):
    """Sends alerts to Sentry; does nothing if Sentry is not initialized.

    A process sends one event for each kind of unexpected error: a bug may concern all documents.
    """

    def __init__(self) -> None:
        self._sent: set[tuple[str, str]] = set()

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Send an error, or a warning if published, grouped by step and code."""
        level: Level = "warning" if item.is_published else "error"
        text = f"{item.type} {item.id}: {failure.message}"
        _send(level, (failure.step, failure.code), text, _tags(item))

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Send an error if it is new, grouped by stack trace; always mark it as reported."""
        if is_new:
            self._send_once(error, _tags(item))
        mark = f"at {item.type} {printable(item.id)}, attempt {item.attempt}"
        error.add_note(_ReportedMark(mark))

    def part_failed(self, part: str, error: Exception) -> None:
        """Send an error, grouped by stack trace, and mark it as reported."""
        self._send_once(error, {"part": part})
        error.add_note(_ReportedMark(f"in {part}"))

    def _send_once(self, error: Exception, tags: Mapping[str, str]) -> None:
        """Send an error, unless one of the same class and place was sent."""
        kind = (type(error).__qualname__, _place(error))
        if kind in self._sent:
            return
        self._sent.add(kind)
        event, hint = event_from_exception(error, sentry_sdk.get_client().options)
        with sentry_sdk.new_scope() as scope:
            scope.set_tags(tags)
            sentry_sdk.capture_event(event, hint)

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Send a warning, grouped by code, that the account cannot be used."""
        _send("warning", ("account", code), message, {"did": account.did})


def send_warning(step: str, code: str, text: str) -> None:
    """Send a warning without an item or account; does nothing without Sentry."""
    _send("warning", (step, code), text, {})


def _send(level: Level, group: tuple[str, str], text: str, tags: Mapping[str, str]) -> None:
    step, code = group
    with sentry_sdk.new_scope() as scope:
        scope.set_tags({**tags, "step": step, "code": code})
        event: Event = {
            "level": level,
            "fingerprint": [step, code],
            "exception": {"values": [{"type": code, "value": text}]},
        }
        sentry_sdk.capture_event(event)


def _place(error: Exception) -> str:
    """Return the file and line where an error was raised."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else ""


def _tags(item: AffectedItem) -> dict[str, str]:
    tags = {"type": item.type, "id": item.id, "attempt": str(item.attempt)}
    return tags | ({"did": item.did} if item.did else {})


def _filter_event(event: Event, hint: Hint, secrets: Sequence[str]) -> Event | None:
    """Remove secrets from an event; return None to drop an already reported error."""
    error = hint["exc_info"][1] if "exc_info" in hint else None
    if isinstance(error, ItemFailed) or _is_reported(error):
        return None
    if isinstance(error, MediaError):
        _group(event, error)
    # These parts are not needed and may contain secrets.
    for part in ("extra", "breadcrumbs", "request", "user", "modules"):
        event.pop(part, None)  # type: ignore[misc]
    return cast("Event", redact_nested(event, secrets))


def _is_reported(error: BaseException | None) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(map(_is_reported, error.exceptions))
    return any(isinstance(note, _ReportedMark) for note in getattr(error, "__notes__", ()))


def _group(event: Event, error: MediaError) -> None:
    """Group and tag the event of an expected error by step and code."""
    event["fingerprint"] = [error.step, error.code]
    event["tags"] = {**event.get("tags", {}), "step": error.step, "code": error.code}
    # Keep only the last exception: its cause may contain URLs and documents.
    event["exception"]["values"] = event["exception"]["values"][-1:]
    event["exception"]["values"][0] |= {"type": error.code}


def _ignore_pending(_pending: int, _timeout: float) -> None:
    """Suppress the message that the SDK prints while it sends pending events."""
