"""How a message shows to people: in Flower, and in Celery's own log lines."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from celery.worker.request import Request

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
