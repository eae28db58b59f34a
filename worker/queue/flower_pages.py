"""What Flower's pages show of our tasks."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

# Flower has no types.
from flower.urls import handlers  # type: ignore[import-untyped]
from flower.views import BaseHandler  # type: ignore[import-untyped]
from tornado.web import authenticated, url

if TYPE_CHECKING:
    from celery.events.state import Task

_TROUBLED = ("FAILURE", "RETRY")


def describe_task(task: Task) -> Task:
    """Return a task that says in its result how it ended, whichever way: Flower's `format_task`.

    Flower has results and errors in columns of their own, of which one is always empty. Which
    document it is stands beside it.
    """
    told: Any = task.exception if task.state in _TROUBLED else task.result
    task.result = _plain(told or "").removeprefix(f"{task.args}: ")
    return task


def _plain(told: str) -> str:
    """Return the text in a repr: of a string, or of an exception with one argument."""
    _, opening, rest = told.partition("(")
    inner = rest.removesuffix(")") if opening and told.endswith(")") else told
    for candidate in (told, inner):
        try:
            value = ast.literal_eval(candidate)
        except (SyntaxError, ValueError):
            continue
        if isinstance(value, str):
            return value
    return told


class WorkersTasks(BaseHandler):  # type: ignore[misc]
    """The page of one worker: its tasks. Flower's own needs remote control, and would be a 404."""

    @authenticated
    def get(self, name: str) -> None:
        """Lead to the tasks of the worker."""
        self.redirect(f"{self.reverse_url('tasks')}?{urlencode({'worker': name})}")


def lead_workers_to_their_tasks() -> None:
    """Put our page of a worker in the place of Flower's."""
    for place, handler in enumerate(handlers):
        if getattr(handler, "name", None) == "worker":
            handlers[place] = url(r"/worker/(.+)", WorkersTasks, name="worker")
