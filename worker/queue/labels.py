"""Describe messages readably in Flower and in Celery's log lines, and ignore their time limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.worker.request import Request

from worker.core.text import MAX_SHOWN, printable
from worker.queue.messages import signature_of

_MAX_IDS = 3  # in the label of a batch, which may have a hundred
_SUBJECTS = {
    "sync_media": ("type", "id"),
    "delete_media": ("type", "user", "rkey"),
    "sync_batch": ("type", "subject", "ids"),
}


class LabelledRequest(Request):
    """Replaces the `argsrepr` and `kwargsrepr` of a request by readable labels.

    The time limits are those of the task. With those of a message, a producer could kill the runs
    of an item until it has failed for good.
    """

    @property
    def time_limits(self) -> tuple[None, None]:
        return None, None

    @time_limits.setter
    def time_limits(self, _of_message: object) -> None:
        pass

    @property
    def argsrepr(self) -> str:
        return subject_label(self.task.name, self._arguments)

    @property
    def kwargsrepr(self) -> str:
        return options_label(self.task.name, self._arguments)

    @property
    def _arguments(self) -> Mapping[str, Any]:
        names = signature_of(self.task.run).parameters
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


def subject_label(task: str, arguments: Mapping[str, Any]) -> str:
    """Describe the item of a task (`painting 65f0...`), or the items of a batch."""
    subject = [arguments[name] for name in _SUBJECTS.get(task, ()) if name in arguments]
    if task == "sync_batch" and len(subject) == len(_SUBJECTS[task]):
        kind, owner, ids = subject
        first = ", ".join(str(each) for each in ids[:_MAX_IDS])
        more = f" and {len(ids) - _MAX_IDS} more" if len(ids) > _MAX_IDS else ""
        items = "1 item" if len(ids) == 1 else f"{len(ids)} items"
        return printable(f"{kind}s of {owner}: {items}, {first}{more}"[:MAX_SHOWN])
    return printable(" ".join(str(part) for part in subject)[:MAX_SHOWN])


def options_label(task: str, arguments: Mapping[str, Any]) -> str:
    """Describe the arguments that `subject_label` omits, as `name: value`."""
    subject = _SUBJECTS.get(task, ())
    rest = (f"{n}: {v}" for n, v in arguments.items() if v is not None and n not in subject)
    return printable(", ".join(rest)[:MAX_SHOWN])
