"""Report failed items and unexpected errors to Sentry, without secrets.

Expected failures are grouped by step and code, unexpected errors by their stack. The SDK's Celery
integration reports errors raised by tasks. Errors of an item are reported by the engine, with the
item, its account and the attempt, and marked so that the integration does not report them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Literal, cast

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from worker.core.documents import Account, Failure
from worker.core.errors import ItemFailed, MediaError
from worker.core.settings import Settings
from worker.telemetry.alerts import AffectedItem, Alerts
from worker.telemetry.redaction import collect_secrets, redact_nested

Level = Literal["error", "warning"]

_TAGGED_ARGUMENTS = ("type", "id", "user", "subject", "rkey")
_MAX_TAG = 200  # characters; Sentry drops a tag with a longer value


class _ReportedMark(str):
    """A note on an exception that was reported; the log's traceback shows it too."""

    __slots__ = ()


def start(settings: Settings) -> None:
    """Report errors of this process and its children, if SENTRY_DSN is set."""
    if settings.sentry_dsn is None:
        return
    secrets = tuple(collect_secrets(settings))
    sentry_sdk.init(
        settings.sentry_dsn.reveal(),
        release=f"media-atproto@{version('media-atproto')}",
        environment=settings.sentry_environment,
        # The default integrations add headers with the DSN's key to messages and calls, and log
        # lines, URLs and arguments to events.
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
        # Passwords and tokens pass through local variables of the calls that need them.
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        before_send=lambda event, hint: _filter_event(event, hint, secrets),
    )


def set_context(task: str, arguments: Mapping[str, object], attempt: int) -> None:
    """Tag the events of the current message with its task and arguments."""
    tags = {name: str(arguments[name]) for name in _TAGGED_ARGUMENTS if name in arguments}
    tags |= {"task": task, "attempt": str(attempt)}
    sentry_sdk.set_tags({name: value[:_MAX_TAG] for name, value in tags.items()})


class SentryAlerts(Alerts):
    """Sends events to Sentry; does nothing without a DSN."""

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Send an error grouped by step and code, a warning if published."""
        level: Level = "warning" if item.is_published else "error"
        text = f"{item.type} {item.id}: {failure.message}"
        _send(level, (failure.step, failure.code), text, _tags(item))

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Send an error grouped by its stack if it is new; mark it in any case."""
        if is_new:
            event, hint = event_from_exception(error, sentry_sdk.get_client().options)
            with sentry_sdk.new_scope() as scope:
                scope.set_tags(_tags(item))
                sentry_sdk.capture_event(event, hint)
        error.add_note(_ReportedMark(f"at {item.type} {item.id}, attempt {item.attempt}"))

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Send a warning: an operator must act, and nothing is lost until then."""
        _send("warning", ("account", code), message, {"did": account.did})


def send_warning(step: str, code: str, text: str) -> None:
    """Send a warning about no item or account; does nothing without a DSN."""
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


def _tags(item: AffectedItem) -> dict[str, str]:
    tags = {"type": item.type, "id": item.id, "attempt": str(item.attempt)}
    return tags | ({"did": item.did} if item.did else {})


def _filter_event(event: Event, hint: Hint, secrets: Sequence[str]) -> Event | None:
    """Return an event without secrets, or None if it was reported already."""
    error = hint["exc_info"][1] if "exc_info" in hint else None
    if isinstance(error, ItemFailed) or _is_reported(error):
        return None
    if isinstance(error, MediaError):
        _group(event, error)
    # Not needed, and they may contain secrets.
    for part in ("extra", "breadcrumbs", "request", "user", "modules"):
        event.pop(part, None)  # type: ignore[misc]
    return cast("Event", redact_nested(event, secrets))


def _is_reported(error: BaseException | None) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(map(_is_reported, error.exceptions))
    return any(isinstance(note, _ReportedMark) for note in getattr(error, "__notes__", ()))


def _group(event: Event, error: MediaError) -> None:
    """Group an expected error by step and code, like the failures on documents."""
    event["fingerprint"] = [error.step, error.code]
    event["tags"] = {**event.get("tags", {}), "step": error.step, "code": error.code}
    # The error that it was translated from may quote URLs and documents.
    event["exception"]["values"] = event["exception"]["values"][-1:]
    event["exception"]["values"][0] |= {"type": error.code}


def _ignore_pending(_pending: int, _timeout: float) -> None:
    """Print nothing while the process waits for events to be sent."""
