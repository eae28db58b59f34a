"""How a message shows to people: in Flower, and in Celery's own log lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery.worker.request import Request
from celery.worker.strategy import default

_MAX_IDS = 3  # of a batch, which may have a hundred
_MAX_CHARACTERS = 300  # characters
_SUBJECTS = {
    "sync_media": ("type", "id"),
    "delete_media": ("type", "user", "rkey"),
    "sync_batch": ("type", "subject", "ids"),
}


class LabelledRequest(Request):
    """A message in a worker's hands, whose arguments read as what they mean.

    What its producer wrote in `argsrepr` is not looked at: in other languages it may be left out.
    """

    @property
    def argsrepr(self) -> str:
        """Return which document or documents it is about."""
        return subject_label(self.task.name, self._arguments)

    @property
    def kwargsrepr(self) -> str:
        """Return what else it says."""
        return options_label(self.task.name, self._arguments)

    @property
    def _arguments(self) -> Mapping[str, Any]:
        names = inspect.signature(self.task.run).parameters
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


def retry_aware_strategy(
    task: Any, app: Any, consumer: Any, **options: Any
) -> Callable[..., object]:
    """Return Celery's own way of taking messages, with which a retry shows as one: a `Strategy`.

    A worker takes the message of a retry at once and keeps it until its time. For Flower it is
    merely received then, like any that waits for a process.
    """
    take = default(task, app, consumer, **options)

    def taking(message: Any, *args: Any, **kwargs: Any) -> object:
        taken = take(message, *args, **kwargs)
        if message.headers.get("retries") and message.headers.get("eta"):
            # Not `task-retried`, which Flower counts. An event that it does not know names a state.
            consumer.event_dispatcher.send("task-retry", uuid=message.headers["id"])
        return taken

    return taking


def subject_label(task: str, arguments: Mapping[str, Any]) -> str:
    """Return what a message's arguments, by name, mean: `painting 65f0...`.

    A batch is told by its type and owner, how many items it has, and the first of them.
    """
    subject = [arguments[name] for name in _SUBJECTS.get(task, ()) if name in arguments]
    if task == "sync_batch" and len(subject) == len(_SUBJECTS[task]):
        kind, owner, ids = subject
        return f"{kind}s of {owner}: {_format_ids(ids)}"[:_MAX_CHARACTERS]
    return " ".join(str(part) for part in subject)[:_MAX_CHARACTERS]


def options_label(task: str, arguments: Mapping[str, Any]) -> str:
    """Return the arguments that `subject_label` says nothing of, as `name: value`."""
    rest = {name: value for name, value in arguments.items() if value is not None}
    told = (f"{n}: {value}" for n, value in rest.items() if n not in _SUBJECTS.get(task, ()))
    return ", ".join(told)[:_MAX_CHARACTERS]


def _format_ids(ids: Sequence[Any]) -> str:
    first = ", ".join(str(one) for one in ids[:_MAX_IDS])
    more = f" and {len(ids) - _MAX_IDS} more" if len(ids) > _MAX_IDS else ""
    return f"{len(ids)} {'item' if len(ids) == 1 else 'items'}, {first}{more}"
