"""Sentry: what was given up and what nobody expected, with nothing secret in it.

One event for each distinct failure. Ours are grouped by step and code, unexpected errors by their
stack. Errors raised by a task come through the SDK's Celery integration; what the engine knows
more of (which item, whose, which attempt) it tells by itself, and is not told twice.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from worker.telemetry.alerts import AffectedItem
from worker.telemetry.redaction import Redactor, collect_secrets

Level = Literal["error", "warning"]

_KEPT_OF_ARGUMENTS = ("type", "id", "user", "subject", "rkey")
_MAX_TAG = 200  # characters; Sentry drops a tag with a longer value


class _ReportedMark(str):
    """A note on an exception that Sentry knows of; it stands in the log's traceback as well."""

    __slots__ = ()


def start(settings: Settings) -> None:
    """Report errors of this process and its children, if there is a DSN to report to."""
    if settings.sentry_dsn is None:
        return
    scrubber = Redactor(collect_secrets(settings))
    sentry_sdk.init(
        settings.sentry_dsn.reveal(),
        release=f"media-atproto@{version('media-atproto')}",
        environment=settings.sentry_environment,
        # Those that come by default put headers with the DSN's key into messages and calls, and
        # log lines, URLs and arguments into events.
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
        before_send=lambda event, hint: _filter_event(event, hint, scrubber),
    )


def set_context(task: str, arguments: Mapping[str, object], attempt: int) -> None:
    """Have whatever is reported of the present message name the task and what it is about."""
    tags = {name: str(arguments[name]) for name in _KEPT_OF_ARGUMENTS if name in arguments}
    tags |= {"task": task, "attempt": str(attempt)}
    sentry_sdk.set_tags({name: value[:_MAX_TAG] for name, value in tags.items()})


class SentryAlerts:
    """Tells Sentry; without a DSN, nobody."""

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Send an event grouped by step and code; a warning if the record is up all the same."""
        level: Level = "warning" if item.is_published else "error"
        text = f"{item.type} {item.id}: {failure.message}"
        _send(level, (failure.step, failure.code), text, _tags(item))

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Send an error with its stack, by which it is grouped, the first time an item has it."""
        if is_new:
            event, hint = event_from_exception(error, sentry_sdk.get_client().options)
            with sentry_sdk.new_scope() as scope:
                scope.set_tags(_tags(item))
                sentry_sdk.capture_event(event, hint)
        error.add_note(_ReportedMark(f"at {item.type} {item.id}, attempt {item.attempt}"))

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Send a warning: a person must act, and nothing is lost until then."""
        _send("warning", ("account", code), message, {"did": account.did})


def send_warning(step: str, code: str, text: str) -> None:
    """Send a warning about no item or account; without a DSN, to nobody."""
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


def _filter_event(event: Event, hint: Hint, scrubber: Redactor) -> Event | None:
    """Return an event as it may leave, or None for what is told already."""
    error = hint["exc_info"][1] if "exc_info" in hint else None
    if isinstance(error, ItemFailed) or _is_reported(error):
        return None
    if isinstance(error, MediaError):
        _group(event, error)
    # Arguments, variables and headers are in none of these; what is not sent cannot leak.
    for part in ("extra", "breadcrumbs", "request", "user", "modules"):
        event.pop(part, None)  # type: ignore[misc]
    return cast("Event", scrubber.nested(event))


def _is_reported(error: BaseException | None) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(map(_is_reported, error.exceptions))
    return any(isinstance(note, _ReportedMark) for note in getattr(error, "__notes__", ()))


def _group(event: Event, error: MediaError) -> None:
    """Group one of our own errors as those that stand on documents are."""
    event["fingerprint"] = [error.step, error.code]
    event["tags"] = {**event.get("tags", {}), "step": error.step, "code": error.code}
    # What it was translated from may quote addresses and documents.
    event["exception"]["values"] = event["exception"]["values"][-1:]
    event["exception"]["values"][0] |= {"type": error.code}


def _ignore_pending(_pending: int, _timeout: float) -> None:
    """Wait for events that are on their way, without a word on the terminal."""
