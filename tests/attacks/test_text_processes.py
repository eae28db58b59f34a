"""Hostile text in messages, events, errors and log lines, without any service."""

from __future__ import annotations

import io
import json
import logging
import tracemalloc
from typing import Any

import httpx
import pytest
from celery.events.state import Task

from tests.attacks.foreign_text import CONTROLS, HOSTILE, LONG, faults
from tests.messages import envelope, headers, packed, properties
from worker.app import app
from worker.cli.backfill_progress import reasons_of
from worker.core.errors import MediaError, PermanentError
from worker.pds.errors import translate
from worker.queue.flower import format_task
from worker.queue.labels import options_label, subject_label
from worker.queue.messages import peek
from worker.queue.transport import accept
from worker.sync.batch.progress import BackfillProgress
from worker.telemetry.logs import set_formatter
from worker.telemetry.redaction import redact, redact_nested

_EVENT_TEXTS = {
    "dashes": "-" * 200_000,
    "parentheses": "(" * 200_000,
    "brackets": "[" * 9000,
    "repr": repr(CONTROLS),
    "controls": HOSTILE,
}
_TOKEN = "canary-token-" + "0123456789" * 30
_EIGHT_MEGABYTES = b'{"a":[' + b"[]," * (8 * 2**20 // 3) + b"[]]}"


@pytest.mark.parametrize("parse", [accept, peek])
def test_size_of_a_message_is_checked_before_it_is_parsed(parse: object) -> None:
    """Parsed, this message takes 215 MB."""
    tracemalloc.start()
    if parse is accept:
        assert accept([b"live", _EIGHT_MEGABYTES], tasks=app.task_functions()) is None
    else:
        assert peek(_EIGHT_MEGABYTES, app.task_functions()) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_refused_message_is_logged_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """With a part of its id and task."""
    item = envelope(headers=headers(id=CONTROLS, task=HOSTILE[:100_000]))
    assert accept([b"live\x1b", item], tasks=app.task_functions()) is None
    (message,) = caplog.messages
    assert faults(message, max_line=1000) == set()
    assert "\n" not in message


@pytest.mark.parametrize("name", ["delivery_tag", "correlation_id", "reply_to"])
def test_lone_surrogate_in_a_message_is_refused(name: str) -> None:
    """A Redis client cannot send it: the worker would stop when it saves the message."""
    item = envelope(properties=properties() | {name: "\ud800"})
    assert accept([b"live", item], tasks=app.task_functions()) is None


@pytest.mark.parametrize("kind", _EVENT_TEXTS)
@pytest.mark.parametrize("field", ["result", "exception", "args", "kwargs", "name", "traceback"])
def test_flower_shows_no_controls(field: str, kind: str) -> None:
    """Whatever an event says; an exception would leave the texts as they are."""
    text = _EVENT_TEXTS[kind]
    state = "FAILURE" if field == "exception" else "SUCCESS"
    event: Any = Task(uuid="u", state=state)
    setattr(event, field, text)
    task = format_task(event)
    shown = "".join(str(getattr(task, each)) for each in ("result", field))
    assert faults(shown, max_line=150_000) == set()


def test_labels_have_no_controls() -> None:
    """They are in Flower and in the log lines of Celery."""
    arguments = {"type": "mood", "id": CONTROLS + "x" * 1000, "user": HOSTILE}
    assert faults(subject_label("sync_media", arguments), max_line=3000) == set()
    assert faults(options_label("sync_media", arguments), max_line=3000) == set()


def test_progress_of_a_backfill_has_no_controls() -> None:
    """Its reasons come from Redis."""
    progress = BackfillProgress(0, {}, {("mood", HOSTILE): 1, ("mood", CONTROLS): 2})
    assert faults(reasons_of(progress), max_line=5000) == set()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_log_line_has_no_controls(log_format: str) -> None:
    """Neither its event and its fields nor the message of an exception; a traceback has lines."""
    stream, logger = io.StringIO(), logging.getLogger(f"{__name__}.{log_format}")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(stream))
    set_formatter(logger, log_format)
    try:
        raise PermanentError(HOSTILE, code="x") from KeyError(HOSTILE)
    except MediaError as error:
        error.add_note(CONTROLS)
        logger.exception("an event: %s", HOSTILE, extra={"detail": HOSTILE, "id": CONTROLS})
    text = stream.getvalue()
    assert faults(text, max_line=30_000) == set()
    lines = text.splitlines() if log_format == "console" else [text]
    assert sum("an event" in line for line in lines) == 1
    assert not any(line.startswith("2026-01-01T00:00:00Z [error] forged") for line in lines[:-1])
    assert ("Traceback" in text, "PermanentError" in text) == (True, True)


def test_message_of_each_error_is_printable_and_bounded() -> None:
    """It is saved on documents, logged and displayed."""
    error = PermanentError(HOSTILE + "\ud800", code="x")
    assert (error.message.isprintable(), str(error)) == (True, error.message)
    assert len(error.message) < 2000


@pytest.mark.parametrize("distance", range(1, 40, 3))
def test_secret_that_is_cut_leaves_no_part(distance: int) -> None:
    """A PDS can quote a token so that its end is beyond the limit."""
    start = "x " * 1000
    text = f"{start[: 2000 - 7 * distance]}{_TOKEN} and more " + "y" * 5000
    for secrets in ([_TOKEN], []):
        assert "canary" not in redact(text, secrets)
    assert "pass" not in redact(f"{start[:1990]}amqp://user:password@host " * 2, [])
    spaced = "my secret phrase"
    assert "my sec" not in redact(start[: 2000 - distance] + spaced + "y" * 99, [spaced])


def test_error_body_of_a_pds_is_limited_before_it_is_parsed() -> None:
    """The status still says what kind of error it is."""
    request = httpx.Request("GET", "https://pds.example/xrpc/x")
    content = json.dumps({"error": "Bad", "message": HOSTILE}).encode()
    response = httpx.Response(400, content=content, request=request)
    tracemalloc.start()
    error = translate(httpx.HTTPStatusError("x", request=request, response=response), "write")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.code, error.message) == ("pds_refused", "the PDS answered 400")
    assert peak < 100_000


def test_sentry_event_has_no_controls() -> None:
    """Its texts are truncated before secrets are searched in them."""
    event = {"exception": {"values": [{"type": "x", "value": LONG}]}, "tags": {"did": CONTROLS}}
    assert faults(str(redact_nested(event, ["secret"])), max_line=30_000) == set()


def test_unexpected_arguments_are_refused_without_quoting_them() -> None:
    """A name of an argument may be long and hostile."""
    item = envelope(body=packed([["mood", "x"], {CONTROLS: 1}, {}]))
    assert accept([b"live", item], tasks=app.task_functions()) is None
